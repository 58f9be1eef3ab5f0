"""The merchants' API (contract, section 3): one small ASGI front, dispatched from the route table.

A call costs one statement: the token, the shop and the order are read together. Headers are scanned once. An action
reads, decides and commits, and decides anew when another call was faster (DESIGN, decision 3).
"""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from kalathi.contract.requests import AcceptRequest, RejectRequest
from kalathi.marketplace.api.bodies import decode_body, read_body
from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.api.reply import SUCCESS, Reply, error_reply
from kalathi.marketplace.kernel.changes import ChangeSet, ConditionFailedError
from kalathi.marketplace.kernel.database import COMMAND_ATTEMPTS
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.keys import DrawnKeys
from kalathi.marketplace.orders import commands, store, wire
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.shops.model import hash_token

BASE_PATH: Final = "/merchants/ecommerce"
_ORDERS: Final = f"{BASE_PATH}/orders/"
_NO_KEYS: Final = DrawnKeys([])
# No token is nearly as long; what is longer is refused without being hashed or kept.
_LONGEST_AUTHORIZATION: Final = 200

Handler = Callable[[Desk, FoundOrder, Any, DrawnKeys, datetime], Reply | ChangeSet]


def show_order(desk: Desk, found: FoundOrder, _body: None, _keys: DrawnKeys, now: datetime) -> Reply:
    """The whole order, with its options while it is open."""
    return Reply(200, wire.order_body(found.document, desk.terms.offer(found.shop), now))


def accept_order(desk: Desk, found: FoundOrder, body: AcceptRequest, _keys: DrawnKeys, now: datetime) -> ChangeSet:
    """Takes the order with a location, a window and a number of parcels that are on offer."""
    return commands.accept(found, body, desk.terms, now)


def reject_order(desk: Desk, found: FoundOrder, body: RejectRequest, keys: DrawnKeys, now: datetime) -> ChangeSet:
    """Rejects by line items or by a free text; what is left may come back as a new order."""
    return commands.reject(found, body, keys, desk.terms, now)


class MerchantCall:
    """One row of the table as the front runs it."""

    __slots__ = ("body", "draws_codes", "handler")

    def __init__(self, handler: Handler, body: Any) -> None:
        self.handler = handler
        self.body = body
        self.draws_codes = handler is reject_order


class MerchantsFront:
    """`/merchants/ecommerce/...`: which call it is, whose, and on which order."""

    def __init__(self, desk: Desk, calls: dict[tuple[str, str], MerchantCall], vendor: str) -> None:
        """`calls` maps method and action, such as ("POST", "accept"); GET of the order itself is ("GET", "")."""
        self._desk = desk
        self._calls = calls
        self._actions = {action for _, action in calls}
        self._accept = f"application/vnd.{vendor}+json; version=3.0"
        self._accept_bytes = self._accept.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers every request, the faulty ones too."""
        try:
            reply = await self._answer(scope, receive)
        except Exception as error:  # noqa: BLE001  (the edge: whatever went wrong gets the envelope)
            reply = error_reply(error)
        await reply(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        call, code = self._call(scope)
        authorization = accept = length = content_type = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"accept":
                accept = value
            elif name == b"content-length":
                length = value
            elif name == b"content-type":
                content_type = value
        token_hash = _token_hash(authorization)

        def find() -> FoundOrder:
            return self._find(token_hash, code, accept)

        found = find()
        if call.body is None:
            # A read decides at once; an action without a body takes the same way as the others.
            reply = call.handler(self._desk, found, None, _NO_KEYS, self._desk.clock.now())
            return reply if isinstance(reply, Reply) else await self._act(call, found, find, None, _NO_KEYS)
        body = decode_body(await read_body(receive, length), call.body, content_type)
        if not call.draws_codes:
            return await self._act(call, found, find, body, _NO_KEYS)
        keys = await self._desk.keys.draw(COMMAND_ATTEMPTS)
        try:
            return await self._act(call, found, find, body, keys)
        finally:
            self._desk.keys.give_back(keys)

    def _call(self, scope: Scope) -> tuple[MerchantCall, str]:
        """Which call it is, and the order's code. Raises NOT_FOUND, METHOD_NOT_ALLOWED."""
        path: str = scope["path"]
        if not path.startswith(_ORDERS):
            raise DomainError(ErrorCode.NOT_FOUND, "There is no such path.")
        code, _, action = path[len(_ORDERS) :].partition("/")
        call = self._calls.get((scope["method"], action))
        if call is not None:
            return call, code
        if action in self._actions:
            raise DomainError(ErrorCode.METHOD_NOT_ALLOWED, f"{scope['method']} is not a method of this path.")
        raise DomainError(ErrorCode.NOT_FOUND, "There is no such path.")

    async def _act(
        self, call: MerchantCall, found: FoundOrder, find: Callable[[], FoundOrder], body: Any, keys: DrawnKeys
    ) -> Reply:
        """Decides and commits; when another call was faster, reads and decides anew (DESIGN, decision 3)."""
        for _ in range(COMMAND_ATTEMPTS):
            outcome = call.handler(self._desk, found, body, keys, self._desk.clock.now())
            if isinstance(outcome, Reply):
                return outcome
            try:
                await self._desk.database.commit(outcome)
            except ConditionFailedError:
                found = find()
            else:
                return SUCCESS
        raise DomainError(ErrorCode.CONFLICT, "Somebody else is changing this order at the same moment. Try again.")

    def _find(self, token_hash: bytes, code: str, accept: bytes | None) -> FoundOrder:
        """The order, with the checks in the order that the design gives: token, Accept, order."""
        caller = store.for_token(self._desk.database.point, token_hash, code)
        if caller is None:
            raise DomainError(ErrorCode.UNAUTHORIZED, "The token is missing or not valid.")
        if accept != self._accept_bytes and not self._accepts(accept):
            raise DomainError(ErrorCode.NOT_ACCEPTABLE, f"Send the header Accept: {self._accept}")
        if caller.found is None:
            raise DomainError(ErrorCode.ORDER_NOT_FOUND, "Order not found")
        return caller.found

    def _accepts(self, accept: bytes | None) -> bool:
        """Whether one of the media ranges is ours, however it is spaced and cased."""
        wanted = self._accept.replace(" ", "").lower()
        given = (accept or b"").decode("latin-1").replace(" ", "").replace('"', "").lower()
        return any(media == wanted or media.startswith(wanted + ";") for media in given.split(","))


def _token_hash(authorization: bytes | None) -> bytes:
    if authorization is None or len(authorization) > _LONGEST_AUTHORIZATION:
        return b""  # No token has an empty hash, so this finds nobody.
    return _hash_of(authorization)


@lru_cache(maxsize=4096)
def _hash_of(authorization: bytes) -> bytes:
    if authorization[:7].lower() != b"bearer ":
        return b""
    return hash_token(authorization[7:].strip().decode("latin-1"))
