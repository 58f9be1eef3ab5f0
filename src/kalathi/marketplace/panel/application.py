"""The HTTP edge of the pages: permissions, reading of forms, and responses from the handlers' answers.

Every page carries one strict Content-Security-Policy (W3C CSP level 3): no inline script, no inline style, nothing from
another host.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import parse_qsl, quote

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kalathi.contract.words import BASE_PATH
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, Refusal, refuse
from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.asset_routes import ASSET_ROUTES
from kalathi.marketplace.panel.entrance import OPERATOR_HOME, SHOP_HOME, sign_in_page, sign_out
from kalathi.marketplace.panel.forms import MOST_FIELDS, MOST_FORM_BYTES, Form, list_typed_texts, read_file_form
from kalathi.marketplace.panel.history import note_action
from kalathi.marketplace.panel.languages import Language, Words, choose_language, words_of
from kalathi.marketplace.panel.live import ChangeSignals, EndedStream
from kalathi.marketplace.panel.page_table import PAGES
from kalathi.marketplace.panel.pages import Answer, Handler, Page, See, Shown, Who
from kalathi.marketplace.panel.refusals import (
    AnotherShopOpened,
    DatabaseAway,
    ForeignForm,
    InternalFault,
    NoCookies,
    NoSuchPage,
    NotSignedIn,
    RoleTooLow,
    SessionChanged,
    SignedInAsAnother,
    UnreadableForm,
)
from kalathi.marketplace.panel.rendering import render
from kalathi.marketplace.panel.sign_in.browsers import describe_browser
from kalathi.marketplace.panel.sign_in.sessions import (
    Browser,
    Sessions,
    Visitor,
    is_of_another_site,
    is_of_our_own,
    is_prefetch,
)
from kalathi.marketplace.panel.visits import PanelContext, Visit
from kalathi.marketplace.web.bodies import read_body
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.measuring import name_route
from kalathi.marketplace.web.reply import ERRORS, INTERNAL_ERROR

_log = structlog.get_logger("kalathi.panel")

_LANGUAGE_COOKIE: Final = "kalathi-language"
_YEAR_SECONDS: Final = 365 * 86_400
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # The URLs of vouchers are secrets.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
# These refusals are not about a form's content, so the form's page cannot show them.
_PAGES_OF_THEIR_OWN: Final = frozenset(
    {
        ErrorCode.NOT_FOUND,
        ErrorCode.ORDER_NOT_FOUND,
        ErrorCode.RETURN_NOT_FOUND,
        ErrorCode.PURCHASE_ORDER_OF_ANOTHER,
        ErrorCode.UNAUTHORIZED,
    }
)


# The path of the page that shows a refused form again, by the form's path.
_SHOWN_AT: Final = {page.handler: page.path for page in PAGES if page.method == "GET"}
_BACK: Final = {page.path: _SHOWN_AT[page.back] for page in PAGES if page.back in _SHOWN_AT}


def with_pages(api: ASGIApp, context: Context, signals: ChangeSignals) -> ASGIApp:
    """Return an application that serves the API, and the pages under their own first path segments."""
    pages = _Edge(PanelContext(context=context, sessions=Sessions(context), signals=signals)).router()
    roots = {"", "assets", "favicon.ico", *(page.path.split("/")[1] for page in PAGES)}

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or path.startswith(BASE_PATH):
            await api(scope, receive, send)
        elif path.lstrip("/").partition("/")[0] in roots:
            # Users and browsers sometimes add a slash.
            await pages({**scope, "path": "/" + path.strip("/")}, receive, send)
        elif _is_opened_in_a_browser(scope):
            await _answer_with_page(api, pages, scope, receive, send)
        else:
            await api(scope, receive, send)

    return front


async def _answer_with_page(api: ASGIApp, pages: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass the API's answer on, but answer 404 with a page."""
    is_missing = False

    async def send_unless_missing(message: Message) -> None:
        nonlocal is_missing
        is_missing |= message["type"] == "http.response.start" and message["status"] == HTTPStatus.NOT_FOUND
        if not is_missing:
            await send(message)

    await api(scope, receive, send_unless_missing)
    if is_missing:
        await pages(scope, receive, send)


def _is_opened_in_a_browser(scope: Scope) -> bool:
    return scope["method"] == "GET" and any(
        name == b"accept" and b"text/html" in value.lower() for name, value in scope["headers"]
    )


class _Edge:
    def __init__(self, panel: PanelContext) -> None:
        self._panel = panel
        self._sessions = panel.sessions

    def router(self) -> ASGIApp:
        routes = [Route(page.path, self._endpoint(page), methods=[page.method]) for page in PAGES]
        # Users reload or bookmark the URL of a form's answer.
        routes += [Route(path, _lead_back, methods=["GET"]) for path in _BACK if path not in _SHOWN_AT.values()]
        routes += ASSET_ROUTES
        for route in routes:
            # A HEAD request must neither count as a download nor hold a stream open.
            route.methods = (route.methods or set()) - {"HEAD"}
        router = Router(routes, redirect_slashes=False)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await router({**scope, "app": router}, receive, send)
            except HTTPException as error:
                request = Request(scope, receive)
                words = words_of(_language(request))
                shown = _error_page(words, error.status_code, (NoSuchPage(),))
                await self._page(request, None, words, shown)(scope, receive, send)

        return app

    def _endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            name_route(request.scope, f"{page.method} {page.path}")
            if page.method == "POST":
                request.scope["kalathi.page"] = page.path
            words = words_of(_language(request))
            visitor = None
            try:
                visitor = await self._sessions.visitor(request)
                visit = Visit(
                    panel=self._panel,
                    visitor=visitor,
                    browser=Browser(
                        self._panel.context.callers.find_address(request.scope),
                        describe_browser(request.headers.get("user-agent", "")),
                    ),
                    path=request.url.path,
                    parts=request.path_params,
                    query=request.query_params,
                    words=words,
                    is_prefetch=is_prefetch(request.headers),
                )
                is_open = _is_open(page, visitor)
                answer = await (self._answer if is_open else _ask_to_sign_in)(page, visit, request)
                return self._response(request, visitor, words, answer)
            except Exception as error:  # noqa: BLE001  (the edge answers every fault with a page)
                return self._page(request, visitor, words, _page_of(error, words))

        return endpoint

    async def _answer(self, page: Page, visit: Visit, request: Request) -> Answer:
        if not visit.visitor.role.covers(page.role):
            return _error_page(visit.words, HTTPStatus.FORBIDDEN, (RoleTooLow(),))
        try:
            if page.method == "POST":
                visit = msgspec.structs.replace(visit, form=await _read_form(page, request))
                is_theirs = visit.visitor.owns(visit.form.text("form_token")) and not self._is_of_another_site(request)
                if is_theirs or is_of_our_own(request.headers):
                    request.scope["kalathi.form"] = visit.form
                if not is_theirs:
                    return await _not_theirs(page, visit, request)
            answer = await page.handler(visit)
        except DomainError as error:
            if page.back is None or (error.code in _PAGES_OF_THEIR_OWN and page.who is not Who.PUBLIC):
                raise
            return await _show_again(page.back, visit, error.reasons, ERRORS[error.code].status)
        if page.method == "POST":
            await note_action(page, visit)
        return answer

    def _response(self, request: Request, visitor: Visitor | None, words: Words, answer: Answer) -> Response:
        if isinstance(answer, See):
            mark = "&" if "?" in answer.path else "?"
            target = answer.path + (f"{mark}done={answer.done}" if answer.done else "")
            response: Response = RedirectResponse(target, 303, HEADERS)
            if answer.session:
                self._set_session(response, answer.session)
            elif answer.session is not None:
                response.delete_cookie(self._sessions.cookie_name, secure=self._sessions.is_secure, httponly=True)
            return response
        if isinstance(answer, Shown):
            return self._page(request, visitor, words, answer)
        # A reply and a stream are ASGI applications, and Starlette needs no more from a response.
        return cast(Response, answer)

    def _page(self, request: Request, visitor: Visitor | None, words: Words, shown: Shown) -> Response:
        content = {
            "visitor": visitor,
            "path": _place(request),
            # Pages of a shop contain its id, so that a page that refreshes itself never shows another shop's data.
            "whose": visitor.whose if visitor and request.url.path.startswith("/shop") else "",
            # A shop's home is its own list of orders, not the operator's page.
            "home": SHOP_HOME if visitor and visitor.shop and not visitor.is_operator else OPERATOR_HOME,
            "query": request.query_params,
            "language": words.language.value,
            "done": done if (done := request.query_params.get("done", "")) in wording.DONE else "",
            "problems": (),
            # The form's page shows why the form was refused. If that page no longer exists, an error page shows the
            # texts that the user typed.
            "answers_form": request.method == "POST",
            "refused": request.url.path,
            "written": list_typed_texts(request.scope.get("kalathi.form", Form()), words)
            if shown.status >= 400
            else (),
            "has_request_log": self._panel.context.request_log is not None,
            "is_sandbox": self._panel.context.terms.settings.mode == "sandbox",
            "now": self._panel.context.clock.now(),
            **shown.content,
        }
        body = render(shown.template, words.language, content)
        response = Response(body, shown.status, HEADERS, "text/html; charset=utf-8")
        # A form that another site sends arrives without the cookie. A new cookie would replace the visitor's own.
        is_planted = request.method == "POST" and self._is_of_another_site(request)
        if visitor is not None and visitor.is_new and not is_planted:
            self._set_session(response, visitor.cookie)
        if request.query_params.get("language") == words.language.value:
            response.set_cookie(
                _LANGUAGE_COOKIE,
                words.language.value,
                _YEAR_SECONDS,
                httponly=True,
                samesite="lax",
                secure=self._sessions.is_secure,
            )
        return response

    def _is_of_another_site(self, request: Request) -> bool:
        return is_of_another_site(request.headers, self._panel.context.terms.public_url)

    def _set_session(self, response: Response, cookie: str) -> None:
        """Set a cookie that lasts until the browser is closed. The session's expiry is in the database."""
        response.set_cookie(
            self._sessions.cookie_name, cookie, httponly=True, samesite="lax", secure=self._sessions.is_secure
        )


async def _not_theirs(page: Page, visit: Visit, request: Request) -> Answer:
    """Answer a form with another session's token.

    A user who has signed in again since opening the form gets it back with its content, and can send it with a second
    click. This applies only to pages that the user may open, and only if the browser reports that our own page sent the
    form.
    """
    form_token = visit.form.text("form_token")
    if page.who is Who.SHOP and visit.visitor.is_another_shop_than(form_token):
        return _error_page(
            visit.words,
            403,
            (AnotherShopOpened(),),
        )
    if page.handler is sign_out and is_of_our_own(request.headers):
        # A user who has signed in again wants to end the current session.
        return await page.handler(visit)
    if page.who is Who.PUBLIC:
        return _error_page(
            visit.words,
            403,
            (NoCookies(),),
        )
    is_same_shop = page.who is not Who.SHOP or visit.visitor.had(form_token)
    if page.back is not None and is_of_our_own(request.headers) and is_same_shop:
        return await _show_again(
            page.back,
            visit,
            (SessionChanged(),),
            403,
        )
    return _error_page(visit.words, 403, (ForeignForm(),))


async def _show_again(back: Handler, visit: Visit, problems: tuple[Refusal | str, ...], status: int) -> Answer:
    shown = await back(msgspec.structs.replace(visit, problems=problems))
    return shown._replace(status=status) if isinstance(shown, Shown) else shown


def _place(request: Request) -> str:
    """Return the path of the shown page. If a form is answered with a page, it is the path of the form's page."""
    back = _BACK.get(request.scope.get("kalathi.page", ""), "")
    return _fill_path(back, request) if back else request.url.path


async def _lead_back(request: Request) -> Response:
    """Redirect from a form's own address to its page."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(_fill_path(_BACK[request.scope["route"].path], request) + query, 303, HEADERS)


def _fill_path(path: str, request: Request) -> str:
    """Fill a path of the page table with this request's parameters."""
    return path.format(**{name: quote(str(part), safe="") for name, part in request.path_params.items()})


def _is_open(page: Page, visitor: Visitor) -> bool:
    if page.who is Who.SHOP:
        return visitor.shop is not None
    return page.who is Who.PUBLIC or visitor.is_operator


async def _ask_to_sign_in(page: Page, visit: Visit, request: Request) -> Answer:
    """Ask a visitor without permission to sign in.

    If the session ended while the user filled in a form, the page says so and shows the content of the form. Uploaded
    files are not read for visitors without permission.
    """
    query = f"?{request.url.query}" if request.url.query else ""
    then = _place(request) + query
    if "text/event-stream" in request.headers.get("accept", ""):
        return EndedStream()
    if page.method == "GET":
        return See(f"/sign-in?then={quote(then, safe='')}")
    if not is_of_our_own(request.headers):
        return See(f"/sign-in?then={quote(then, safe='')}", done="not_signed_in")
    if page.file is None:
        request.scope["kalathi.form"] = await _read_form(page, request)
    reason = NotSignedIn() if visit.visitor.is_anonymous else SignedInAsAnother()
    return (await sign_in_page(msgspec.structs.replace(visit, problems=(reason,)), then))._replace(status=401)


async def _read_form(page: Page, request: Request) -> Form:
    """Read the request's form. Raises UNREADABLE_BODY, BODY_TOO_LARGE, and the refusals of the page's file."""
    if page.file is not None:
        return await read_file_form(request, page.file)
    length = request.headers.get("content-length")
    encoded = await read_body(request.receive, length.encode() if length else None, MOST_FORM_BYTES)
    try:
        values = dict(parse_qsl(encoded.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise refuse(UnreadableForm()) from None
    return Form(encoded=encoded, values=values)


def _page_of(error: Exception, words: Words) -> Shown:
    if isinstance(error, DomainError):
        return _error_page(words, ERRORS[error.code].status, error.reasons)
    if isinstance(error, StorageError):
        _log.error("storage_error", error=str(error))
        return _error_page(words, 503, (DatabaseAway(),))
    _log.error("internal_error", exc_info=error)
    return _error_page(words, INTERNAL_ERROR.status, (InternalFault(),))


def _error_page(words: Words, status: int, messages: tuple[Refusal | str, ...]) -> Shown:
    return Shown("error.html", {"messages": messages, "status": status}, status)


def _language(request: Request) -> Language:
    for chosen in (request.query_params.get("language"), request.cookies.get(_LANGUAGE_COOKIE)):
        if chosen in set(Language):
            return Language(chosen)
    return choose_language(request.headers.get("accept-language", ""))
