"""The ASGI application: the merchants' front, and Starlette's routing for the rest, both built from the route table.

A `Reply` is an ASGI application, and Starlette needs no more from a response. The casts satisfy the type checker.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from kalathi.contract.products import PRODUCTS_PATH
from kalathi.contract.words import BASE_PATH
from kalathi.marketplace.api.calls import Call, ShopHandler
from kalathi.marketplace.api.front import MerchantCall, MerchantsFront
from kalathi.marketplace.api.listen import LISTEN_PATH, listen_endpoint
from kalathi.marketplace.api.merchant_routes import fault_name, name_call
from kalathi.marketplace.api.merchants import Handler
from kalathi.marketplace.api.operator_token import check_monitor, check_operator
from kalathi.marketplace.api.route import OF_SHOPS, Access, Route
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.api.shop_routes import ShopRoute, ShopRoutes
from kalathi.marketplace.api.trying import TRY_PATH, Trial
from kalathi.marketplace.kernel.actors import OPERATOR as OPERATOR_ACTOR
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.idempotency import make_keyed_request
from kalathi.marketplace.people.model import OPERATORS
from kalathi.marketplace.request_log.log import REQUEST_ID
from kalathi.marketplace.sandbox.triggers import TriggerKind
from kalathi.marketplace.web.bodies import check_encoding, decode_body, read_body, read_query
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.history import note_entry
from kalathi.marketplace.web.measuring import name_route
from kalathi.marketplace.web.reply import Reply, error_reply
from kalathi.marketplace.web.waiting import run_until_left

# The beginnings of the paths of the shops' calls.
SHOP_PATHS: Final = (BASE_PATH, PRODUCTS_PATH)
# The owner of the operator's idempotency keys; no shop has this id.
OPERATOR = "operator"
# The answer to a caller that has left. It goes nowhere.
_NOT_READ: Final = Reply(200, b"")


def application(context: Context) -> ASGIApp:
    """Return the marketplace's HTTP application."""
    merchants = _merchants_front(context)
    rest = Starlette(
        routes=[
            StarletteRoute(route.path, _endpoint(route, context), methods=[route.method])
            for route in ROUTES
            if route.access not in OF_SHOPS
        ]
        + [WebSocketRoute(LISTEN_PATH, listen_endpoint(context))],
        exception_handlers={HTTPException: _routing_error, Exception: _answer_unexpected},
    )

    for entry in rest.router.routes:
        # A HEAD request, for example from a link checker, must not count as a download.
        if isinstance(entry, StarletteRoute):
            entry.methods = (entry.methods or set()) - {"HEAD"}
    # Starlette's redirect for an extra slash would answer without the error envelope.
    rest.router.redirect_slashes = False

    settings = context.terms.settings
    trial = None

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if path.endswith("/") or path.startswith("//"):
            # For example, a client joined a base URL and a path with two slashes, or added one at the end.
            path = "/" + path.strip("/")
        if "\0" in path:
            await _refuse_null_character(context, scope, path)(scope, receive, send)
        elif scope["type"] == "http" and path == TRY_PATH and trial is not None:
            await trial(scope, receive, send)
        elif scope["type"] == "http" and path.startswith(SHOP_PATHS):
            await merchants(scope if path == scope["path"] else {**scope, "path": path}, receive, send)
        else:
            await rest(scope, receive, send)

    if settings.mode == "sandbox":
        trial = Trial(front, [(route.method, route.path) for route in ROUTES], settings.vendor)
    return front


def _refuse_null_character(context: Context, scope: Scope, path: str) -> Reply:
    """Return the answer to a path with U+0000: no stored name contains this character, because PostgreSQL cannot store
    it. A call of the merchants' API is logged."""
    started = time.perf_counter_ns()
    reply = error_reply(DomainError(ErrorCode.NOT_FOUND, "There is no such path."))
    if scope["type"] == "http" and path.startswith(SHOP_PATHS):
        scope[REQUEST_ID] = context.request_ids.make()
        if context.request_log is not None:
            context.request_log.record(scope, started, reply.status, reply.body)
    return reply


def _merchants_front(context: Context) -> MerchantsFront:
    """Return the front of the shops' calls. It finds calls on one order by method and action, the others by path."""
    merchant_prefix = f"{BASE_PATH}/orders/{{code}}"
    calls = {}
    for route in ROUTES:
        if route.access is Access.MERCHANT and route.path.startswith(merchant_prefix):
            action = route.path[len(merchant_prefix) :].strip("/")
            handler = cast(Handler, route.handler)
            for part in TriggerKind if "{kind}" in action else ("",):
                name = (route.method, action.replace("{kind}", part))
                calls[name] = MerchantCall(
                    handler, route.body, draws_codes=route.draws_codes, part=part, route=f"{route.method} {route.path}"
                )
    others = ShopRoutes(
        ShopRoute(
            route.method,
            route.path,
            cast(ShopHandler, route.handler),
            route.body,
            fault_name(route),
            is_products=route.access is Access.PRODUCTS,
        )
        for route in ROUTES
        if route.access in OF_SHOPS and not route.path.startswith(merchant_prefix)
    )
    return MerchantsFront(context, calls, others, name_call)


def _endpoint(route: Route, context: Context) -> Callable[[Request], Coroutine[Any, Any, Reply]]:
    name = f"{route.method} {route.path}"

    async def endpoint(request: Request) -> Reply:
        name_route(request.scope, name)
        try:
            answer = await _answer(route, context, request)
        except Exception as error:  # noqa: BLE001  (the edge answers every fault with the envelope)
            return error_reply(error)
        if route.has_history:
            parts = request.path_params
            places = {OPERATORS, parts.get("shop_id", OPERATORS)}
            await note_entry(context, places, OPERATOR_ACTOR, name, ", ".join(parts.values()))
        return answer

    return endpoint


async def _answer(route: Route, context: Context, request: Request) -> Reply:
    """Check the caller, read the request and run the handler. Raises the refusals of each step."""
    handler = cast(Callable[[Context, Call], Coroutine[Any, Any, Reply]], route.handler)
    if route.access is Access.OPERATOR:
        check_operator(request, context)
    if route.access is Access.MONITOR:
        check_monitor(request, context)
    if route.sandbox_only:
        _check_sandbox(context)
    body, content = None, b""
    if route.body is not None:
        encoding, length = request.headers.get("content-encoding"), request.headers.get("content-length")
        check_encoding(encoding.encode("latin-1") if encoding else None)
        content = await read_body(request.receive, length.encode() if length else None)
        body = decode_body(content, route.body)
    key = request.headers.get("idempotency-key")
    keyed = (
        make_keyed_request(OPERATOR, key, route.method, request.url.path, content)
        if key is not None and route.takes_idempotency_key
        else None
    )
    query = read_query(request.scope["query_string"])
    answering = handler(context, Call(path=request.path_params, query=query, body=body, keyed=keyed))
    if "wait" in query:
        return await run_until_left(request.receive, answering) or _NOT_READ
    return await answering


def _check_sandbox(context: Context) -> None:
    if context.terms.settings.mode != "sandbox":
        raise DomainError(ErrorCode.NOT_FOUND, "This call is the sandbox's; the marketplace runs in production mode.")


async def _routing_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        # Each method of a path is a separate route, and the error lists the methods of one route only.
        rows = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        allowed = {method for row in rows for method in getattr(row, "methods", ())}
        sentence = f"{request.method} is not a method of this path."
        refusal = DomainError(ErrorCode.METHOD_NOT_ALLOWED, sentence, allowed=allowed)
    else:
        refusal = DomainError(ErrorCode.NOT_FOUND, "There is no such path.")
    return cast(Response, error_reply(refusal))


async def _answer_unexpected(_request: Request, error: Exception) -> Response:
    return cast(Response, error_reply(error))
