"""The operator's calls: shops, carts, the actions of customers, support and couriers, the delivery log, the sandbox."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from msgspec import Meta

from kalathi.contract.orders import OrderBody, Success
from kalathi.contract.requests import ReviewRequest
from kalathi.contract.returns import ReturnBody
from kalathi.marketplace.api import checkups, deliveries, operator, requests, returns, sandbox, warehouse
from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.api.checkups import TriedWebhook, TryWebhook
from kalathi.marketplace.api.merchant_routes import ACTION_ERRORS, REVIEW_ERRORS
from kalathi.marketplace.api.route import (
    BODY_ERRORS,
    ORDER_STATE,
    PAGES,
    RETURN_STATE,
    WAIT,
    WAITS,
    Access,
    Query,
    Route,
)
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.orders.model import NewCart
from kalathi.marketplace.orders.operations import OPERATIONS, SHOP_ACTIONS
from kalathi.marketplace.orders.queries import OrderDetail
from kalathi.marketplace.returns.model import NewReturn
from kalathi.marketplace.returns.operations import OPERATIONS as RETURN_OPERATIONS
from kalathi.marketplace.returns.queries import ReturnDetail
from kalathi.marketplace.sandbox.checkup_report import Report
from kalathi.marketplace.sandbox.faults import Faults
from kalathi.marketplace.sandbox.player import Played
from kalathi.marketplace.sandbox.recipes import Progress
from kalathi.marketplace.sandbox.scenario import ScenarioDocument
from kalathi.marketplace.shops.model import MOST_LISTINGS, NewListing, NewLocation, NewShop, ShopChanges
from kalathi.marketplace.warehouse.model import Receive
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply
from kalathi.marketplace.webhooks.log import DeliveryDetail, DeliveryFilter

_SHOP: Final = "/marketplace/shops/{shop_id}"
_OPERATED: Final = "/marketplace/orders/{code}"
_RETURN: Final = "/marketplace/returns/{code}"
_DELIVERY: Final = "/marketplace/deliveries/{id}"
_OF_SHOP: Final = Query("shop_id", str, "Only of this shop.")


def _operator(
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
    reads = BODY_ERRORS if body is not None else ()
    remembers = (ErrorCode.IDEMPOTENCY_KEY, ErrorCode.CONFLICT) if keyed else ()
    hidden = (ErrorCode.NOT_FOUND,) if sandbox_only else ()
    everything = tuple(dict.fromkeys((*reads, *errors, *remembers, *hidden)))
    return Route(Access.OPERATOR, method, path, handler, body, answer, everything, query, status, keyed, sandbox_only)


_E = ErrorCode

# The errors of a scenario's steps.
_E_OF_STEPS: Final = (
    _E.NOT_FOUND,
    _E.ORDER_STATUS,
    _E.ORDER_NOT_ELIGIBLE,
    _E.RESCHEDULE_DATE,
    _E.PICKUP_LOCATION,
    _E.CONFLICT,
    _E.UNAVAILABLE,
)

OPERATOR_ROUTES: Final[tuple[Route, ...]] = (
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
        "POST",
        f"{_SHOP}/reset",
        sandbox.reset_one_shop,
        None,
        operator.ShopBody,
        _E.NOT_FOUND,
        _E.CONFLICT,
        sandbox_only=True,
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
        query=(ORDER_STATE, _OF_SHOP, *PAGES, *WAITS),
    ),
    _operator(
        "GET",
        _OPERATED,
        operator.show_order,
        None,
        OrderDetail,
        _E.ORDER_NOT_FOUND,
        _E.INVALID_PARAMETER,
        query=(Query("state", str, "With `wait`: one state, or several with commas between them."), WAIT),
    ),
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
    *(
        _operator(
            "POST",
            f"{_OPERATED}/as_shop/{word}",
            operator.shop_action(action),
            action.body,
            OrderBody,
            _E.ORDER_NOT_FOUND,
            *ACTION_ERRORS[word],
            keyed=True,
            sandbox_only=True,
        )
        for word, action in SHOP_ACTIONS.items()
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
        "POST",
        f"{_OPERATED}/returns",
        returns.request_return,
        NewReturn,
        ReturnBody,
        _E.ORDER_NOT_FOUND,
        _E.ORDER_STATUS,
        status=201,
        keyed=True,
    ),
    _operator(
        "GET",
        "/marketplace/returns",
        returns.list_all_returns,
        None,
        returns.ShortReturnList,
        _E.INVALID_PARAMETER,
        query=(
            RETURN_STATE,
            Query("order_code", str, "Only of this order."),
            _OF_SHOP,
            *PAGES,
            *WAITS,
        ),
    ),
    _operator(
        "GET",
        _RETURN,
        returns.show_any_return,
        None,
        ReturnDetail,
        _E.RETURN_NOT_FOUND,
        _E.INVALID_PARAMETER,
        query=(Query("state", str, "With `wait`: one state, or several with commas between them."), WAIT),
    ),
    *(
        _operator(
            "POST",
            f"{_RETURN}/{word}",
            returns.return_operation(operation),
            operation.body,
            ReturnBody,
            _E.RETURN_NOT_FOUND,
            _E.RETURN_STATUS,
            keyed=True,
        )
        for word, operation in RETURN_OPERATIONS.items()
    ),
    _operator(
        "POST",
        f"{_RETURN}/as_shop/review",
        returns.review_as_shop,
        ReviewRequest,
        ReturnBody,
        *REVIEW_ERRORS,
        keyed=True,
        sandbox_only=True,
    ),
    _operator(
        "POST",
        f"{_RETURN}/webhook",
        returns.resend_return_webhook,
        None,
        ReturnBody,
        _E.RETURN_NOT_FOUND,
        _E.RETURN_HOOK,
        keyed=True,
    ),
    _operator(
        "POST",
        f"{_SHOP}/trigger_return_webhook/{{kind}}",
        returns.trigger_return_webhook,
        None,
        Success,
        _E.NOT_FOUND,
        _E.INVALID_PARAMETER,
        _E.RETURN_HOOK,
        keyed=True,
    ),
    _operator(
        "POST",
        "/marketplace/warehouse/purchase_orders/{code}/receive",
        warehouse.receive_purchase_order,
        Receive,
        warehouse.ReceivedBody,
        _E.PURCHASE_ORDER_NOT_FOUND,
        _E.PURCHASE_ORDER_STATUS,
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
            _OF_SHOP,
            Query("subject", str, "Only of this order or return."),
            Query("event_type", str, "Only of this type."),
            Query("state", DeliveryFilter, "Only in this state; `ended` are all but pending ones."),
            Query("since", str, "Only events at or after this timestamp."),
            *PAGES,
            *WAITS,
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
        _E.RETURN_HOOK,
        _E.CONFLICT,
        keyed=True,
    ),
    _operator(
        "GET",
        "/marketplace/requests",
        requests.list_requests,
        None,
        requests.RequestList,
        _E.NOT_FOUND,
        _E.INVALID_PARAMETER,
        query=(
            Query("shop_id", str, "Only of this shop."),
            Query("subject", str, "Only on this order, return or purchase order."),
            Query("call", str, "Only this call, such as `accept`, `show` or `list`."),
            Query("method", str, "Only with this method."),
            Query("status", str, "Only with this status, such as `404`, or class, such as `4xx`."),
            Query("error", str, "Only refused with this code, such as `order_status`."),
            Query("since", str, "Only at or after this timestamp."),
            Query("after", str, "Only newer than the call with this id."),
            *PAGES,
            *WAITS,
        ),
    ),
    _operator("GET", "/marketplace/requests/{id}", requests.show_request, None, requests.RequestShown, _E.NOT_FOUND),
    _operator(
        "GET",
        "/marketplace/traffic",
        requests.show_traffic,
        None,
        requests.TrafficList,
        _E.INVALID_PARAMETER,
        query=(
            Query("shop_id", str, "Of this shop."),
            Query("subject", str, "Of this order or return."),
        ),
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
    _operator("GET", "/marketplace/faults", sandbox.show_faults, None, sandbox.FaultsShown, sandbox_only=True),
    _operator("PUT", "/marketplace/faults", sandbox.put_faults, Faults, sandbox.FaultsShown, sandbox_only=True),
    _operator("GET", f"{_SHOP}/faults", sandbox.show_shop_faults, None, Faults, sandbox_only=True),
    _operator("PUT", f"{_SHOP}/faults", sandbox.put_shop_faults, Faults, Faults, sandbox_only=True),
    _operator("DELETE", f"{_SHOP}/faults", sandbox.remove_shop_faults, None, Faults, sandbox_only=True),
    _operator("POST", f"{_SHOP}/try_webhook", checkups.try_webhook, TryWebhook, TriedWebhook, sandbox_only=True),
    _operator("GET", f"{_SHOP}/checkup", checkups.show_checkup, None, Report, sandbox_only=True),
    _operator("PUT", f"{_SHOP}/checkup", checkups.put_checkup, Report, Report, _E.CONFLICT, sandbox_only=True),
    _operator("GET", f"{_SHOP}/recipes/{{name}}", checkups.show_recipe, None, Progress, sandbox_only=True),
    _operator(
        "PUT", f"{_SHOP}/recipes/{{name}}", checkups.put_recipe, Progress, Progress, _E.CONFLICT, sandbox_only=True
    ),
    _operator("GET", "/marketplace/scenarios", sandbox.list_scenarios, None, sandbox.ScenarioList, sandbox_only=True),
    _operator("GET", "/marketplace/scenarios/{name}", sandbox.show_scenario, None, ScenarioDocument, sandbox_only=True),
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
)
