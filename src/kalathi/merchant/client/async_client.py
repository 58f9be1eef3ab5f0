"""The shop's client with an event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
from kalathi.merchant.client.async_products import AsyncProducts
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
from kalathi.merchant.client.transport import AsyncTransport

T = TypeVar("T")


class AsyncClient:
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
        transport: AsyncTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._flows = Flows(base_url, token, vendor=vendor, retries=retries)
        if transport is None:
            from kalathi.merchant.client.network import AsyncNetwork  # noqa: PLC0415  (50 ms)

            transport = AsyncNetwork(timeout_seconds, uses_proxy=uses_proxy)
        self._transport = transport
        self._sleep = sleep
        flows = ProductFlows(base_url, products_token, vendor=vendor, retries=retries, api_path=PRODUCTS_PATH)
        self.products = AsyncProducts(flows, self._run, sleep)

    def __repr__(self) -> str:
        return f"AsyncClient({show_address(self._flows.base)!r})"  # Without the token.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def marketplace_time(self) -> float | None:
        """The marketplace's time according to its newest answer, in seconds since 1970; None if unknown."""
        return self._flows.marketplace_time

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def order(self, code: str, *, action_options: bool = False) -> Order:
        """Return the current order. With `action_options`, include the options to move its pickup."""
        return await self._run(self._flows.order(code, action_options=action_options))

    async def read_order(self, code: str) -> OrderReading:
        """Return the current order, its body as received, and the unreadable places of the answer
        (docs/contract.md#section-11)."""
        return await self._run(self._flows.read_order(code))

    async def orders(
        self, *, state: str | None = None, updated_since: datetime | None = None, page: int = 1, per: int = 100
    ) -> OrderPage:
        """A page of the shop's orders, newest change first. (Undocumented; one client uses it.)"""
        return await self._run(self._flows.orders(state, updated_since, page, per))

    async def read_orders(
        self, *, state: str | None = None, updated_since: datetime | None = None, page: int = 1, per: int = 100
    ) -> OrderReadings:
        """Return the page of `orders`, with the body of each order as received (docs/contract.md#section-11)."""
        return await self._run(self._flows.read_orders(state, updated_since, page, per))

    async def order_codes(self, *, state: str | None = None, page: int = 1, per: int = 100) -> list[str]:
        """Return only the codes of a page, for a list with unreadable orders or without pagination."""
        return await self._run(self._flows.order_codes(state, page, per))

    async def all_orders(
        self, *, state: str | None = None, updated_since: datetime | None = None
    ) -> AsyncIterator[Order]:
        """Every order, page after page."""
        page: int | None = 1
        while page is not None:
            listed = await self.orders(state=state, updated_since=updated_since, page=page)
            for order in listed.orders:
                yield order
            page = following_page(listed.meta)

    async def accept(
        self, code: str, pickup_location: str, pickup_window: int | None = None, number_of_parcels: int = 1
    ) -> None:
        """Accept the order with values from its accept_options. A store pickup has no window."""
        await self._run(self._flows.accept(code, pickup_location, pickup_window, number_of_parcels))

    async def reject_lines(self, code: str, lines: Sequence[RejectedLine]) -> None:
        """Reject by line items; the available pieces may come back as a new order."""
        await self._run(self._flows.reject(code, lines, ""))

    async def reject(self, code: str, reason: str) -> None:
        """Reject the whole order with a free text."""
        await self._run(self._flows.reject(code, (), reason))

    async def reschedule_pickup(self, code: str, day: date) -> None:
        """Move the pickup to another day of reschedule_options."""
        await self._run(self._flows.reschedule_pickup(code, day))

    async def relocate_pickup(self, code: str, pickup_location: str) -> None:
        """Move the pickup to another location of relocate_options."""
        await self._run(self._flows.relocate_pickup(code, pickup_location))

    async def set_as_ready(self, code: str) -> None:
        """Mark the parcel as packed and ready for the courier."""
        await self._run(self._flows.act(code, "set_as_ready"))

    async def set_as_not_ready(self, code: str) -> None:
        """Undo `set_as_ready`, if the courier has not picked the parcel up yet."""
        await self._run(self._flows.act(code, "set_as_not_ready"))

    async def request_voucher(self, code: str) -> None:
        """Request the voucher of an accepted preorder before its day."""
        await self._run(self._flows.act(code, "request_voucher"))

    async def tracking_details(self, code: str, details: Sequence[tuple[str, str]]) -> None:
        """Send the tracking details of an order that the shop sends itself: for each parcel, the courier (one of
        words.TRACKING_COURIERS) and the tracking code."""
        await self._run(self._flows.tracking_details(code, details))

    async def upload_invoice(self, code: str, content: bytes, name: str = "invoice.pdf") -> None:
        """Upload the invoice or receipt: pdf, png or jpg, at most 7 MB. A later upload replaces it."""
        await self._run(self._flows.upload(code, "invoices", "invoice_file", content, name))

    async def upload_credit_invoice(self, code: str, content: bytes, name: str = "credit_invoice.pdf") -> None:
        """Upload the credit invoice: same formats and limit as the invoice. A later upload replaces it."""
        await self._run(self._flows.upload(code, "credit_invoices", "credit_invoice_file", content, name))

    async def trigger_webhook(self, code: str, kind: str) -> None:
        """Make the marketplace send a webhook of a demo order. `kind` is `creation`, `voucher_update`, `extension` or
        `cancellation`."""
        await self._run(self._flows.act(code, f"trigger_webhook_request/{kind}"))

    async def return_request(self, return_code: str) -> Return:
        """Return the current state of the return."""
        return await self._run(self._flows.return_request(return_code))

    async def read_return(self, return_code: str) -> ReturnReading:
        """Return the current state of the return, and its body as received (docs/contract.md#section-11)."""
        return await self._run(self._flows.read_return(return_code))

    async def return_requests(
        self, *, state: str | None = None, order_code: str | None = None, page: int = 1, per: int = 100
    ) -> ReturnPage:
        """A page of the shop's returns, newest first. (Undocumented; this project's marketplace has it.)"""
        return await self._run(self._flows.return_requests(state, order_code, page, per))

    async def all_return_requests(
        self, *, state: str | None = None, order_code: str | None = None
    ) -> AsyncIterator[Return]:
        """Every return, page after page."""
        page: int | None = 1
        while page is not None:
            listed = await self.return_requests(state=state, order_code=order_code, page=page)
            for returned in listed.returns:
                yield returned
            page = following_page(listed.meta)

    async def review(
        self, return_code: str, option: str, comment: str | None = None, proposed_part_url: str | None = None
    ) -> None:
        """Submit the final decision on a return request. `option` is one of its review_options."""
        await self._run(self._flows.review(return_code, option, comment, proposed_part_url))

    async def warehouse_products(self, page: int = 1, per: int = 100) -> ProductList:
        """A page of the shop's products with their quantities in the marketplace's warehouse."""
        return await self._run(self._flows.warehouse_products(page, per))

    async def all_warehouse_products(self) -> AsyncIterator[Product]:
        """Every product in the marketplace's warehouse, page after page."""
        page: int | None = 1
        while page is not None:
            listed = await self.warehouse_products(page)
            for product in listed.products:
                yield product
            page = following_page(listed.meta)

    async def purchase_orders(self, page: int = 1, per: int = 100) -> PurchaseOrderList:
        """A page of purchase orders to the warehouse."""
        return await self._run(self._flows.purchase_orders(page, per))

    async def all_purchase_orders(self) -> AsyncIterator[PurchaseOrder]:
        """Every purchase order, page after page."""
        page: int | None = 1
        while page is not None:
            listed = await self.purchase_orders(page)
            for purchase_order in listed.purchase_orders:
                yield purchase_order
            page = following_page(listed.meta)

    async def create_purchase_order(self, request: PurchaseOrderRequest, *, idempotency_key: str | None = None) -> str:
        """Create a purchase order, which announces goods to the warehouse, and return its code. A marketplace that
        supports idempotency keys, such as this project's, creates at most one purchase order for each key."""
        return await self._run(self._flows.create_purchase_order(request, idempotency_key))

    async def purchase_order_lines(self, code: str, page: int = 1, per: int = 100) -> PurchaseOrderLineList:
        """A page of a purchase order's lines: announced and received quantities."""
        return await self._run(self._flows.purchase_order_lines(code, page, per))

    async def suppliers(self, page: int = 1, per: int = 100) -> SupplierList:
        """A page of the shop's suppliers."""
        return await self._run(self._flows.suppliers(page, per))

    async def all_suppliers(self) -> AsyncIterator[Supplier]:
        """Every supplier, page after page."""
        page: int | None = 1
        while page is not None:
            listed = await self.suppliers(page)
            for supplier in listed.suppliers:
                yield supplier
            page = following_page(listed.meta)

    async def create_supplier(self, request: SupplierRequest) -> None:
        """Create a supplier. Its `code` must be unique in the shop."""
        await self._run(self._flows.create_supplier(request))

    async def change_supplier(self, supplier_id: str, request: SupplierRequest) -> None:
        """Change the named members of a supplier."""
        await self._run(self._flows.change_supplier(supplier_id, request))

    async def download(self, url: str) -> bytes:
        """Download a voucher or another file from its link. The token is not sent, because links need none."""
        return await self._run(self._flows.download(url))

    async def _run(self, flow: Flow[T]) -> T:
        came: Came = None
        while True:
            try:
                step = flow.send(came)
            except StopIteration as ended:
                result: T = ended.value
                return result
            if isinstance(step, Pause):
                await self._sleep(step.seconds)
                came = None
                continue
            try:
                came = await self._transport.send(step.method, step.url, step.headers, step.body)
            except (UnreachableError, RedirectedError) as error:
                came = error
