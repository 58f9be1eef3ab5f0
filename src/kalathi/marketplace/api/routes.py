"""The route table: every call of the marketplace, once. Routing reads it, and so will everything that describes it."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from kalathi.contract.orders import OrderBody, Success
from kalathi.contract.requests import AcceptRequest, RejectRequest
from kalathi.marketplace.api import merchants, operator, vouchers
from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.api.operator import Call
from kalathi.marketplace.api.reply import Reply
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.orders import commands
from kalathi.marketplace.orders.model import NewCart
from kalathi.marketplace.orders.queries import OrderDetail
from kalathi.marketplace.shops.model import MOST_LISTINGS, NewListing, NewShop, ShopChanges


class Access(Enum):
    """Who may call."""

    MERCHANT = auto()
    OPERATOR = auto()
    ANYBODY = auto()


class Route(NamedTuple):
    """One call: method and path, what it reads, what it answers, which errors it has beside those of its access."""

    access: Access
    method: str
    path: str
    handler: merchants.Handler | Callable[[Desk, Call], Awaitable[Reply]]
    body: Any
    answer: Any
    errors: tuple[ErrorCode, ...] = ()


_ORDER: Final = f"{merchants.BASE_PATH}/orders/{{code}}"
_SHOP: Final = "/marketplace/shops/{shop_id}"
_OPERATED: Final = "/marketplace/orders/{code}"
_BODY_ERRORS: Final = (ErrorCode.UNREADABLE_BODY, ErrorCode.BODY_TOO_LARGE, ErrorCode.INVALID_PARAMETER)
_ORDER_ERRORS: Final = (ErrorCode.ORDER_NOT_FOUND, ErrorCode.ORDER_STATUS, ErrorCode.CONFLICT)
_ANSWERED: Final = (*_BODY_ERRORS, *_ORDER_ERRORS)
_M, _O = Access.MERCHANT, Access.OPERATOR

ROUTES: Final[tuple[Route, ...]] = (
    Route(_M, "GET", _ORDER, merchants.show_order, None, OrderBody, (ErrorCode.ORDER_NOT_FOUND,)),
    Route(_M, "POST", f"{_ORDER}/accept", merchants.accept_order, AcceptRequest, Success, _ANSWERED),
    Route(_M, "POST", f"{_ORDER}/reject", merchants.reject_order, RejectRequest, Success, _ANSWERED),
    Route(_O, "GET", "/marketplace/shops", operator.list_shops, None, operator.ShopList),
    Route(_O, "POST", "/marketplace/shops", operator.add_shop, NewShop, operator.ShopWithToken, _BODY_ERRORS),
    Route(_O, "GET", _SHOP, operator.show_shop, None, operator.ShopBody, (ErrorCode.NOT_FOUND,)),
    Route(
        _O,
        "PATCH",
        _SHOP,
        operator.change_shop,
        ShopChanges,
        operator.ShopBody,
        (*_BODY_ERRORS, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
    ),
    Route(
        _O,
        "POST",
        f"{_SHOP}/api_token",
        operator.renew_token,
        None,
        operator.ShopWithToken,
        (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
    ),
    Route(
        _O,
        "PUT",
        f"{_SHOP}/listings",
        operator.put_listings,
        Annotated[list[NewListing], Meta(max_length=MOST_LISTINGS)],
        operator.ListingList,
        (*_BODY_ERRORS, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
    ),
    Route(_O, "GET", f"{_SHOP}/listings", operator.list_listings, None, operator.ListingList, (ErrorCode.NOT_FOUND,)),
    Route(
        _O,
        "POST",
        "/marketplace/carts",
        operator.place_cart,
        NewCart,
        operator.PlacedCart,
        (*_BODY_ERRORS, ErrorCode.CONFLICT),
    ),
    Route(
        _O, "GET", "/marketplace/orders", operator.list_orders, None, operator.OrderList, (ErrorCode.INVALID_PARAMETER,)
    ),
    Route(_O, "GET", _OPERATED, operator.show_order, None, OrderDetail, (ErrorCode.ORDER_NOT_FOUND,)),
    *(
        Route(_O, "POST", f"{_OPERATED}/{word}", operator.order_command(command), None, OrderDetail, _ORDER_ERRORS)
        for word, command in {
            "cancel": commands.cancel,
            "extend": commands.extend,
            "hand_over": commands.hand_over,
            "deliver": commands.deliver,
        }.items()
    ),
    Route(_O, "GET", "/marketplace/clock", operator.show_clock, None, operator.ClockShown),
    Route(
        _O,
        "POST",
        "/marketplace/clock",
        operator.move_clock,
        operator.ClockMove,
        operator.ClockShown,
        (*_BODY_ERRORS, ErrorCode.UNAVAILABLE),
    ),
    Route(
        Access.ANYBODY,
        "GET",
        "/vouchers/{shop_id}/{link}.pdf",
        vouchers.download_voucher,
        None,
        bytes,
        (ErrorCode.NOT_FOUND,),
    ),
)
