"""The shop's client without an event loop. `make client` makes it from async_client.py."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from types import TracebackType
from typing import Self, TypeVar

from kalathi.contract.fbs import (
    Product,
    ProductList,
    PurchaseOrder,
    PurchaseOrderLineList,
    PurchaseOrderList,
    Supplier,
    SupplierList,
)
from kalathi.contract.orders import Order
from kalathi.contract.requests import PurchaseOrderRequest, RejectedLine, SupplierRequest
from kalathi.contract.returns import Return
from kalathi.merchant.client.core import Came, Flow, Pause, Retries
from kalathi.merchant.client.failures import RedirectedError, UnreachableError
from kalathi.merchant.client.flows import (
    Flows,
    OrderPage,
    OrderReading,
    OrderReadings,
    ReturnPage,
    ReturnReading,
    following_page,
)
from kalathi.merchant.client.redirects import show_address
from kalathi.merchant.client.transport import Network, Transport

T = TypeVar("T")


class Client:
    """One shop's access to a marketplace.

    `base_url` is the marketplace's address without the contract's own path, such as `https://api.example`; `vendor` is
    the word in the Accept header. Every call raises MarketplaceError, or the class of its code, when it is refused,
    RedirectedError when the address redirects elsewhere, and UnreachableError when nothing is known of it. Reads,
    accept and reject are repeated as `retries` says. With `uses_proxy` calls to other machines go through the proxy of
    the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        vendor: str = "skroutz",
        timeout_seconds: float = 30.0,
        retries: Retries = Retries(),  # noqa: B008  (immutable)
        uses_proxy: bool = False,
        transport: Transport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._flows = Flows(base_url, token, vendor=vendor, retries=retries)
        self._transport = transport or Network(timeout_seconds, uses_proxy=uses_proxy)
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"Client({show_address(self._flows.base)!r})"  # Without the token.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def marketplace_time(self) -> float | None:
        """The marketplace's clock by its newest answer, in seconds since 1970; None while it is not known."""
        return self._flows.marketplace_time

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def order(self, code: str, *, action_options: bool = False) -> Order:
        """The order as it is now; with `action_options`, also where and when its pickup can be moved to."""
        return self._run(self._flows.order(code, action_options=action_options))

    def read_order(self, code: str) -> OrderReading:
        """The order as it is now, as it was received, and the places of the answer that could not be read
        (docs/contract.md#section-11)."""
        return self._run(self._flows.read_order(code))

    def orders(
        self, *, state: str | None = None, updated_since: datetime | None = None, page: int = 1, per: int = 100
    ) -> OrderPage:
        """A page of the shop's orders, newest change first. (Undocumented; one client uses it.)"""
        return self._run(self._flows.orders(state, updated_since, page, per))

    def read_orders(
        self, *, state: str | None = None, updated_since: datetime | None = None, page: int = 1, per: int = 100
    ) -> OrderReadings:
        """The same page with each order as it was received (docs/contract.md#section-11)."""
        return self._run(self._flows.read_orders(state, updated_since, page, per))

    def order_codes(self, *, state: str | None = None, page: int = 1, per: int = 100) -> list[str]:
        """The codes of a page and nothing else: for a list with unreadable orders, or without its end."""
        return self._run(self._flows.order_codes(state, page, per))

    def all_orders(self, *, state: str | None = None, updated_since: datetime | None = None) -> Iterator[Order]:
        """Every order, page after page."""
        page: int | None = 1
        while page is not None:
            listed = self.orders(state=state, updated_since=updated_since, page=page)
            yield from listed.orders
            page = following_page(listed.meta)

    def accept(
        self, code: str, pickup_location: str, pickup_window: int | None = None, number_of_parcels: int = 1
    ) -> None:
        """Takes the order; the values come from its accept_options. A store pickup has no window."""
        self._run(self._flows.accept(code, pickup_location, pickup_window, number_of_parcels))

    def reject_lines(self, code: str, lines: Sequence[RejectedLine]) -> None:
        """Reject by line items; the available pieces may come back as a new order."""
        self._run(self._flows.reject(code, lines, ""))

    def reject(self, code: str, reason: str) -> None:
        """Rejects the whole order with a free text."""
        self._run(self._flows.reject(code, (), reason))

    def reschedule_pickup(self, code: str, day: date) -> None:
        """Moves the pickup to another day of reschedule_options."""
        self._run(self._flows.reschedule_pickup(code, day))

    def relocate_pickup(self, code: str, pickup_location: str) -> None:
        """Moves the pickup to another location of relocate_options."""
        self._run(self._flows.relocate_pickup(code, pickup_location))

    def set_as_ready(self, code: str) -> None:
        """The parcel is packed."""
        self._run(self._flows.act(code, "set_as_ready"))

    def set_as_not_ready(self, code: str) -> None:
        """Undoes that, while the courier has not picked it up."""
        self._run(self._flows.act(code, "set_as_not_ready"))

    def request_voucher(self, code: str) -> None:
        """Asks for the voucher of an accepted preorder before its day."""
        self._run(self._flows.act(code, "request_voucher"))

    def tracking_details(self, code: str, details: Sequence[tuple[str, str]]) -> None:
        """Send the tracking details of an order that the shop sends itself: courier's word and tracking code of each
        parcel."""
        self._run(self._flows.tracking_details(code, details))

    def upload_invoice(self, code: str, content: bytes, name: str = "invoice.pdf") -> None:
        """The fiscal document: pdf, png or jpg, at most 7 MB. A later one takes its place."""
        self._run(self._flows.upload(code, "invoices", "invoice_file", content, name))

    def upload_credit_invoice(self, code: str, content: bytes, name: str = "credit_invoice.pdf") -> None:
        """The credit invoice, in the same way."""
        self._run(self._flows.upload(code, "credit_invoices", "credit_invoice_file", content, name))

    def trigger_webhook(self, code: str, kind: str) -> None:
        """Has the webhook of a demo order sent: `creation`, `voucher_update`, `extension` or `cancellation`."""
        self._run(self._flows.act(code, f"trigger_webhook_request/{kind}"))

    def return_request(self, return_code: str) -> Return:
        """The return as it is now."""
        return self._run(self._flows.return_request(return_code))

    def read_return(self, return_code: str) -> ReturnReading:
        """The return as it is now, and as it was received (docs/contract.md#section-11)."""
        return self._run(self._flows.read_return(return_code))

    def return_requests(
        self, *, state: str | None = None, order_code: str | None = None, page: int = 1, per: int = 100
    ) -> ReturnPage:
        """A page of the shop's returns, newest first. (Undocumented; this project's marketplace has it.)"""
        return self._run(self._flows.return_requests(state, order_code, page, per))

    def all_return_requests(self, *, state: str | None = None, order_code: str | None = None) -> Iterator[Return]:
        """Every return, page after page."""
        page: int | None = 1
        while page is not None:
            listed = self.return_requests(state=state, order_code=order_code, page=page)
            yield from listed.returns
            page = following_page(listed.meta)

    def review(
        self, return_code: str, option: str, comment: str | None = None, proposed_part_url: str | None = None
    ) -> None:
        """Decides on a return request, once; the option is one of its review_options."""
        self._run(self._flows.review(return_code, option, comment, proposed_part_url))

    def products(self, page: int = 1, per: int = 100) -> ProductList:
        """A page of the shop's products, and how many pieces of each lie in the marketplace's warehouse."""
        return self._run(self._flows.products(page, per))

    def all_products(self) -> Iterator[Product]:
        """Every product, page after page."""
        page: int | None = 1
        while page is not None:
            listed = self.products(page)
            yield from listed.products
            page = following_page(listed.meta)

    def purchase_orders(self, page: int = 1, per: int = 100) -> PurchaseOrderList:
        """A page of purchase orders to the warehouse."""
        return self._run(self._flows.purchase_orders(page, per))

    def all_purchase_orders(self) -> Iterator[PurchaseOrder]:
        """Every purchase order, page after page."""
        page: int | None = 1
        while page is not None:
            listed = self.purchase_orders(page)
            yield from listed.purchase_orders
            page = following_page(listed.meta)

    def create_purchase_order(self, request: PurchaseOrderRequest, *, idempotency_key: str | None = None) -> str:
        """Announces goods to the warehouse. Gives the purchase order's code. Under one key a marketplace that knows
        keys, as this project's does, makes it once."""
        return self._run(self._flows.create_purchase_order(request, idempotency_key))

    def purchase_order_lines(self, code: str, page: int = 1, per: int = 100) -> PurchaseOrderLineList:
        """A page of a purchase order's lines: announced and received quantities."""
        return self._run(self._flows.purchase_order_lines(code, page, per))

    def suppliers(self, page: int = 1, per: int = 100) -> SupplierList:
        """A page of the shop's suppliers."""
        return self._run(self._flows.suppliers(page, per))

    def all_suppliers(self) -> Iterator[Supplier]:
        """Every supplier, page after page."""
        page: int | None = 1
        while page is not None:
            listed = self.suppliers(page)
            yield from listed.suppliers
            page = following_page(listed.meta)

    def create_supplier(self, request: SupplierRequest) -> None:
        """A new supplier; its `code` is unique in the shop."""
        self._run(self._flows.create_supplier(request))

    def change_supplier(self, supplier_id: str, request: SupplierRequest) -> None:
        """Change the named members of a supplier."""
        self._run(self._flows.change_supplier(supplier_id, request))

    def download(self, url: str) -> bytes:
        """A voucher or a file behind its link. Links need no token, and the token is not sent to them."""
        return self._run(self._flows.download(url))

    def _run(self, flow: Flow[T]) -> T:
        came: Came = None
        while True:
            try:
                step = flow.send(came)
            except StopIteration as ended:
                result: T = ended.value
                return result
            if isinstance(step, Pause):
                self._sleep(step.seconds)
                came = None
                continue
            try:
                came = self._transport.send(step.method, step.url, step.headers, step.body)
            except (UnreachableError, RedirectedError) as error:
                came = error
