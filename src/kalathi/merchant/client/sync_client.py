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
from kalathi.contract.products import PRODUCTS_PATH
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
from kalathi.merchant.client.product_flows import ProductFlows
from kalathi.merchant.client.redirects import show_address
from kalathi.merchant.client.sync_products import Products
from kalathi.merchant.client.transport import Transport

T = TypeVar("T")


class Client:
    """One shop's access to a marketplace.

    `base_url` is the marketplace's address without the contract's own path, such as `https://api.example`. `vendor` is
    the vendor word in the Accept header. `products_token` is the shop's token of the Products API, for the calls of
    `products`. Every call raises MarketplaceError, or its subclass for the error code, if the marketplace refuses it,
    RedirectedError if the address redirects elsewhere, and UnreachableError if there is no readable answer, so that the
    outcome is unknown. `retries` sets how often reads, accept and reject are retried. With
    `uses_proxy`, calls to other machines use the proxy of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        products_token: str = "",
        vendor: str = "skroutz",
        timeout_seconds: float = 30.0,
        retries: Retries = Retries(),  # noqa: B008  (immutable)
        uses_proxy: bool = False,
        transport: Transport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._flows = Flows(base_url, token, vendor=vendor, retries=retries)
        if transport is None:
            from kalathi.merchant.client.network import Network  # noqa: PLC0415  (50 ms)

            transport = Network(timeout_seconds, uses_proxy=uses_proxy)
        self._transport = transport
        self._sleep = sleep
        flows = ProductFlows(base_url, products_token, vendor=vendor, retries=retries, api_path=PRODUCTS_PATH)
        self.products = Products(flows, self._run, sleep)

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
        """The marketplace's time according to its newest answer, in seconds since 1970; None if unknown."""
        return self._flows.marketplace_time

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def order(self, code: str, *, action_options: bool = False) -> Order:
        """Return the current order. With `action_options`, include the options to move its pickup."""
        return self._run(self._flows.order(code, action_options=action_options))

    def read_order(self, code: str) -> OrderReading:
        """Return the current order, its body as received, and the unreadable places of the answer
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
        """Return the page of `orders`, with the body of each order as received (docs/contract.md#section-11)."""
        return self._run(self._flows.read_orders(state, updated_since, page, per))

    def order_codes(self, *, state: str | None = None, page: int = 1, per: int = 100) -> list[str]:
        """Return only the codes of a page, for a list with unreadable orders or without pagination."""
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
        """Accept the order with values from its accept_options. A store pickup has no window."""
        self._run(self._flows.accept(code, pickup_location, pickup_window, number_of_parcels))

    def reject_lines(self, code: str, lines: Sequence[RejectedLine]) -> None:
        """Reject by line items; the available pieces may come back as a new order."""
        self._run(self._flows.reject(code, lines, ""))

    def reject(self, code: str, reason: str) -> None:
        """Reject the whole order with a free text."""
        self._run(self._flows.reject(code, (), reason))

    def reschedule_pickup(self, code: str, day: date) -> None:
        """Move the pickup to another day of reschedule_options."""
        self._run(self._flows.reschedule_pickup(code, day))

    def relocate_pickup(self, code: str, pickup_location: str) -> None:
        """Move the pickup to another location of relocate_options."""
        self._run(self._flows.relocate_pickup(code, pickup_location))

    def set_as_ready(self, code: str) -> None:
        """Mark the parcel as packed and ready for the courier."""
        self._run(self._flows.act(code, "set_as_ready"))

    def set_as_not_ready(self, code: str) -> None:
        """Undo `set_as_ready`, if the courier has not picked the parcel up yet."""
        self._run(self._flows.act(code, "set_as_not_ready"))

    def request_voucher(self, code: str) -> None:
        """Request the voucher of an accepted preorder before its day."""
        self._run(self._flows.act(code, "request_voucher"))

    def tracking_details(self, code: str, details: Sequence[tuple[str, str]]) -> None:
        """Send the tracking details of an order that the shop sends itself: for each parcel, the courier (one of
        words.TRACKING_COURIERS) and the tracking code."""
        self._run(self._flows.tracking_details(code, details))

    def upload_invoice(self, code: str, content: bytes, name: str = "invoice.pdf") -> None:
        """Upload the invoice or receipt: pdf, png or jpg, at most 7 MB. A later upload replaces it."""
        self._run(self._flows.upload(code, "invoices", "invoice_file", content, name))

    def upload_credit_invoice(self, code: str, content: bytes, name: str = "credit_invoice.pdf") -> None:
        """Upload the credit invoice: same formats and limit as the invoice. A later upload replaces it."""
        self._run(self._flows.upload(code, "credit_invoices", "credit_invoice_file", content, name))

    def trigger_webhook(self, code: str, kind: str) -> None:
        """Make the marketplace send a webhook of a demo order. `kind` is `creation`, `voucher_update`, `extension` or
        `cancellation`."""
        self._run(self._flows.act(code, f"trigger_webhook_request/{kind}"))

    def return_request(self, return_code: str) -> Return:
        """Return the current state of the return."""
        return self._run(self._flows.return_request(return_code))

    def read_return(self, return_code: str) -> ReturnReading:
        """Return the current state of the return, and its body as received (docs/contract.md#section-11)."""
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
        """Submit the final decision on a return request. `option` is one of its review_options."""
        self._run(self._flows.review(return_code, option, comment, proposed_part_url))

    def warehouse_products(self, page: int = 1, per: int = 100) -> ProductList:
        """A page of the shop's products with their quantities in the marketplace's warehouse."""
        return self._run(self._flows.warehouse_products(page, per))

    def all_warehouse_products(self) -> Iterator[Product]:
        """Every product in the marketplace's warehouse, page after page."""
        page: int | None = 1
        while page is not None:
            listed = self.warehouse_products(page)
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
        """Create a purchase order, which announces goods to the warehouse, and return its code. A marketplace that
        supports idempotency keys, such as this project's, creates at most one purchase order for each key."""
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
        """Create a supplier. Its `code` must be unique in the shop."""
        self._run(self._flows.create_supplier(request))

    def change_supplier(self, supplier_id: str, request: SupplierRequest) -> None:
        """Change the named members of a supplier."""
        self._run(self._flows.change_supplier(supplier_id, request))

    def download(self, url: str) -> bytes:
        """Download a voucher or another file from its link. The token is not sent, because links need none."""
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
