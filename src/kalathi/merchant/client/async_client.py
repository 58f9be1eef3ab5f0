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
from kalathi.merchant.client.transport import AsyncNetwork, AsyncTransport

T = TypeVar("T")


class AsyncClient:
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
        transport: AsyncTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._flows = Flows(base_url, token, vendor=vendor, retries=retries)
        self._transport = transport or AsyncNetwork(timeout_seconds, uses_proxy=uses_proxy)
        self._sleep = sleep

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
        """The marketplace's clock by its newest answer, in seconds since 1970; None while it is not known."""
        return self._flows.marketplace_time

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    async def order(self, code: str, *, action_options: bool = False) -> Order:
        """The order as it is now; with `action_options`, also where and when its pickup can be moved to."""
        return await self._run(self._flows.order(code, action_options=action_options))

    async def read_order(self, code: str) -> OrderReading:
        """The order as it is now, as it was received, and the places of the answer that could not be read
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
        """The same page with each order as it was received (docs/contract.md#section-11)."""
        return await self._run(self._flows.read_orders(state, updated_since, page, per))

    async def order_codes(self, *, state: str | None = None, page: int = 1, per: int = 100) -> list[str]:
        """The codes of a page and nothing else: for a list with unreadable orders, or without its end."""
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
        """Takes the order; the values come from its accept_options. A store pickup has no window."""
        await self._run(self._flows.accept(code, pickup_location, pickup_window, number_of_parcels))

    async def reject_lines(self, code: str, lines: Sequence[RejectedLine]) -> None:
        """Reject by line items; the available pieces may come back as a new order."""
        await self._run(self._flows.reject(code, lines, ""))

    async def reject(self, code: str, reason: str) -> None:
        """Rejects the whole order with a free text."""
        await self._run(self._flows.reject(code, (), reason))

    async def reschedule_pickup(self, code: str, day: date) -> None:
        """Moves the pickup to another day of reschedule_options."""
        await self._run(self._flows.reschedule_pickup(code, day))

    async def relocate_pickup(self, code: str, pickup_location: str) -> None:
        """Moves the pickup to another location of relocate_options."""
        await self._run(self._flows.relocate_pickup(code, pickup_location))

    async def set_as_ready(self, code: str) -> None:
        """The parcel is packed."""
        await self._run(self._flows.act(code, "set_as_ready"))

    async def set_as_not_ready(self, code: str) -> None:
        """Undoes that, while the courier has not picked it up."""
        await self._run(self._flows.act(code, "set_as_not_ready"))

    async def request_voucher(self, code: str) -> None:
        """Asks for the voucher of an accepted preorder before its day."""
        await self._run(self._flows.act(code, "request_voucher"))

    async def tracking_details(self, code: str, details: Sequence[tuple[str, str]]) -> None:
        """Send the tracking details of an order that the shop sends itself: courier's word and tracking code of each
        parcel."""
        await self._run(self._flows.tracking_details(code, details))

    async def upload_invoice(self, code: str, content: bytes, name: str = "invoice.pdf") -> None:
        """The fiscal document: pdf, png or jpg, at most 7 MB. A later one takes its place."""
        await self._run(self._flows.upload(code, "invoices", "invoice_file", content, name))

    async def upload_credit_invoice(self, code: str, content: bytes, name: str = "credit_invoice.pdf") -> None:
        """The credit invoice, in the same way."""
        await self._run(self._flows.upload(code, "credit_invoices", "credit_invoice_file", content, name))

    async def trigger_webhook(self, code: str, kind: str) -> None:
        """Has the webhook of a demo order sent: `creation`, `voucher_update`, `extension` or `cancellation`."""
        await self._run(self._flows.act(code, f"trigger_webhook_request/{kind}"))

    async def return_request(self, return_code: str) -> Return:
        """The return as it is now."""
        return await self._run(self._flows.return_request(return_code))

    async def read_return(self, return_code: str) -> ReturnReading:
        """The return as it is now, and as it was received (docs/contract.md#section-11)."""
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
        """Decides on a return request, once; the option is one of its review_options."""
        await self._run(self._flows.review(return_code, option, comment, proposed_part_url))

    async def products(self, page: int = 1, per: int = 100) -> ProductList:
        """A page of the shop's products, and how many pieces of each lie in the marketplace's warehouse."""
        return await self._run(self._flows.products(page, per))

    async def all_products(self) -> AsyncIterator[Product]:
        """Every product, page after page."""
        page: int | None = 1
        while page is not None:
            listed = await self.products(page)
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
        """Announces goods to the warehouse. Gives the purchase order's code. Under one key a marketplace that knows
        keys, as this project's does, makes it once."""
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
        """A new supplier; its `code` is unique in the shop."""
        await self._run(self._flows.create_supplier(request))

    async def change_supplier(self, supplier_id: str, request: SupplierRequest) -> None:
        """Change the named members of a supplier."""
        await self._run(self._flows.change_supplier(supplier_id, request))

    async def download(self, url: str) -> bytes:
        """A voucher or a file behind its link. Links need no token, and the token is not sent to them."""
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
