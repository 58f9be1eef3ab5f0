"""The route table: every call of the marketplace, once. Routing reads it, and so does everything that describes it."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from kalathi.contract.orders import OrderBody, OrderList, Success
from kalathi.contract.words import OrderState
from kalathi.marketplace.api import deliveries, description, merchants, operator, sandbox, uploads, vouchers, watching
from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.api.front import BASE_PATH
from kalathi.marketplace.api.operator import Call
from kalathi.marketplace.api.reply import Reply
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.orders.model import NewCart
from kalathi.marketplace.orders.operations import OPERATIONS, SHOP_ACTIONS
from kalathi.marketplace.orders.queries import OrderDetail
from kalathi.marketplace.sandbox.faults import Faults
from kalathi.marketplace.sandbox.player import Played
from kalathi.marketplace.shops.model import MOST_LISTINGS, NewListing, NewLocation, NewShop, ShopChanges
from kalathi.marketplace.webhooks.log import DeliveryDetail, DeliveryState


class Access(Enum):
    """Who may call."""

    MERCHANT = auto()
    OPERATOR = auto()
    ANYBODY = auto()


class Query(NamedTuple):
    """A parameter of the query, which may always be left out."""

    name: str
    type: Any
    sentence: str


class Route(NamedTuple):
    """One call: method and path, what it reads, what it answers, which errors it has beside those of its access.

    `body` is a struct, a file field, or None; `handler` says in its docstring what the call does.
    """

    access: Access
    method: str
    path: str
    handler: (
        merchants.Handler | merchants.ShowHandler | merchants.ListHandler | Callable[[Desk, Call], Awaitable[Reply]]
    )
    body: Any
    answer: Any
    errors: tuple[ErrorCode, ...] = ()
    query: tuple[Query, ...] = ()
    status: int = 200
    takes_idempotency_key: bool = False
    sandbox_only: bool = False
    draws_codes: bool = False


_LIST: Final = f"{BASE_PATH}/orders"
_ORDER: Final = f"{_LIST}/{{code}}"
_SHOP: Final = "/marketplace/shops/{shop_id}"
_OPERATED: Final = "/marketplace/orders/{code}"
_DELIVERY: Final = "/marketplace/deliveries/{id}"
_BODY: Final = (ErrorCode.UNREADABLE_BODY, ErrorCode.BODY_TOO_LARGE, ErrorCode.INVALID_PARAMETER)
_FOUND: Final = (ErrorCode.ORDER_NOT_FOUND,)
_WRITTEN: Final = (*_FOUND, ErrorCode.CONFLICT, ErrorCode.IDEMPOTENCY_KEY)
_PAGES: Final = (
    Query("page", Annotated[int, Meta(ge=1)], "From 1."),
    Query("per", Annotated[int, Meta(ge=1, le=100)], "Results a page; 100 unless told."),
)
_STATE: Final = Query("state", OrderState, "Only orders in this state.")


def _merchant(
    action: str,
    handler: merchants.Handler | merchants.ShowHandler,
    body: Any,
    *errors: ErrorCode,
    draws_codes: bool = False,
) -> Route:
    """An action on an order: `POST /orders/:code/<action>`, which answers success."""
    reads = _BODY if isinstance(body, type) else ()
    return Route(
        Access.MERCHANT,
        "POST",
        f"{_ORDER}/{action}",
        handler,
        body,
        Success,
        tuple(dict.fromkeys((*reads, *_WRITTEN, *errors))),
        takes_idempotency_key=True,
        draws_codes=draws_codes,
    )


def _operator(
    method: str,
    path: str,
    handler: Callable[[Desk, Call], Awaitable[Reply]],
    body: Any,
    answer: Any,
    *errors: ErrorCode,
    query: tuple[Query, ...] = (),
    status: int = 200,
    keyed: bool = False,
    sandbox_only: bool = False,
) -> Route:
    reads = _BODY if body is not None else ()
    remembers = (ErrorCode.IDEMPOTENCY_KEY, ErrorCode.CONFLICT) if keyed else ()
    hidden = (ErrorCode.NOT_FOUND,) if sandbox_only else ()
    everything = tuple(dict.fromkeys((*reads, *errors, *remembers, *hidden)))
    return Route(Access.OPERATOR, method, path, handler, body, answer, everything, query, status, keyed, sandbox_only)


_E = ErrorCode

# What the steps of a scenario may be refused with.
_E_OF_STEPS: Final = (
    _E.NOT_FOUND,
    _E.ORDER_STATUS,
    _E.ORDER_NOT_ELIGIBLE,
    _E.RESCHEDULE_DATE,
    _E.PICKUP_LOCATION,
    _E.CONFLICT,
    _E.UNAVAILABLE,
)

# How each action of a shop may be refused, beside what every action may.
_REFUSALS: Final[dict[str, tuple[ErrorCode, ...]]] = {
    "accept": (_E.ORDER_STATUS,),
    "reject": (_E.ORDER_STATUS,),
    "reschedule_pickup": (_E.ORDER_STATUS, _E.RESCHEDULE_DATE),
    "relocate_pickup": (_E.ORDER_STATUS, _E.PICKUP_LOCATION),
    "set_as_ready": (_E.ORDER_NOT_ELIGIBLE,),
    "set_as_not_ready": (_E.ORDER_NOT_ELIGIBLE,),
    "request_voucher": (_E.ORDER_NOT_ELIGIBLE,),
    "tracking_details": (_E.ORDER_NOT_ELIGIBLE, _E.ORDER_STATUS),
}

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        Access.MERCHANT,
        "GET",
        _LIST,
        merchants.list_orders,
        None,
        OrderList,
        (_E.INVALID_PARAMETER,),
        (_STATE, Query("updated_since", str, "Only orders that changed at or after this timestamp."), *_PAGES),
    ),
    Route(
        Access.MERCHANT,
        "GET",
        _ORDER,
        merchants.show_order,
        None,
        OrderBody,
        _FOUND,
        (Query("action_options", int, "1 adds reschedule_options and relocate_options."),),
    ),
    *(
        _merchant(
            word,
            merchants.order_action(action),
            action.body,
            *_REFUSALS[word],
            draws_codes=word == "reject",
        )
        for word, action in SHOP_ACTIONS.items()
    ),
    _merchant("invoices", merchants.upload_invoice, uploads.INVOICE_FILE, _E.INVOICE_MISSING, _E.INVOICE_REFUSED),
    _merchant(
        "credit_invoices",
        merchants.upload_credit_invoice,
        uploads.CREDIT_INVOICE_FILE,
        _E.CREDIT_INVOICE_MISSING,
        _E.CREDIT_INVOICE_REFUSED,
    ),
    _merchant(
        "trigger_webhook_request/{kind}", merchants.trigger_webhook, None, _E.ORDER_NOT_ELIGIBLE, _E.ORDER_STATUS
    ),
    _operator("GET", "/marketplace/shops", operator.list_shops, None, operator.ShopList),
    _operator("POST", "/marketplace/shops", operator.add_shop, NewShop, operator.ShopWithToken, status=201),
    _operator("GET", _SHOP, operator.show_shop, None, operator.ShopBody, _E.NOT_FOUND),
    _operator("PATCH", _SHOP, operator.change_shop, ShopChanges, operator.ShopBody, _E.NOT_FOUND, _E.CONFLICT),
    _operator(
        "POST",
        f"{_SHOP}/locations",
        operator.add_location,
        NewLocation,
        operator.ShopBody,
        _E.NOT_FOUND,
        _E.CONFLICT,
        status=201,
        keyed=True,
    ),
    _operator(
        "POST", f"{_SHOP}/api_token", operator.renew_token, None, operator.ShopWithToken, _E.NOT_FOUND, _E.CONFLICT
    ),
    _operator(
        "POST",
        f"{_SHOP}/signing_secret",
        operator.renew_signing_secret,
        None,
        operator.ShopWithSecret,
        _E.NOT_FOUND,
        _E.CONFLICT,
    ),
    _operator(
        "DELETE", f"{_SHOP}/signing_secret", operator.end_signing, None, operator.ShopBody, _E.NOT_FOUND, _E.CONFLICT
    ),
    _operator(
        "PUT",
        f"{_SHOP}/listings",
        operator.put_listings,
        Annotated[list[NewListing], Meta(max_length=MOST_LISTINGS)],
        operator.ListingList,
        _E.NOT_FOUND,
        _E.CONFLICT,
    ),
    _operator("GET", f"{_SHOP}/listings", operator.list_listings, None, operator.ListingList, _E.NOT_FOUND),
    _operator(
        "POST",
        "/marketplace/carts",
        operator.place_cart,
        NewCart,
        operator.PlacedCart,
        _E.CONFLICT,
        status=201,
        keyed=True,
    ),
    _operator(
        "GET",
        "/marketplace/orders",
        operator.list_orders,
        None,
        operator.ShortOrderList,
        _E.INVALID_PARAMETER,
        query=(_STATE, *_PAGES),
    ),
    _operator("GET", _OPERATED, operator.show_order, None, OrderDetail, _E.ORDER_NOT_FOUND),
    *(
        _operator(
            "POST",
            f"{_OPERATED}/{word}",
            operator.order_operation(operation),
            operation.body,
            OrderBody,
            _E.ORDER_NOT_FOUND,
            _E.ORDER_STATUS,
            keyed=True,
        )
        for word, operation in OPERATIONS.items()
    ),
    _operator(
        "POST",
        f"{_OPERATED}/webhook",
        operator.resend_webhook,
        None,
        operator.ResentWebhook,
        _E.ORDER_NOT_FOUND,
        _E.NOT_FOUND,
        _E.INVALID_PARAMETER,
        _E.CONFLICT,
        keyed=True,
    ),
    _operator(
        "GET",
        "/marketplace/deliveries",
        deliveries.list_deliveries,
        None,
        deliveries.DeliveryList,
        _E.INVALID_PARAMETER,
        query=(
            Query("shop_id", str, "Only of this shop."),
            Query("subject", str, "Only of this order."),
            Query("event_type", str, "Only of this type."),
            Query("state", DeliveryState, "Only in this state."),
            Query("since", str, "Only what was told at or after this timestamp."),
            *_PAGES,
        ),
    ),
    _operator(
        "POST",
        "/marketplace/deliveries/resend",
        deliveries.resend_failures,
        deliveries.ResendFailures,
        deliveries.Resent,
        _E.CONFLICT,
    ),
    _operator("GET", _DELIVERY, deliveries.show_delivery, None, DeliveryDetail, _E.NOT_FOUND),
    _operator(
        "POST",
        f"{_DELIVERY}/resend",
        deliveries.resend_delivery,
        None,
        deliveries.Resent,
        _E.NOT_FOUND,
        _E.CONFLICT,
        keyed=True,
    ),
    _operator("GET", "/marketplace/clock", operator.show_clock, None, operator.ClockShown),
    _operator(
        "POST",
        "/marketplace/clock",
        operator.move_clock,
        operator.ClockMove,
        operator.ClockShown,
        _E.UNAVAILABLE,
        sandbox_only=True,
    ),
    _operator("GET", "/marketplace/faults", sandbox.show_faults, None, Faults, sandbox_only=True),
    _operator("PUT", "/marketplace/faults", sandbox.put_faults, Faults, Faults, sandbox_only=True),
    _operator("GET", "/marketplace/scenarios", sandbox.list_scenarios, None, sandbox.ScenarioList, sandbox_only=True),
    _operator(
        "POST",
        "/marketplace/scenarios/{name}",
        sandbox.play_scenario,
        sandbox.PlayScenario,
        Played,
        *_E_OF_STEPS,
        status=201,
        sandbox_only=True,
    ),
    Route(Access.ANYBODY, "GET", "/ip_ranges.json", sandbox.show_ip_ranges, None, sandbox.IpRanges),
    Route(Access.ANYBODY, "GET", "/healthz", watching.show_alive, None, watching.Health),
    Route(Access.ANYBODY, "GET", "/readyz", watching.show_ready, None, watching.Health, (_E.UNAVAILABLE,)),
    Route(Access.ANYBODY, "GET", "/metrics", watching.show_metrics, None, str),
    Route(Access.ANYBODY, "GET", "/openapi.json", description.show_openapi, None, dict),
    Route(Access.ANYBODY, "GET", "/docs", description.show_docs, None, str),
    Route(
        Access.ANYBODY,
        "GET",
        "/vouchers/{shop_id}/{link}.pdf",
        vouchers.download_voucher,
        None,
        bytes,
        (_E.NOT_FOUND, _E.CONFLICT),
    ),
    Route(Access.ANYBODY, "GET", "/uploads/{shop_id}/{file}", uploads.download_upload, None, bytes, (_E.NOT_FOUND,)),
)
