"""The shops' calls: orders, returns, goods in the warehouse (docs/contract.md#section-3, 5 to 7, 9)."""

from typing import Any, Final

from kalathi.contract.fbs import (
    CreatedPurchaseOrder,
    ProductList,
    PurchaseOrderLineList,
    PurchaseOrderList,
    SupplierList,
)
from kalathi.contract.orders import OrderBody, OrderList, Success
from kalathi.contract.products import PRODUCTS_PATH, AcceptedBatch, BatchResults, ProductBatch, ValidatedBatch
from kalathi.contract.requests import PurchaseOrderRequest, ReviewRequest, SupplierRequest
from kalathi.contract.returns import ReturnBody, ReturnList
from kalathi.contract.words import BASE_PATH
from kalathi.marketplace.api import merchants, products, returns, warehouse
from kalathi.marketplace.api.calls import ShopHandler
from kalathi.marketplace.api.route import BODY_ERRORS, ORDER_STATE, PAGES, RETURN_STATE, Access, Query, Route
from kalathi.marketplace.api.shop_routes import match_path
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.orders.operations import SHOP_ACTIONS
from kalathi.marketplace.web.bodies import CheckedBody
from kalathi.marketplace.web.uploads import CREDIT_INVOICE_FILE, INVOICE_FILE

_LIST: Final = f"{BASE_PATH}/orders"
_ORDER: Final = f"{_LIST}/{{code}}"
_RETURNS: Final = f"{BASE_PATH}/returns"
_FBS: Final = f"{BASE_PATH}/fbs"
_FOUND: Final = (ErrorCode.ORDER_NOT_FOUND,)
_WRITTEN: Final = (*_FOUND, ErrorCode.CONFLICT, ErrorCode.IDEMPOTENCY_KEY)
_E = ErrorCode


def _merchant(
    action: str,
    handler: merchants.Handler | merchants.ShowHandler,
    body: Any,
    *errors: ErrorCode,
    draws_codes: bool = False,
) -> Route:
    """Return the route of an action on an order, `POST /orders/:code/<action>`, which answers with success."""
    reads = BODY_ERRORS if isinstance(body, type) else ()
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


def _shop(
    method: str,
    path: str,
    handler: ShopHandler,
    answer: Any,
    *errors: ErrorCode,
    body: Any = None,
    query: tuple[Query, ...] = (),
) -> Route:
    """Return the route of a shop's call that is not on one order."""
    writes = () if method == "GET" else (ErrorCode.CONFLICT,)
    keyed = (ErrorCode.IDEMPOTENCY_KEY,) if method == "POST" else ()
    reads = BODY_ERRORS if body is not None else ()
    asks = (ErrorCode.INVALID_PARAMETER,) if query else ()
    everything = tuple(dict.fromkeys((*reads, *asks, *errors, *writes, *keyed)))
    return Route(
        Access.MERCHANT,
        method,
        path,
        handler,
        body,
        answer,
        everything,
        query,
        takes_idempotency_key=method == "POST",
    )


def _products(method: str, path: str, handler: ShopHandler, answer: Any, *errors: ErrorCode, body: Any = None) -> Route:
    reads = (ErrorCode.UNREADABLE_BODY, ErrorCode.BODY_TOO_LARGE) if body is not None else ()
    return Route(Access.PRODUCTS, method, f"{PRODUCTS_PATH}/batch{path}", handler, body, answer, (*reads, *errors))


def fault_name(route: Route) -> str:
    """Return the name, in fault rules, of a shop's call that is not on one order."""
    return "list" if route.path == _LIST else route.handler.__name__


# The errors of each action of a shop, in addition to those of every action.
ACTION_ERRORS: Final[dict[str, tuple[ErrorCode, ...]]] = {
    "accept": (_E.ORDER_STATUS,),
    "reject": (_E.ORDER_STATUS,),
    "reschedule_pickup": (_E.ORDER_STATUS, _E.RESCHEDULE_DATE),
    "relocate_pickup": (_E.ORDER_STATUS, _E.PICKUP_LOCATION),
    "set_as_ready": (_E.ORDER_NOT_ELIGIBLE,),
    "set_as_not_ready": (_E.ORDER_NOT_ELIGIBLE,),
    "request_voucher": (_E.ORDER_NOT_ELIGIBLE,),
    "tracking_details": (_E.ORDER_NOT_ELIGIBLE, _E.ORDER_STATUS),
}

REVIEW_ERRORS: Final = (
    _E.RETURN_NOT_FOUND,
    _E.RETURN_STATUS,
    _E.REVIEW_OPTION,
    _E.REVIEW_COMMENT,
    _E.REVIEW_COMMENT_LENGTH,
)

_BATCH_ERRORS: Final = (
    _E.PRODUCTS_FORMAT,
    _E.PRODUCTS_BATCH_SIZE,
    _E.PRODUCTS_SHOP_STATE,
    # A text with U+0000.
    _E.INVALID_PARAMETER,
)
# 500 products with forty variations each are about 2 MB.
_BATCH: Final = CheckedBody(ProductBatch, 4_000_000)

MERCHANT_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        Access.MERCHANT,
        "GET",
        _LIST,
        merchants.list_orders,
        None,
        OrderList,
        (_E.INVALID_PARAMETER,),
        (
            ORDER_STATE,
            Query("updated_since", str, "Only orders that changed at or after this timestamp."),
            Query(
                "cursor",
                str,
                "`start`, or the `meta.next_cursor` of an answer: reads all orders.",
            ),
            *PAGES,
        ),
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
            *ACTION_ERRORS[word],
            draws_codes=word == "reject",
        )
        for word, action in SHOP_ACTIONS.items()
    ),
    _merchant("invoices", merchants.upload_invoice, INVOICE_FILE, _E.INVOICE_MISSING, _E.INVOICE_REFUSED),
    _merchant(
        "credit_invoices",
        merchants.upload_credit_invoice,
        CREDIT_INVOICE_FILE,
        _E.CREDIT_INVOICE_MISSING,
        _E.CREDIT_INVOICE_REFUSED,
    ),
    _merchant(
        "trigger_webhook_request/{kind}", merchants.trigger_webhook, None, _E.ORDER_NOT_ELIGIBLE, _E.ORDER_STATUS
    ),
    _shop(
        "GET",
        _RETURNS,
        returns.list_returns,
        ReturnList,
        query=(RETURN_STATE, Query("order_code", str, "Only of this order."), *PAGES),
    ),
    _shop("GET", f"{_RETURNS}/{{return_code}}", returns.show_return, ReturnBody, _E.RETURN_NOT_FOUND),
    _shop(
        "POST",
        f"{_RETURNS}/{{return_code}}/review",
        returns.review_return,
        Success,
        *REVIEW_ERRORS,
        body=ReviewRequest,
    ),
    _shop("GET", f"{_FBS}/products", warehouse.list_products, ProductList, query=PAGES),
    _shop("GET", f"{_FBS}/purchase_orders", warehouse.list_purchase_orders, PurchaseOrderList, query=PAGES),
    _shop(
        "POST",
        f"{_FBS}/purchase_orders",
        warehouse.create_purchase_order,
        CreatedPurchaseOrder,
        _E.SUPPLIER_NOT_FOUND,
        body=PurchaseOrderRequest,
    ),
    _shop(
        "GET",
        f"{_FBS}/purchase_orders/{{code}}/line_items",
        warehouse.list_purchase_order_lines,
        PurchaseOrderLineList,
        _E.PURCHASE_ORDER_NOT_FOUND,
        _E.PURCHASE_ORDER_OF_ANOTHER,
        query=PAGES,
    ),
    _shop("GET", f"{_FBS}/suppliers", warehouse.list_suppliers, SupplierList, query=PAGES),
    _shop("POST", f"{_FBS}/suppliers", warehouse.create_supplier, Success, body=SupplierRequest),
    _shop(
        "PATCH",
        f"{_FBS}/suppliers/{{id}}",
        warehouse.change_supplier,
        Success,
        _E.SUPPLIER_NOT_FOUND,
        body=SupplierRequest,
    ),
    _products("POST", "", products.send_batch, AcceptedBatch, *_BATCH_ERRORS, _E.CONFLICT, body=_BATCH),
    _products("POST", "/validations", products.validate_batch, ValidatedBatch, *_BATCH_ERRORS, body=_BATCH),
    _products("GET", "/{id}/status", products.show_batch, BatchResults, _E.NOT_FOUND),
)


def _call_name(route: Route) -> str:
    if not route.path.startswith(_ORDER):
        return fault_name(route)
    return route.path.removeprefix(_ORDER).strip("/").partition("/")[0] or "show"


# The names of the shops' calls in fault rules.
API_CALLS: Final = sorted({_call_name(route) for route in MERCHANT_ROUTES})

_NAMES: Final = [(route.method, route.path.split("/"), _call_name(route)) for route in MERCHANT_ROUTES]


def name_call(method: str, path: str) -> str:
    """Return the name of a shop's call in fault rules and in the request log; empty if no call has this path. A call
    with a wrong method has the name of its path."""
    parts = path.split("/")
    names = {route_method: name for route_method, wanted, name in _NAMES if match_path(wanted, parts) is not None}
    return names.get(method) or next(iter(names.values()), "")
