"""The calls of a shop, typed: structs of the contract in and out (contract, sections 3, 6, 7 and 9)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode, encode
from kalathi.contract.errors import ErrorEntry, ErrorEnvelope
from kalathi.contract.fbs import (
    CreatedPurchaseOrder,
    Product,
    ProductList,
    PurchaseOrderLineList,
    PurchaseOrderList,
    Supplier,
    SupplierList,
)
from kalathi.contract.orders import Order, OrderBody, Success
from kalathi.contract.requests import (
    AcceptRequest,
    PurchaseOrderRequest,
    RejectedLine,
    RejectRequest,
    ReviewRequest,
    SupplierRequest,
)
from kalathi.contract.returns import Return, ReturnBody, ReturnList
from kalathi.merchant.client.failures import MarketplaceError, UnreachableError
from kalathi.merchant.client.transport import HttpAnswer, NetworkTransport, Transport

T = TypeVar("T")


# Answers that say to come back: a wrong token or vendor word until somebody mends the setup, a lost race, a rate limit.
_COME_BACK: Final = frozenset({401, 403, 406, 409, 429})
_LARGEST_DOWNLOAD_BYTES: Final = 20_000_000


class AsyncClient:
    """One shop's access to a marketplace.

    `base_url` is the marketplace's address without the contract's own path, such as `https://api.example`; `vendor`
    is the word in the Accept header. Every call raises MarketplaceError when it is refused and UnreachableError when
    it may be tried again.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        vendor: str = "skroutz",
        timeout_seconds: float = 30.0,
        transport: Transport | None = None,
    ) -> None:
        self._base = base_url.rstrip("/") + "/merchants/ecommerce"
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Accept": f"application/vnd.{vendor}+json; version=3.0",
            "Content-Type": "application/json; charset=utf-8",
        }
        self._transport = transport or NetworkTransport(timeout_seconds)

    def __repr__(self) -> str:
        return f"AsyncClient({self._base!r})"  # Without the token.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    async def order(self, code: str) -> Order:
        """The order as it is now."""
        return (await self._call("GET", _of_order(code), None, OrderBody)).order

    async def accept(self, code: str, pickup_location: str, pickup_window: int, number_of_parcels: int = 1) -> None:
        """Takes the order; the values come from its accept_options."""
        request = AcceptRequest(
            pickup_location=pickup_location, pickup_window=pickup_window, number_of_parcels=number_of_parcels
        )
        await self._call("POST", _of_order(code, "accept"), encode(request), Success)

    async def reject_lines(self, code: str, lines: Sequence[RejectedLine]) -> None:
        """Rejects by line items; what is left may come back as a new order."""
        await self._call("POST", _of_order(code, "reject"), encode(RejectRequest(line_items=list(lines))), Success)

    async def reject(self, code: str, reason: str) -> None:
        """Rejects the whole order with a free text."""
        await self._call(
            "POST", _of_order(code, "reject"), encode(RejectRequest(rejection_reason_other=reason)), Success
        )

    async def return_request(self, return_code: str) -> Return:
        """The return as it is now."""
        return (await self._call("GET", f"/returns/{_part(return_code)}", None, ReturnBody)).returned

    async def return_requests(
        self, *, state: str | None = None, order_code: str | None = None, page: int = 1, per: int = 100
    ) -> ReturnList:
        """A page of returns, newest first. (A call of this project's marketplace, which the contract marks as ours.)"""
        asked = {"state": state, "order_code": order_code, "page": page, "per": per}
        return await self._call("GET", _list("/returns", asked), None, ReturnList)

    async def review(
        self, return_code: str, option: str, comment: str | None = None, proposed_part_url: str | None = None
    ) -> None:
        """Decides on a return request, once; the option is one of its review_options."""
        request = ReviewRequest(option=option, comment=comment, proposed_part_url=proposed_part_url)
        await self._call("POST", f"/returns/{_part(return_code)}/review", encode(request), Success)

    async def products(self, page: int = 1, per: int = 100) -> ProductList:
        """A page of the shop's products, and how many pieces of each lie in the marketplace's warehouse."""
        return await self._call("GET", _list("/fbs/products", {"page": page, "per": per}), None, ProductList)

    async def all_products(self) -> AsyncIterator[Product]:
        """Every product, page after page."""
        page, pages = 1, 1
        while page <= pages:
            listed = await self.products(page)
            for product in listed.products:
                yield product
            page, pages = page + 1, listed.meta.pagination.total_pages

    async def purchase_orders(self, page: int = 1, per: int = 100) -> PurchaseOrderList:
        """A page of what was announced to the warehouse."""
        asked = {"page": page, "per": per}
        return await self._call("GET", _list("/fbs/purchase_orders", asked), None, PurchaseOrderList)

    async def create_purchase_order(self, request: PurchaseOrderRequest) -> str:
        """Announces goods to the warehouse. Gives the purchase order's code."""
        return (await self._call("POST", "/fbs/purchase_orders", encode(request), CreatedPurchaseOrder)).code

    async def purchase_order_lines(self, code: str, page: int = 1, per: int = 100) -> PurchaseOrderLineList:
        """A page of a purchase order's lines: what was announced, and what has come."""
        path = _list(f"/fbs/purchase_orders/{_part(code)}/line_items", {"page": page, "per": per})
        return await self._call("GET", path, None, PurchaseOrderLineList)

    async def suppliers(self, page: int = 1, per: int = 100) -> SupplierList:
        """A page of the shop's suppliers."""
        return await self._call("GET", _list("/fbs/suppliers", {"page": page, "per": per}), None, SupplierList)

    async def all_suppliers(self) -> AsyncIterator[Supplier]:
        """Every supplier, page after page."""
        page, pages = 1, 1
        while page <= pages:
            listed = await self.suppliers(page)
            for supplier in listed.suppliers:
                yield supplier
            page, pages = page + 1, listed.meta.pagination.total_pages

    async def create_supplier(self, request: SupplierRequest) -> None:
        """A new supplier; its `code` is unique in the shop."""
        await self._call("POST", "/fbs/suppliers", encode(request), Success)

    async def change_supplier(self, supplier_id: str, request: SupplierRequest) -> None:
        """Changes what the request names of a supplier."""
        await self._call("PATCH", f"/fbs/suppliers/{_part(supplier_id)}", encode(request), Success)

    async def download(self, url: str) -> bytes:
        """A voucher or a file behind its link. Links need no token, and the token is not sent to them."""
        answer = await self._transport.send("GET", url, {}, None)
        if answer.status != 200:
            _raise(answer)
        if len(answer.body) > _LARGEST_DOWNLOAD_BYTES:
            raise UnreachableError("the file is too large")
        return answer.body

    async def _call(self, method: str, path: str, body: bytes | None, wanted: type[T]) -> T:
        answer = await self._transport.send(method, self._base + path, self._headers, body)
        if answer.status != 200:
            _raise(answer)
        try:
            return decode(answer.body, wanted)
        except (UnreadableBodyError, UnexpectedShapeError) as error:
            raise UnreachableError(f"the answer could not be read: {error}") from error


def _part(name: str) -> str:
    """A code as a part of a path."""
    return quote(name, safe="")


def _of_order(code: str, action: str = "") -> str:
    return f"/orders/{_part(code)}" + (f"/{action}" if action else "")


def _list(path: str, asked: Mapping[str, object]) -> str:
    return f"{path}?{urlencode({name: value for name, value in asked.items() if value is not None})}"


def _raise(answer: HttpAnswer) -> None:
    try:
        entries = decode(answer.body, ErrorEnvelope).errors
    except (UnreadableBodyError, UnexpectedShapeError):
        entries = [ErrorEntry(code="unknown", messages=[answer.body[:200].decode("utf-8", "replace")])]
    error = MarketplaceError(answer.status, entries)
    foreign = error.has_code("purchase_order_error")  # Its 401 is about the purchase order and not about the token.
    if (answer.status in _COME_BACK and not foreign) or answer.status >= 500:
        raise UnreachableError(str(error))
    raise error
