"""The front of the merchants' API: find the call, the shop and the order, and dispatch from the route table.

A call costs one statement: the token, the shop and the order are read together. Headers are scanned once. An action
reads, decides and commits, and decides again if another call was faster (docs/decisions/0003).
"""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from starlette.types import Receive, Scope, Send

from kalathi.contract.products import PRODUCTS_PATH
from kalathi.contract.words import BASE_PATH
from kalathi.marketplace.api.calls import ShopCall
from kalathi.marketplace.api.merchants import Handler, OrderCall, show_order
from kalathi.marketplace.api.rendered_orders import RenderedOrders
from kalathi.marketplace.api.shop_routes import ShopRoutes
from kalathi.marketplace.kernel.actors import API, Actor, ActorKind
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, refuse
from kalathi.marketplace.kernel.idempotency import KeyedRequest, make_keyed_request
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.refusals import OrderNotFound
from kalathi.marketplace.orders.uploads import Upload
from kalathi.marketplace.request_log.log import BODY, BODY_BYTES, REQUEST_ID, SHOP_ID
from kalathi.marketplace.sandbox.demo_orders import stands_at
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Shop, ShopStatus, hash_token
from kalathi.marketplace.web.bodies import CheckedBody, check_encoding, decode_body, read_body, read_query
from kalathi.marketplace.web.captured import CapturedAnswer, read_refused_body
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.faults import answer_with_faults
from kalathi.marketplace.web.limits import RateLimit
from kalathi.marketplace.web.measuring import name_route
from kalathi.marketplace.web.reply import SUCCESS, Reply, error_reply
from kalathi.marketplace.web.uploads import FileField, read_upload

_ORDERS: Final = f"{BASE_PATH}/orders/"
# The log has no uploaded files.
_UPLOAD: Final = b"(a form with a file)"
# Far longer than any token. Longer values are refused without being hashed or cached.
_LONGEST_AUTHORIZATION: Final = 200


class MerchantCall(NamedTuple):
    """One row of the table as the front runs it. `body` is a struct, a file field, or None; `part` is the part of the
    path after the action; `route` is its name in metrics."""

    handler: Handler
    body: Any
    draws_codes: bool = False
    part: str = ""
    route: str = ""


class _Headers(NamedTuple):
    authorization: bytes | None
    accept: bytes | None
    content_length: bytes | None
    content_type: bytes | None
    idempotency_key: bytes | None
    content_encoding: bytes | None


class MerchantsFront:
    """`/merchants/ecommerce/...`"""

    def __init__(
        self,
        context: Context,
        calls: dict[tuple[str, str], MerchantCall],
        others: ShopRoutes,
        name_call: Callable[[str, str], str],
    ) -> None:
        """`calls` has the calls on one order, by method and action, such as ("POST", "accept"). GET of the order itself
        is ("GET", ""). `others` has the calls that are not on one order. `name_call` names a call in fault rules."""
        self._context = context
        self._commands = context.commands.acting_as(API)
        self._name_call = name_call
        vendor = context.terms.settings.vendor
        self._calls = calls
        self._others = others
        self._actions = {action for _, action in calls}
        self._accept = f"application/vnd.{vendor}+json; version=3.0"
        self._accept_bytes = self._accept.encode()
        media = re.escape(f"application/vnd.{vendor}+json".lower())
        self._ours = re.compile(rf"{media};(?:[^;]+;)*version=3(?:\.\d{{1,4}})?(?:;.*)?")
        self._rendered = RenderedOrders(context.database)
        self._log = context.request_log
        self._limit = RateLimit(context.terms.settings.rate_limit_per_minute)
        self._takes_extra = context.terms.settings.extra_api_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with injected faults if rules apply, and log the call before its answer is sent."""
        started = time.perf_counter_ns()
        scope[REQUEST_ID] = self._context.request_ids.make()
        if self._context.faults.has_api_rules:
            await self._answer_with_faults(scope, receive, send, started)
            return
        reply = await self._reply(scope, receive)
        if self._log is not None:
            self._log.record(scope, started, reply.status, reply.body)
        await reply(scope, receive, send)

    async def _answer_with_faults(self, scope: Scope, receive: Receive, send: Send, started: int) -> None:
        token_hash = _token_hash(_scan_headers(scope).authorization)
        find = _find_products_shop_id if scope["path"].startswith(PRODUCTS_PATH) else self._find_shop_id
        shop_id = await self._context.database.read_point(lambda view: find(view, token_hash))
        if shop_id:
            # A fault that replaces the answer keeps the call from being read any further.
            scope[SHOP_ID] = shop_id
        rules = self._context.faults.on_call(shop_id, self._name_call(scope["method"], scope["path"]))
        answer = CapturedAnswer(send)
        try:
            await answer_with_faults(rules, lambda: self._reply(scope, receive), scope, receive, answer)
        finally:
            if self._log is not None:
                self._log.record(scope, started, answer.status, answer.body)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        try:
            return await self._answer(scope, receive)
        except Exception as error:  # noqa: BLE001  (the edge answers every fault with the envelope)
            if self._log is not None and self._log.has_bodies and BODY not in scope:
                scope[BODY] = await read_refused_body(scope, receive)
            return error_reply(error)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        headers = _scan_headers(scope)
        token_hash = _token_hash(headers.authorization)
        if not scope["path"].startswith(_ORDERS):
            return await self._other(scope, receive, token_hash, headers)
        call, code = self._call(scope)
        if scope["method"] == "GET":
            return await self._show(scope, token_hash, code, headers.accept)
        caller = await self._admit(scope, token_hash, code, headers.accept)
        asked = self._make_call(scope, caller, code, call.part)
        body, content = await _body(call.body, scope, receive, headers)
        request = None
        if headers.idempotency_key is not None:
            request = _make_keyed_request(asked.shop.id, headers.idempotency_key, scope, content)
        # The first attempt uses the order as it was read with the token.
        read_already = [asked]

        def command(facts: Facts) -> tuple[ChangeSet, Reply]:
            if read_already:
                present = read_already.pop()
            else:
                present = self._make_call(scope, self._find_caller(facts.view, token_hash, code), code, call.part)
            return call.handler(present._replace(body=body), facts), SUCCESS

        commands = self._commands
        if caller.token_name:
            commands = commands.acting_as(Actor(ActorKind.API, caller.token_name))
        return await commands.run_once(request, command, Reply, codes=1 if call.draws_codes else 0)

    async def _show(self, scope: Scope, token_hash: bytes, code: str, accept: bytes | None) -> Reply:
        """Show an order, from the kept answers if its answer is there."""
        now_millis, query = self._context.clock.now_millis(), scope["query_string"]
        kept = None
        if not query:
            kept = self._rendered.find_unchanged(token_hash, code, now_millis)
            kept = kept or await self._rendered.find(token_hash, code, now_millis)
        if kept is not None:
            self._check_limits(scope, kept.shop_id, accept, token_hash)
            return Reply(200, kept.body)
        changes = self._rendered.changes
        caller = await self._admit(scope, token_hash, code, accept)
        reply = show_order(self._context, self._make_call(scope, caller, code, ""))
        if not query and caller.token_name == "":
            self._rendered.keep(token_hash, code, caller, now_millis, changes, reply.body)
        return reply

    def _make_call(self, scope: Scope, caller: store.Caller | None, code: str, part: str) -> OrderCall:
        """Return the call on the shop's order, or on a demo order. Raises ORDER_NOT_FOUND."""
        found = caller and (caller.found or self._context.demo.find(code))
        if caller is None or found is None:
            raise refuse(OrderNotFound())
        is_demo = caller.found is None
        now = stands_at(found) if is_demo else self._context.clock.now()
        return OrderCall(caller.shop, found, scope["query_string"], part, now, is_demo=is_demo)

    async def _other(self, scope: Scope, receive: Receive, token_hash: bytes, headers: _Headers) -> Reply:
        route, named = self._others.find(scope["method"], scope["path"])
        name_route(scope, f"{route.method} {route.path}")
        if route.is_products:
            shop, token_name = await self._admit_products(scope, token_hash, headers.accept), ""
        else:
            caller = await self._admit(scope, token_hash, "", headers.accept)
            shop, token_name = caller.shop, caller.token_name
        query = read_query(scope["query_string"])
        body, content = await _body(route.body, scope, receive, headers)
        keyed = None
        if headers.idempotency_key is not None and scope["method"] == "POST":
            keyed = _make_keyed_request(shop.id, headers.idempotency_key, scope, content)
        actor = Actor(ActorKind.API, token_name)
        call = ShopCall(shop=shop, actor=actor, path=named, query=query, body=body, keyed=keyed)
        return await route.handler(self._context, call)

    def _call(self, scope: Scope) -> tuple[MerchantCall, str]:
        """Return the call, and the order's code. Raises NOT_FOUND, METHOD_NOT_ALLOWED."""
        path: str = scope["path"]
        code, _, action = path[len(_ORDERS) :].partition("/")
        call = self._calls.get((scope["method"], action))
        if call is not None:
            name_route(scope, call.route)
            return call, code
        if action in self._actions:
            allowed = [method for method, named in self._calls if named == action]
            raise DomainError(
                ErrorCode.METHOD_NOT_ALLOWED, f"{scope['method']} is not a method of this path.", allowed=allowed
            )
        raise DomainError(ErrorCode.NOT_FOUND, "There is no such path.")

    async def _admit(self, scope: Scope, token_hash: bytes, code: str, accept: bytes | None) -> store.Caller:
        """Return the caller, after the checks in their order: token, then the limit, then Accept."""
        caller = await self._context.database.read_point(lambda view: self._find_caller(view, token_hash, code))
        if caller is None:
            refusal = DomainError(ErrorCode.UNAUTHORIZED, "The token is missing or not valid.")
            raise self._context.callers.refuse_token(scope, refusal)
        self._check_limits(scope, caller.shop.id, accept, token_hash)
        return caller

    async def _admit_products(self, scope: Scope, token_hash: bytes, accept: bytes | None) -> Shop:
        """Return the shop of a token of the Products API, after the same checks."""
        shop = await self._context.database.read_point(lambda view: _find_products_shop(view, token_hash))
        if shop is None:
            refusal = DomainError(ErrorCode.UNAUTHORIZED, "The token of the Products API is missing or not valid.")
            raise self._context.callers.refuse_token(scope, refusal)
        self._check_limits(scope, shop.id, accept, token_hash)
        return shop

    def _find_caller(self, view: View, token_hash: bytes, code: str) -> store.Caller | None:
        return store.for_token(view, token_hash, code, takes_extra=self._takes_extra)

    def _find_shop_id(self, view: View, token_hash: bytes) -> str:
        caller = self._find_caller(view, token_hash, "")
        return "" if caller is None else caller.shop.id

    def _check_limits(self, scope: Scope, shop_id: str, accept: bytes | None, token_hash: bytes) -> None:
        """Count the shop's call, note the use of its token, and check Accept. Raises RATE_LIMITED, NOT_ACCEPTABLE."""
        scope[SHOP_ID] = shop_id
        self._context.token_uses.note(token_hash)
        if self._limit.is_on:
            self._limit.count(shop_id)
        if accept != self._accept_bytes and not self._accepts(accept):
            raise DomainError(ErrorCode.NOT_ACCEPTABLE, f"Send the header Accept: {self._accept}")

    def _accepts(self, accept: bytes | None) -> bool:
        """Whether one of the media ranges is ours, regardless of blanks and case. Any minor version of 3 gets 3.0."""
        given = (accept or b"").decode("latin-1").replace(" ", "").replace("\t", "").replace('"', "").lower()
        return any(self._ours.fullmatch(media) for media in given.split(","))


def _find_products_shop_id(view: View, token_hash: bytes) -> str:
    shop = _find_products_shop(view, token_hash)
    return "" if shop is None else shop.id


def _find_products_shop(view: View, token_hash: bytes) -> Shop | None:
    """Return the shop of a token of the Products API. A closed shop has no access."""
    shop = shops.shop_of_products_token(view, token_hash)
    return None if shop is None or shop.status is ShopStatus.CLOSED else shop


def _scan_headers(scope: Scope) -> _Headers:
    authorization = accept = length = content_type = key = encoding = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value
        elif name == b"accept":
            accept = value
        elif name == b"content-length":
            length = value
        elif name == b"content-type":
            content_type = value
        elif name == b"idempotency-key":
            key = value
        elif name == b"content-encoding":
            encoding = value
    return _Headers(authorization, accept, length, content_type, key, encoding)


def _make_keyed_request(shop_id: str, key: bytes, scope: Scope, content: bytes) -> KeyedRequest:
    return make_keyed_request(shop_id, key.decode("latin-1"), scope["method"], scope["path"], content)


async def _body(wanted: Any, scope: Scope, receive: Receive, headers: _Headers) -> tuple[Any, bytes]:
    """Return the decoded body, and the bytes that identify it."""
    if wanted is None:
        return None, b""
    check_encoding(headers.content_encoding)
    if isinstance(wanted, FileField):
        scope[BODY] = _UPLOAD
        if headers.content_length is not None and headers.content_length.isdigit():
            scope[BODY_BYTES] = int(headers.content_length[:20])
        upload: Upload = await read_upload(receive, headers.content_type, wanted)
        return upload, upload.content
    if isinstance(wanted, CheckedBody):
        content = await read_body(receive, headers.content_length, wanted.most_bytes)
        scope[BODY] = content
        return decode_body(content, Any, headers.content_type), content
    content = await read_body(receive, headers.content_length)
    scope[BODY] = content
    return decode_body(content, wanted, headers.content_type), content


def _token_hash(authorization: bytes | None) -> bytes:
    if authorization is None or len(authorization) > _LONGEST_AUTHORIZATION:
        return b""  # No token has an empty hash, so no shop is found.
    return _hash_of(authorization)


@lru_cache(maxsize=4096)
def _hash_of(authorization: bytes) -> bytes:
    if authorization[:7].lower() != b"bearer ":
        return b""
    return hash_token(authorization[7:].strip().decode("latin-1"))
