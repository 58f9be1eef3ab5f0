"""Every call of a shop (docs/contract.md#section-3, #section-5 to #section-7, #section-9): build its request,
and return the useful part of the answer."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from msgspec import Struct, field

from kalathi.contract.codec import encode
from kalathi.contract.fbs import (
    CreatedPurchaseOrder,
    ProductList,
    PurchaseOrderLineList,
    PurchaseOrderList,
    SupplierList,
)
from kalathi.contract.orders import ListMeta, Order, OrderBody, OrderList, Success
from kalathi.contract.reading import Reading
from kalathi.contract.received import read_received
from kalathi.contract.requests import (
    AcceptRequest,
    PurchaseOrderRequest,
    RejectedLine,
    RejectRequest,
    RelocateRequest,
    RescheduleRequest,
    ReviewRequest,
    SupplierRequest,
    TrackingDetail,
    TrackingRequest,
)
from kalathi.contract.returns import Return, ReturnBody, ReturnList
from kalathi.contract.words import OrderState
from kalathi.merchant.client.core import Call, Flow, RequestCore
from kalathi.merchant.client.failures import MarketplaceError, UnreachableError, UnreadableAnswerError

_LARGEST_DOWNLOAD_BYTES: Final = 20_000_000
_EXPRESS: Final = "Order is express"


class _Coded(Struct):
    code: str


class _Codes(Struct):
    orders: list[_Coded]


class OrderPage(OrderList, frozen=True, kw_only=True):
    """A page of orders. The code of an unreadable entry is in `unread_codes` instead, so that the caller can fetch this
    order alone."""

    unread_codes: list[str] = field(default_factory=list)


class ReturnPage(ReturnList, frozen=True, kw_only=True):
    """A page of returns. The codes of unreadable entries are in `unread_codes`."""

    unread_codes: list[str] = field(default_factory=list)


class OrderReading(NamedTuple):
    """An order, its body as received (contract/received.py), and the unreadable places of the answer, such as
    `$.order.line_items[0].size`. In `order`, an unreadable member has its default."""

    order: Order
    received: dict[str, Any]
    unread: tuple[str, ...] = ()


class OrderReadings(NamedTuple):
    """A page of orders with each order as it was received."""

    readings: list[OrderReading]
    meta: ListMeta
    unread_codes: list[str]


class ReturnReading(NamedTuple):
    """A return, and the return as it was received."""

    returned: Return
    received: dict[str, Any]


class Flows(RequestCore):
    """The calls, one method each. Every `datetime` argument must have an offset."""

    def order(self, code: str, *, action_options: bool) -> Flow[Order]:
        """GET of an order."""
        query = "?action_options=1" if action_options else ""
        return (yield from self.call(Call("GET", _of_order(code) + query, repeats=True), OrderBody)).order

    def read_order(self, code: str) -> Flow[OrderReading]:
        """GET of an order, with its body as received and the unreadable places."""
        reading = yield from self.call_reading(Call("GET", _of_order(code), repeats=True), OrderBody)
        return OrderReading(reading.value.order, read_received(reading)["order"], reading.unread)

    def orders(self, state: str | None, updated_since: datetime | None, page: int, per: int) -> Flow[OrderPage]:
        """The list of orders."""
        reading = yield from self._orders(state, updated_since, page, per)
        codes = _unread_codes(reading, "code")
        return OrderPage(orders=reading.value.orders, meta=reading.value.meta, unread_codes=codes)

    def read_orders(
        self, state: str | None, updated_since: datetime | None, page: int, per: int
    ) -> Flow[OrderReadings]:
        """The list of orders, with the body of each order as received."""
        reading = yield from self._orders(state, updated_since, page, per)
        dropped = {entry.path for entry in reading.dropped}
        listed = enumerate(read_received(reading).get("orders") or [])
        entries = [entry for index, entry in listed if f"$.orders[{index}]" not in dropped]
        readings = [OrderReading(order, entry) for order, entry in zip(reading.value.orders, entries, strict=True)]
        return OrderReadings(readings, reading.value.meta, _unread_codes(reading, "code"))

    def _orders(
        self, state: str | None, updated_since: datetime | None, page: int, per: int
    ) -> Flow[Reading[OrderList]]:
        since = None if updated_since is None else updated_since.isoformat()
        path = _list("/orders", {"state": state, "updated_since": since, "page": page, "per": per})
        return (yield from self.call_reading(Call("GET", path, repeats=True), OrderList))

    def order_codes(self, state: str | None, page: int, per: int) -> Flow[list[str]]:
        """Return the codes of a page, even if the rest of the page is unreadable."""
        path = _list("/orders", {"state": state, "page": page, "per": per})
        return [entry.code for entry in (yield from self.call(Call("GET", path, repeats=True), _Codes)).orders]

    def accept(self, code: str, pickup_location: str, pickup_window: int | None, number_of_parcels: int) -> Flow[None]:
        """Accept. If an answer was lost and the retry is refused with `Order already accepted.`, the first call
        succeeded. A refusal of an express order counts as success if the marketplace itself has accepted the order."""
        request = AcceptRequest(
            pickup_location=pickup_location, pickup_window=pickup_window, number_of_parcels=number_of_parcels
        )
        call = Call(
            "POST", _of_order(code, "accept"), encode(request), repeats=True, done_says="Order already accepted."
        )
        try:
            yield from self.call(call, Success)
        except MarketplaceError as error:
            if _EXPRESS not in error.messages:
                raise
            order = yield from self.order(code, action_options=False)
            if order.state != OrderState.ACCEPTED:
                raise

    def reject(self, code: str, lines: Sequence[RejectedLine], reason: str) -> Flow[None]:
        """Reject, by lines or by a text. If an answer was lost and the retry is refused with `Order already rejected.`,
        the first call succeeded."""
        request = RejectRequest(line_items=list(lines)) if lines else RejectRequest(rejection_reason_other=reason)
        call = Call(
            "POST", _of_order(code, "reject"), encode(request), repeats=True, done_says="Order already rejected."
        )
        yield from self.call(call, Success)

    def reschedule_pickup(self, code: str, day: date) -> Flow[None]:
        """Move the pickup to another day of reschedule_options."""
        yield from self._act(code, "reschedule_pickup", RescheduleRequest(reschedule_date=day.isoformat()))

    def relocate_pickup(self, code: str, pickup_location: str) -> Flow[None]:
        """Move the pickup to another location of relocate_options."""
        yield from self._act(code, "relocate_pickup", RelocateRequest(pickup_location=pickup_location))

    def act(self, code: str, action: str) -> Flow[None]:
        """Send an action without a body."""
        yield from self._act(code, action, None)

    def tracking_details(self, code: str, details: Sequence[tuple[str, str]]) -> Flow[None]:
        """Send the courier (one of words.TRACKING_COURIERS) and the tracking code of each parcel."""
        parcels = [TrackingDetail(courier=courier, tracking_code=tracking_code) for courier, tracking_code in details]
        yield from self._act(code, "tracking_details", TrackingRequest(tracking_details=parcels))

    def upload(self, code: str, action: str, field: str, content: bytes, name: str) -> Flow[None]:
        """Upload a file. It is safe to repeat, because a later upload replaces the file."""
        body, content_type = _multipart(field, content, name)
        call = Call("POST", _of_order(code, action), body, {"Content-Type": content_type}, repeats=True)
        yield from self.call(call, Success)

    def return_request(self, return_code: str) -> Flow[Return]:
        """GET of a return."""
        return (yield from self.read_return(return_code)).returned

    def read_return(self, return_code: str) -> Flow[ReturnReading]:
        """GET of a return, with its body as received. Raises UnreadableAnswerError if a line is unreadable."""
        call = Call("GET", f"/returns/{_part(return_code)}", repeats=True)
        reading = yield from self.call_reading(call, ReturnBody)
        lines = [place for place in reading.unread if place.startswith("$.return.return_line_items")]
        if lines:
            # A review without one of its lines could approve a line that no policy has checked.
            raise UnreadableAnswerError(f"the answer is not what the contract says: {', '.join(lines)} cannot be read")
        return ReturnReading(reading.value.returned, read_received(reading)["return"])

    def return_requests(self, state: str | None, order_code: str | None, page: int, per: int) -> Flow[ReturnPage]:
        """The list of returns."""
        path = _list("/returns", {"state": state, "order_code": order_code, "page": page, "per": per})
        reading = yield from self.call_reading(Call("GET", path, repeats=True), ReturnList)
        codes = _unread_codes(reading, "return_code")
        return ReturnPage(returns=reading.value.returns, meta=reading.value.meta, unread_codes=codes)

    def review(self, return_code: str, option: str, comment: str | None, proposed_part_url: str | None) -> Flow[None]:
        """Submit the decision on a return request."""
        request = ReviewRequest(option=option, comment=comment, proposed_part_url=proposed_part_url)
        call = Call("POST", f"/returns/{_part(return_code)}/review", encode(request))
        yield from self.call(call, Success)

    def warehouse_products(self, page: int, per: int) -> Flow[ProductList]:
        """The list of products in the marketplace's warehouse."""
        return (yield from self.call(_page("/fbs/products", page, per), ProductList))

    def purchase_orders(self, page: int, per: int) -> Flow[PurchaseOrderList]:
        """The list of purchase orders."""
        return (yield from self.call(_page("/fbs/purchase_orders", page, per), PurchaseOrderList))

    def create_purchase_order(self, request: PurchaseOrderRequest, idempotency_key: str | None) -> Flow[str]:
        """Create a purchase order and return its code."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        call = Call("POST", "/fbs/purchase_orders", encode(request), headers)
        return (yield from self.call(call, CreatedPurchaseOrder)).code

    def purchase_order_lines(self, code: str, page: int, per: int) -> Flow[PurchaseOrderLineList]:
        """The lines of a purchase order."""
        path = f"/fbs/purchase_orders/{_part(code)}/line_items"
        return (yield from self.call(_page(path, page, per), PurchaseOrderLineList))

    def suppliers(self, page: int, per: int) -> Flow[SupplierList]:
        """The list of suppliers."""
        return (yield from self.call(_page("/fbs/suppliers", page, per), SupplierList))

    def create_supplier(self, request: SupplierRequest) -> Flow[None]:
        """Create a supplier."""
        yield from self.call(Call("POST", "/fbs/suppliers", encode(request)), Success)

    def change_supplier(self, supplier_id: str, request: SupplierRequest) -> Flow[None]:
        """Change the named members of a supplier. The call is idempotent."""
        call = Call("PATCH", f"/fbs/suppliers/{_part(supplier_id)}", encode(request), repeats=True)
        yield from self.call(call, Success)

    def download(self, url: str) -> Flow[bytes]:
        """Download the file behind a link."""
        answer = yield from self.plain(url)
        if len(answer.body) > _LARGEST_DOWNLOAD_BYTES:
            raise UnreachableError("the file is too large")
        return answer.body

    def _act(self, code: str, action: str, request: object) -> Flow[None]:
        body = b"" if request is None else encode(request)
        yield from self.call(Call("POST", _of_order(code, action), body), Success)


def _unread_codes(reading: Reading[Any], name: str) -> list[str]:
    """Return the codes of the entries that could not be read."""
    entries = [entry.content for entry in reading.dropped if isinstance(entry.content, dict)]
    return [str(entry[name]) for entry in entries if isinstance(entry.get(name), str | int)]


def following_page(meta: ListMeta) -> int | None:
    """Return the number of the next page, or None on the last page."""
    at = meta.pagination
    return at.page + 1 if at.page < at.total_pages else None


def _part(name: str) -> str:
    """Encode a code as one segment of a path."""
    return quote(name, safe="")


def _of_order(code: str, action: str = "") -> str:
    return f"/orders/{_part(code)}" + (f"/{action}" if action else "")


def _list(path: str, asked: Mapping[str, object]) -> str:
    return f"{path}?{urlencode({name: value for name, value in asked.items() if value is not None})}"


def _page(path: str, page: int, per: int) -> Call:
    return Call("GET", _list(path, {"page": page, "per": per}), repeats=True)


def _multipart(field: str, content: bytes, name: str) -> tuple[bytes, str]:
    """Encode one file as a form (RFC 7578). Return the body and its content type."""
    # niquests loads its own copy of this library. This one costs 30 ms, which only an upload should pay.
    from urllib3_future.filepost import encode_multipart_formdata  # noqa: PLC0415  (30 ms)

    return encode_multipart_formdata({field: (name, content, "application/octet-stream")})
