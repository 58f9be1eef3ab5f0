"""The types of the route table's rows, and values that many rows share."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from kalathi.contract.words import OrderState, ReturnState
from kalathi.marketplace.api import merchants
from kalathi.marketplace.api.calls import Call, ShopHandler
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply
from kalathi.marketplace.web.waiting import LONGEST_WAIT_SECONDS

_WITH_HISTORY: Final = ("/marketplace/shops", "/marketplace/invitations", "/marketplace/customers")


class Access(Enum):
    """The kinds of callers."""

    MERCHANT = auto()
    # A shop with its token of the Products API (docs/contract.md#section-10).
    PRODUCTS = auto()
    OPERATOR = auto()
    # A monitoring system: in production it has the operator's token or `metrics_token`, or it calls the watch port.
    MONITOR = auto()
    PUBLIC = auto()


class Query(NamedTuple):
    """An optional query parameter."""

    name: str
    type: Any
    sentence: str


class Route(NamedTuple):
    """One call: method and path, body, answer, and its errors in addition to those of its access.

    `body` is a struct, a file field, a body that the handler checks itself, or None. The docstring of `handler`
    describes the call.
    """

    access: Access
    method: str
    path: str
    handler: merchants.Handler | merchants.ShowHandler | ShopHandler | Callable[[Context, Call], Awaitable[Reply]]
    body: Any
    answer: Any
    errors: tuple[ErrorCode, ...] = ()
    query: tuple[Query, ...] = ()
    status: int = 200
    takes_idempotency_key: bool = False
    sandbox_only: bool = False
    draws_codes: bool = False

    @property
    def has_history(self) -> bool:
        """Whether calls are noted in the history: changes of shops and people by the operator. Orders and returns have
        timelines."""
        return (
            self.access is Access.OPERATOR
            and not self.sandbox_only
            and self.method != "GET"
            and self.path.startswith(_WITH_HISTORY)
        )


# The accesses of shops. Their calls go through the front (api/front.py).
OF_SHOPS: Final = frozenset({Access.MERCHANT, Access.PRODUCTS})
BODY_ERRORS: Final = (ErrorCode.UNREADABLE_BODY, ErrorCode.BODY_TOO_LARGE, ErrorCode.INVALID_PARAMETER)
PAGES: Final = (
    Query("page", Annotated[int, Meta(ge=1)], "From 1."),
    Query("per", Annotated[int, Meta(ge=1, le=100)], "Results per page; by default 100."),
)
WAIT: Final = Query("wait", Annotated[float, Meta(ge=0, le=LONGEST_WAIT_SECONDS)], "Longest time to wait, in seconds.")
WAITS: Final = (
    WAIT,
    Query("count", Annotated[int, Meta(ge=1)], "Number of results to wait for; by default 1."),
)
ORDER_STATE: Final = Query("state", OrderState, "Only orders in this state.")
RETURN_STATE: Final = Query("state", ReturnState, "Only returns in this state.")


def operator_route(
    method: str,
    path: str,
    handler: Callable[[Context, Call], Awaitable[Reply]],
    body: Any,
    answer: Any,
    *errors: ErrorCode,
    query: tuple[Query, ...] = (),
    status: int = 200,
    keyed: bool = False,
    sandbox_only: bool = False,
) -> Route:
    """Return the route of a call of the operator."""
    reads = BODY_ERRORS if body is not None else ()
    remembers = (ErrorCode.IDEMPOTENCY_KEY, ErrorCode.CONFLICT) if keyed else ()
    hidden = (ErrorCode.NOT_FOUND,) if sandbox_only else ()
    everything = tuple(dict.fromkeys((*reads, *errors, *remembers, *hidden)))
    return Route(Access.OPERATOR, method, path, handler, body, answer, everything, query, status, keyed, sandbox_only)
