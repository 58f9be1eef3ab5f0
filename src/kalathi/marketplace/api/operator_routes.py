"""The operator's calls: shops, carts, the actions of customers, support and couriers, the delivery log, the sandbox."""

from typing import Annotated, Final

from msgspec import Meta

from kalathi.contract.orders import OrderBody, Success
from kalathi.contract.requests import ReviewRequest
from kalathi.contract.returns import ReturnBody
from kalathi.marketplace.api import deliveries, operator, people, privacy, requests, returns, sandbox, warehouse
from kalathi.marketplace.api.merchant_routes import ACTION_ERRORS, REVIEW_ERRORS
from kalathi.marketplace.api.route import (
    ORDER_STATE,
    PAGES,
    RETURN_STATE,
    WAIT,
    WAITS,
    Query,
    Route,
    operator_route,
)
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.orders.model import NewCart
from kalathi.marketplace.orders.operations import OPERATIONS, SHOP_ACTIONS
from kalathi.marketplace.orders.queries import OrderDetail
from kalathi.marketplace.people.model import NewInvitation
from kalathi.marketplace.returns.model import NewReturn
from kalathi.marketplace.returns.operations import OPERATIONS as RETURN_OPERATIONS
from kalathi.marketplace.returns.queries import ReturnDetail
from kalathi.marketplace.shops.model import MOST_LISTINGS, NewListing, NewLocation, NewShop, ShopChanges
from kalathi.marketplace.warehouse.model import Receive
from kalathi.marketplace.webhooks.log import DeliveryDetail, DeliveryFilter

_SHOP: Final = "/marketplace/shops/{shop_id}"
_OPERATED: Final = "/marketplace/orders/{code}"
_RETURN: Final = "/marketplace/returns/{code}"
_DELIVERY: Final = "/marketplace/deliveries/{id}"
_OF_SHOP: Final = Query("shop_id", str, "Only of this shop.")


_E = ErrorCode

OPERATOR_ROUTES: Final[tuple[Route, ...]] = (
    operator_route("GET", "/marketplace/shops", operator.list_shops, None, operator.ShopList),
    operator_route("POST", "/marketplace/shops", operator.add_shop, NewShop, operator.ShopWithToken, status=201),
    operator_route("GET", _SHOP, operator.show_shop, None, operator.ShopBody, _E.NOT_FOUND),
    operator_route("PATCH", _SHOP, operator.change_shop, ShopChanges, operator.ShopBody, _E.NOT_FOUND, _E.CONFLICT),
    operator_route(
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
    operator_route(
        "POST",
        f"{_SHOP}/reset",
        sandbox.reset_one_shop,
        None,
        operator.ShopBody,
        _E.NOT_FOUND,
        _E.CONFLICT,
        sandbox_only=True,
    ),
    operator_route(
        "POST", f"{_SHOP}/api_token", operator.renew_token, None, operator.ShopWithToken, _E.NOT_FOUND, _E.CONFLICT
    ),
    operator_route(
        "POST",
        f"{_SHOP}/products_token",
        operator.renew_products_token,
        None,
        operator.NewProductsToken,
        _E.NOT_FOUND,
        _E.CONFLICT,
        status=201,
    ),
    operator_route(
        "POST",
        f"{_SHOP}/signing_secret",
        operator.renew_signing_secret,
        None,
        operator.ShopWithSecret,
        _E.NOT_FOUND,
        _E.CONFLICT,
    ),
    operator_route(
        "DELETE", f"{_SHOP}/signing_secret", operator.end_signing, None, operator.ShopBody, _E.NOT_FOUND, _E.CONFLICT
    ),
    operator_route(
        "PUT",
        f"{_SHOP}/listings",
        operator.put_listings,
        Annotated[list[NewListing], Meta(max_length=MOST_LISTINGS)],
        operator.ListingList,
        _E.NOT_FOUND,
        _E.CONFLICT,
    ),
    operator_route("GET", f"{_SHOP}/listings", operator.list_listings, None, operator.ListingList, _E.NOT_FOUND),
    operator_route("GET", f"{_SHOP}/export", privacy.export, None, bytes, _E.NOT_FOUND),
    operator_route("DELETE", _SHOP, privacy.erase, None, privacy.Erased, _E.NOT_FOUND, _E.CONFLICT),
    operator_route(
        "GET",
        "/marketplace/customers",
        privacy.find_customers,
        None,
        privacy.CustomerList,
        _E.INVALID_PARAMETER,
        query=(Query("q", str, "A name, or other words of the orders."), _OF_SHOP),
    ),
    operator_route(
        "POST", "/marketplace/customers/anonymise", privacy.anonymise_orders, privacy.Anonymise, privacy.Anonymised
    ),
    operator_route("GET", "/marketplace/people", people.list_people, None, people.PeopleList, query=(_OF_SHOP,)),
    operator_route(
        "POST",
        "/marketplace/invitations",
        people.invite,
        NewInvitation,
        people.ShownInvitation,
        _E.NOT_FOUND,
        _E.CONFLICT,
        status=201,
    ),
    operator_route(
        "GET",
        "/marketplace/history",
        people.list_history,
        None,
        people.HistoryList,
        _E.INVALID_PARAMETER,
        query=(_OF_SHOP, *PAGES),
    ),
    operator_route(
        "POST",
        "/marketplace/carts",
        operator.place_cart,
        NewCart,
        operator.PlacedCart,
        _E.CONFLICT,
        status=201,
        keyed=True,
    ),
    operator_route(
        "GET",
        "/marketplace/orders",
        operator.list_orders,
        None,
        operator.ShortOrderList,
        _E.INVALID_PARAMETER,
        query=(ORDER_STATE, _OF_SHOP, *PAGES, *WAITS),
    ),
    operator_route(
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
        operator_route(
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
        operator_route(
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
    operator_route(
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
    operator_route(
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
    operator_route(
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
    operator_route(
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
        operator_route(
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
    operator_route(
        "POST",
        f"{_RETURN}/as_shop/review",
        returns.review_as_shop,
        ReviewRequest,
        ReturnBody,
        *REVIEW_ERRORS,
        keyed=True,
        sandbox_only=True,
    ),
    operator_route(
        "POST",
        f"{_RETURN}/webhook",
        returns.resend_return_webhook,
        None,
        ReturnBody,
        _E.RETURN_NOT_FOUND,
        _E.RETURN_HOOK,
        keyed=True,
    ),
    operator_route(
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
    operator_route(
        "POST",
        "/marketplace/warehouse/purchase_orders/{code}/receive",
        warehouse.receive_purchase_order,
        Receive,
        warehouse.ReceivedBody,
        _E.PURCHASE_ORDER_NOT_FOUND,
        _E.PURCHASE_ORDER_STATUS,
        keyed=True,
    ),
    operator_route(
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
    operator_route(
        "POST",
        "/marketplace/deliveries/resend",
        deliveries.resend_failures,
        deliveries.ResendFailures,
        deliveries.Resent,
        _E.CONFLICT,
    ),
    operator_route("GET", _DELIVERY, deliveries.show_delivery, None, DeliveryDetail, _E.NOT_FOUND),
    operator_route(
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
    operator_route(
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
    operator_route(
        "GET", "/marketplace/requests/{id}", requests.show_request, None, requests.RequestShown, _E.NOT_FOUND
    ),
    operator_route(
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
)
