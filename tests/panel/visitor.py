"""A browser without a script: keeps cookies, follows redirects, fills in forms as they stand in the page."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

from kalathi.marketplace.kernel.settings import Settings
from tests.market import OPERATOR_TOKEN, FakeNetwork, HttpAnswer, Market, Shop, open_market

_EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}

_TEXTS = {"text", "number", "url", "date", "search"}


class Form:
    """A form: where it goes, and what its fields hold as the page has them."""

    def __init__(self, action: str, method: str, encoding: str) -> None:
        self.action = action
        self.method = method
        self.encoding = encoding
        self.values: dict[str, str] = {}
        self.choices: dict[str, list[str]] = {}
        self.names: set[str] = set()
        self.typed: set[str] = set()
        self.buttons: list[tuple[str, str]] = []
        # Boxes that a browser does not send the form without.
        self.required: dict[str, str] = {}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._form: Form | None = None
        self._select = ""
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        for source in ("src", "srcset", "data", "poster"):
            if tag in {"img", "script", "iframe", "object", "embed", "video", "source"} and given.get(source):
                self.loaded.append(given[source] or "")
        if tag == "link":
            self.loaded.append(given.get("href") or "")
        if tag == "form":
            self._form = Form(given.get("action") or "", given.get("method") or "get", given.get("enctype") or "")
            self.forms.append(self._form)
        form = self._form
        if form is None:
            return
        if tag in {"input", "select", "textarea"} and name:
            form.names.add(name)
            is_text = tag == "textarea" or (tag == "input" and given.get("type", "text") in _TEXTS)
            form.typed |= {name} if is_text else set()
        if tag == "input" and name and given.get("type") not in {"checkbox", "radio", "file"}:
            form.values[name] = value
        elif tag == "input" and name and given.get("type") in {"checkbox", "radio"}:
            form.choices.setdefault(name, []).append(value)
            if given.get("type") == "checkbox" and "required" in given:
                form.required[name] = value
            if "checked" in given:
                form.values[name] = value
        elif tag == "select":
            self._select = name
            form.choices[name] = []
        elif tag == "option":
            form.choices[self._select].append(value)
            if "selected" in given or len(form.choices[self._select]) == 1:
                form.values[self._select] = value
        elif tag == "textarea":
            self._area = name
            form.values[name] = ""
        elif tag == "button":
            form.buttons.append((name, value))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        form = self._form
        if form is not None and self._area:
            form.values[self._area] += data
        elif form is not None and self.tags and self.tags[-1][0] == "option" and "value" not in self.tags[-1][1]:
            # An option without a value has its text.
            options = form.choices[self._select]
            if options and options[-1] == "" and data.strip():
                options[-1] = data.strip()
                if form.values.get(self._select) == "" and len(options) == 1:
                    form.values[self._select] = data.strip()


class Page:
    """A page as it came."""

    def __init__(self, path: str, answer: HttpAnswer) -> None:
        self.path = path
        self.answer = answer
        self.status = answer.status
        self.headers = answer.headers
        self.html = answer.body.decode("utf-8", "replace")
        reader = _Reader()
        if answer.headers.get("content-type", "").startswith("text/html"):
            reader.feed(self.html)
        self.forms, self.links, self.loaded, self.tags = reader.forms, reader.links, reader.loaded, reader.tags
        self.text = " ".join(reader.text.split())
        attributes = [given for _, given in self.tags]
        # The action that is reported as done, and the kinds of the refusals that are shown.
        self.done = next((given["data-done"] for given in attributes if "data-done" in given), None)
        self.refusals = [given["data-refusal"] for given in attributes if "data-refusal" in given]

    def form(self, action: str, *names: str) -> Form:
        """The first form that goes there and has these fields; without such a form, the first that goes there."""
        found = [form for form in self.forms if form.action == action]
        found = [form for form in found if form.names >= set(names)] or found
        assert found, (action, [form.action for form in self.forms], self.text[:500])
        return found[0]


class Visitor:
    """Somebody at a browser."""

    def __init__(
        self, market: Market, *, host: str = "market", client: str = "203.0.113.9", language: str = "en"
    ) -> None:
        self.market = market
        self.cookies: dict[str, str] = {}
        self.headers = {"Host": host, "Accept-Language": language}
        self.client = client

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """One request with the cookies; what comes of it is not followed."""
        jar = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        answer = await self.market.call(
            method, path, body, {**self.headers, **jar, **(headers or {})}, client=self.client
        )
        for line in answer.headers.get("set-cookie", "").split("\n"):
            name, _, rest = line.partition("=")
            if name:
                self.cookies[name] = rest.partition(";")[0].strip('"')
        return answer

    async def get(self, path: str) -> Page:
        """A page, and where it leads."""
        answer = await self.request("GET", path)
        return await self._followed(path, answer)

    async def post(self, path: str, values: Mapping[str, str | list[str]]) -> Page:
        """A form's values as they are."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self.request("POST", path, urlencode(values, doseq=True).encode(), kind)
        return await self._followed(path, answer)

    async def submit(self, page: Page, action: str, values: Mapping[str, str] | None = None) -> Page:
        """The page's form, with other values in its fields, and the boxes that have to be ticked."""
        form = page.form(action, *(values or {}))
        unknown = {
            name
            for name in values or {}
            if name not in form.names and name not in {button for button, _ in form.buttons}
        }
        assert not unknown, unknown
        return await self.post(action, {**form.required, **form.values, **(values or {})})

    async def upload(self, page: Page, action: str, field: str, content: bytes) -> Page:
        """The page's form with a file."""
        token = page.form(action).values["form_token"]
        body = (
            f'--x\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n{token}\r\n'
            f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.pdf"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await self.request("POST", action, body + content + b"\r\n--x--\r\n", kind)
        return await self._followed(action, answer)

    async def sign_in(self, token: str, then: str = "") -> Page:
        """With a token."""
        page = await self.get(f"/sign-in?then={then}" if then else "/sign-in")
        return await self.submit(page, "/sign-in", {"token": token})

    async def _followed(self, path: str, answer: HttpAnswer) -> Page:
        for _ in range(5):
            if answer.status != 303:
                return Page(path, answer)
            path = answer.headers["location"]
            answer = await self.request("GET", path)
        raise AssertionError(f"{path} leads in circles")


class Place:
    """A marketplace with a shop, somebody of that shop, and somebody at the operator's context."""

    def __init__(self, market: Market, shop: Shop, merchant: Visitor, operator: Visitor) -> None:
        self.market = market
        self.shop = shop
        self.merchant = merchant
        self.operator = operator
        self.network: FakeNetwork = market.network


@asynccontextmanager
async def open_place(folder: Path, *, settings: Settings | None = None, **facts: object) -> AsyncIterator[Place]:
    """Both have signed in."""
    async with open_market(folder, settings=settings) as market:
        shop = await market.shop(**facts)  # type: ignore[arg-type]  # Whatever a test names.
        merchant, operator = Visitor(market), Visitor(market)
        await merchant.sign_in(shop.token)
        await operator.sign_in(OPERATOR_TOKEN)
        yield Place(market, shop, merchant, operator)
