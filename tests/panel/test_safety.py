"""Security of every page: each row of the page table is tried."""

import re
from pathlib import Path

import msgspec
import pytest

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.panel.pages import Who
from tests.market import OPERATOR_TOKEN, HttpAnswer, open_market
from tests.panel.visitor import Page, Visitor, open_place
from tests.panel.world import HOSTILE, World, facts_of, fill_shop, pages_of

pytestmark = pytest.mark.anyio

ALL = (Who.PUBLIC, Who.SHOP, Who.OPERATOR)


async def _seen(visitor: Visitor, world: World, *who: Who) -> list[Page]:
    pages = []
    for page in pages_of(*who):
        for path in world.paths(page):
            answer = await visitor.request("GET", path)
            pages.append(Page(path, answer))
    return pages


async def test_every_page_has_the_strict_policy_and_obeys_it(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        for visitor, token, who in (
            (Visitor(market), world.shop.token, (Who.PUBLIC, Who.SHOP)),
            (Visitor(market, language="el"), OPERATOR_TOKEN, (Who.OPERATOR,)),
        ):
            await visitor.sign_in(token)
            for page in await _seen(visitor, world, *who):
                if page.path.endswith("voucher.pdf") and world.open_code in page.path:
                    assert page.status == 404
                    continue
                expected = {"/sign-in/none": 401, "/invitation/none": 404}.get(page.path, 200)
                assert page.status == expected, (page.path, page.text[:300])
                assert page.headers["x-content-type-options"] == "nosniff"
                assert page.headers["cache-control"].endswith("no-store")
                if page.headers["content-type"] != "text/html; charset=utf-8":
                    assert page.headers["content-security-policy"].startswith("default-src 'none'")
                    continue
                policy = page.headers["content-security-policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
                assert "unsafe" not in policy
                _check_is_ours(page)


def _check_is_ours(page: Page) -> None:
    for link in [*page.links, *page.loaded, *(form.action for form in page.forms)]:
        assert re.match(r"[/?#]", link) or link == "", (page.path, link)
        assert not link.startswith("//"), (page.path, link)
    inline = [
        (tag, name)
        for tag, attributes in page.tags
        for name in attributes
        if name == "style" or name.startswith("on") or (tag, name) == ("meta", "http-equiv")
    ]
    assert inline == [], page.path
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert all(attributes.get("src") for attributes in scripts)
    assert not [tag for tag, _ in page.tags if tag in {"style", "iframe", "object", "embed", "base"}]
    for form in page.forms:
        assert form.method in {"get", "dialog"} or "form_token" in form.values, (page.path, form.action)
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(names)) == len(names), (page.path, [name for name in names if names.count(name) > 1])


async def test_texts_of_customers_and_shops_are_escaped(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        plain, hostile = await fill_shop(market, "Plain", "x"), await fill_shop(market, "Hostile", HOSTILE)
        shown = 0
        for world_token, who in ((True, (Who.SHOP,)), (False, (Who.OPERATOR,))):
            tags = {}
            for world in (plain, hostile):
                visitor = Visitor(market)
                await visitor.sign_in(world.shop.token if world_token else OPERATOR_TOKEN)
                pages = await _seen(visitor, world, *who)
                tags[world] = {
                    tag: attributes
                    for page in pages
                    for tag, attributes in [(tag, sorted(given)) for tag, given in page.tags]
                    if tag in {"script", "b", "img"} and "src" not in attributes
                }
                shown += sum(page.html.count("&lt;script&gt;") for page in pages)
                html = [page for page in pages if page.headers["content-type"].startswith("text/html")]
                assert not [page.path for page in html if "<script>" in page.html or "<b>" in page.html]
                assert not [page.path for page in pages if "onerror=alert" in re.sub(r"&#?\w+;", "", _tags_of(page))]
            assert tags[plain] == tags[hostile]
        assert shown > 40


def _tags_of(page: Page) -> str:
    return " ".join(f"{tag} {sorted(attributes)}" for tag, attributes in page.tags)


async def test_no_address_shows_or_changes_another_shops_data(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        mine, theirs = await fill_shop(market, "Mine"), await fill_shop(market, "Theirs")
        visitor = Visitor(market)
        await visitor.sign_in(mine.shop.token)
        before = await facts_of(market, theirs)
        token = (await visitor.get("/shop/settings")).forms[0].values["form_token"]
        tried = 0
        for page in pages_of(Who.SHOP):
            for path in theirs.paths(page):
                query = f"{'&' if '?' in path else '?'}code={theirs.accepted_code}"
                answer = Page(path, await visitor.request("GET", f"{path}{query}"))
                named = "{" in page.path
                assert answer.status in ({401, 404} if named else {200, 404}), path
                # The code that was looked for stands in the search field, and nowhere else.
                text = (
                    answer.html.replace(path, "")
                    .replace(f'value="{theirs.accepted_code}"', "")
                    .replace(f"code={theirs.accepted_code}", "")
                )
                text = re.sub(r"Order \S+ not found", "", text)
                assert not [secret for secret in theirs.secrets() if secret in text], path
                tried += 1
        for page in pages_of(Who.SHOP, live=True):
            for path in theirs.paths(page):
                if "{" in page.path:
                    assert (await visitor.request("GET", path)).status == 404
        for page in pages_of(Who.SHOP, method="POST"):
            if "{" not in page.path:
                continue
            for path in theirs.paths(page):
                answer = Page(path, await _post_anything(visitor, path, token, is_file=page.file is not None))
                assert answer.status in {400, 401, 404, 422}, path
                # The address that was asked for, and that of its page, stand in the links to the other language.
                text = answer.html.replace(path, "").replace(path.rpartition("/")[0], "")
                assert not [secret for secret in theirs.secrets() if secret in text], path
                tried += 1
        assert tried > 20
        assert await facts_of(market, theirs) == before


async def test_visitors_without_the_right_session_are_sent_to_sign_in(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        anonymous, merchant, operator = Visitor(market), Visitor(market), Visitor(market)
        await merchant.sign_in(world.shop.token)
        await operator.sign_in(OPERATOR_TOKEN)
        before = await facts_of(market, world)
        token = (await merchant.get("/shop/settings")).forms[0].values["form_token"]
        for visitor, who in (
            (anonymous, (Who.SHOP, Who.OPERATOR)),
            (merchant, (Who.OPERATOR,)),
            (operator, (Who.SHOP,)),
        ):
            for page in (*pages_of(*who), *pages_of(*who, live=True)):
                for path in world.paths(page):
                    answer = await visitor.request("GET", path)
                    assert (answer.status, answer.body) == (303, b""), path
                    assert answer.headers["location"].startswith("/sign-in?then=%2F"), path
            for page in pages_of(*who, method="POST"):
                for path in world.paths(page):
                    answer = await _post_anything(visitor, path, token)
                    leads = answer.headers["location"]
                    assert (answer.status, answer.body) == (303, b""), path
                    assert leads.startswith("/sign-in?then=%2F") and leads.endswith("&done=not_signed_in"), path
        assert await facts_of(market, world) == before


async def test_no_form_does_anything_without_its_own_token(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        merchant, operator, stranger = Visitor(market), Visitor(market), Visitor(market)
        await merchant.sign_in(world.shop.token)
        await operator.sign_in(OPERATOR_TOKEN)
        strange = (await stranger.get("/sign-in")).forms[0].values["form_token"]
        mine = (await merchant.get("/shop/settings")).forms[0].values["form_token"]
        before = await facts_of(market, world)
        for visitor, who in ((merchant, (Who.SHOP, Who.PUBLIC)), (operator, (Who.OPERATOR,))):
            for page in pages_of(*who, method="POST"):
                for path in world.paths(page):
                    for token, headers in (("", {}), (strange, {}), (mine, {"Sec-Fetch-Site": "cross-site"})):
                        is_file = page.file is not None
                        answer = await _post_anything(visitor, path, token, is_file=is_file, headers=headers)
                        assert answer.status == 403, (path, token)
        assert await facts_of(market, world) == before
        assert (await merchant.get("/shop/orders")).status == 200  # The session did not end either.


async def _post_anything(
    visitor: Visitor, path: str, token: str, *, is_file: bool = False, headers: dict[str, str] | None = None
) -> HttpAnswer:
    if is_file:
        body = f'--x\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n{token}\r\n--x--\r\n'.encode()
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
    else:
        body = f"form_token={token}&name=Changed&option=approve&code=1&quantity=1".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return await visitor.request("POST", path, body, {**kind, **(headers or {})})


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/shop/orders/{code}/nonsense", b"", 404),
        ("/shop/nonsense", b"", 404),
        ("/operator/nonsense/x", b"", 404),
        ("/shop/orders/{code}/accept", b"pickup_location[]=1&pickup_location=2", 422),
        ("/shop/orders/{code}/accept", b"\xff\xfe=1", 400),
        ("/shop/orders/{code}/accept", b"a" * 1_100_000, 413),
        ("/shop/settings", b"webhook_url=javascript:alert(1)", 422),
        ("/shop/settings", b"webhook_url=http://\xce\xb1/", 422),
        ("/shop/warehouse/suppliers", b"code=%00&name=a", 422),
        ("/shop/warehouse/purchase-orders", b"line_items=1", 422),
    ],
)
async def test_a_hostile_form_gets_an_error_page(tmp_path: Path, path: str, body: bytes, status: int) -> None:
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        visitor = Visitor(market)
        await visitor.sign_in(world.shop.token)
        token = (await visitor.get("/shop/settings")).forms[0].values["form_token"]
        sent = f"form_token={token}&".encode() + body
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await visitor.request("POST", path.format(code=world.open_code), sent, kind)
        assert answer.status == status, answer.body[-2000:]
        assert answer.headers["content-type"].startswith("text/html")
        assert "content-security-policy" in answer.headers
        assert b"Traceback" not in answer.body


async def test_head_requests_are_405(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        visitor = Visitor(market)
        await visitor.sign_in(world.shop.token)
        for path in ("/shop/orders/live", "/shop/vouchers.pdf", "/shop/orders"):
            assert (await visitor.request("HEAD", path)).status == 405


async def test_no_shop_can_merge_another_shops_vouchers(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        world, other = await fill_shop(market, "First"), await market.shop("Other")
        visitor = Visitor(market)
        page = await visitor.sign_in(other.token)
        sent = {"form_token": page.forms[0].values["form_token"], "order": world.accepted_code}
        answer = await visitor.post("/shop/vouchers.pdf", sent)
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert (await world.shop.show(world.accepted_code))["is_ready_for_dispatch"] is False


async def test_production_has_no_sandbox_pages(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(mode="production")) as market:
        operator = Visitor(market)
        operator.headers["Host"] = "market.example"
        page = await operator.get("/sign-in")
        await operator.submit(page, "/sign-in", {"token": OPERATOR_TOKEN})
        overview = await operator.get("/")
        assert overview.status == 200
        assert "/operator/sandbox" not in overview.links
        token = (await operator.get("/operator/shops")).forms[0].values["form_token"]
        assert (await operator.get("/operator/sandbox")).status == 404
        for page_of_console in pages_of(Who.OPERATOR, method="POST"):
            if page_of_console.path.startswith("/operator/sandbox"):
                answer = await operator.post(page_of_console.path, {"form_token": token, "step": "hour"})
                assert answer.status == 404


async def test_a_form_is_limited_in_bytes_and_fields(tmp_path: Path) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with open_place(tmp_path) as place:
        token = (await place.merchant.get("/shop/settings")).forms[0].values["form_token"]
        for visitor, path in ((Visitor(place.market), "/sign-in"), (place.merchant, "/shop/settings")):
            for body, status in (
                (f"form_token={token}&x=" + "%41" * 90_000, 413),
                (f"form_token={token}" + "&x=1" * 2_001, 400),
            ):
                answer = await visitor.request("POST", path, body.encode(), kind)
                assert answer.status == status, path
                # The length is checked before the body is read.
                told = {**kind, "Content-Length": "9" * 5000}
                assert (await visitor.request("POST", path, b"x", told)).status == 413


async def test_an_address_that_is_too_long_is_refused_and_not_cut(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for visitor, path in ((place.merchant, "/shop/settings"), (place.operator, f"/operator/shops/{place.shop.id}")):
            for name in ("webhook_url", "returns_webhook_url"):
                page = await visitor.get(path)
                long = "https://shop.example/" + "x" * 1979
                assert (await visitor.submit(page, path, {name: long})).status == 200
                refused = await visitor.submit(page, path, {name: long + "x"})
                assert (refused.status, refused.refusals) == (422, ["LongMember"])
                assert refused.form(path).values[name] == long + "x"
                shop = await place.market.operate("GET", f"/marketplace/shops/{place.shop.id}")
                assert shop["shop"][name] == long


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        (None, True),
        ("http://market", True),
        ("https://market", True),
        ("https://public.example", True),
        ("HTTPS://Public.Example", True),
        ("null", False),
        ("", False),
        ("https://evil.example", False),
        ("http://market.evil.example", False),
        ("http://market:8080", False),
        ("https://public.example:8443", False),
        ("public.example", False),
    ],
)
async def test_a_form_of_another_origin_does_nothing_even_with_the_right_token(
    tmp_path: Path, origin: str | None, is_ours: bool
) -> None:
    settings = msgspec.convert({"public_url": "https://public.example"}, Settings)
    async with open_place(tmp_path, settings=settings) as place:
        page = await place.merchant.get("/shop/settings")
        place.merchant.headers |= {} if origin is None else {"Origin": origin}
        answer = await place.merchant.submit(page, "/shop/settings", {"webhook_url": "https://new.example/"})
        assert answer.status == (200 if is_ours else 403)
        shop = await place.market.operate("GET", f"/marketplace/shops/{place.shop.id}")
        assert (shop["shop"]["webhook_url"] == "https://new.example/") is is_ours


async def test_browsers_may_keep_assets_of_this_version_only(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/orders")
        addresses = [address for address in page.loaded if address.startswith("/assets/")]
        assert {address.rpartition(".")[2] for address in addresses} == {"css", "js", "svg"}
        for address in addresses:
            kept = await place.merchant.request("GET", address)
            assert (kept.status, "immutable" in kept.headers["cache-control"]) == (200, True)
            other = await place.merchant.request("GET", f"/assets/000000000000/{address.rpartition('/')[2]}")
            assert (other.status, other.headers["cache-control"]) == (200, "no-store")
            assert other.body == kept.body
        missing = await place.merchant.request("GET", "/assets/000000000000/none.js")
        assert missing.status == 404
