"""Live sources: an address, a function, and the marketplace's own warehouse. They return the current stock, and a burst
of orders reads them only once."""

import asyncio
import inspect
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from kalathi.merchant.client import AsyncClient
from kalathi.merchant.client.transport import AsyncTransport
from kalathi.merchant.stock.quantities import DecimalSign
from kalathi.merchant.stock.shelf import Shelf, ShelfBuilder, StockError, StockSetupError

# A reading is reused for this time.
_FRESH_SECONDS: Final = 5.0
_TIMEOUT_SECONDS: Final = 30.0


class AskedStock:
    """A source with readings that are reused for five seconds. Subclasses implement `_fetch`."""

    sends_itself = True
    poll_seconds = 30.0

    def __init__(self, *, lags: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """`lags`: the source still counts dispatched pieces for some time (`--stock-lags`). `clock` returns seconds."""
        self.lags = lags
        self._clock = clock
        self._fresh_until: float | None = None
        self._asking: asyncio.Future[Shelf] | None = None
        self._shelf = Shelf()

    async def read(self) -> Shelf:
        """Return the shelf. Fetch it if the last reading is older than five seconds. Raises StockError."""
        if self._fresh_until is not None and self._clock() < self._fresh_until:
            return self._shelf
        # One fetch serves all waiting decisions. If it hangs, all of them give up, and no second fetch is started.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._answer())
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.shield(self._asking)
        except TimeoutError:
            raise StockError(f"the source of the stock has not answered within {_TIMEOUT_SECONDS:g} s") from None

    async def refresh(self) -> Shelf:
        """Return the result of a fetch that starts after this call. Raises StockError."""
        if self._asking is not None and not self._asking.done():
            self._fresh_until = None
            await self.read()  # The running fetch started before this call, so wait for it and fetch again.
        self._fresh_until = None
        return await self.read()

    async def _answer(self) -> Shelf:
        asked_at = self._clock()
        shelf = await self._fetch()
        # Keep the object if the content is the same, so that callers can compare by identity.
        if shelf != self._shelf:
            self._shelf = shelf
        self._fresh_until = asked_at + _FRESH_SECONDS
        return self._shelf

    async def _fetch(self) -> Shelf:
        raise NotImplementedError


class HttpStock(AskedStock):
    """A URL that returns `{"shop_uid": quantity, ...}` or `[{"shop_uid", "quantity", "price"?, "product_uid"?}, ...]`.
    `product_uid` is the product of a variation."""

    def __init__(
        self,
        transport: AsyncTransport,
        url: str,
        *,
        decimal_sign: DecimalSign | None = None,
        lags: bool = False,
        clock: Callable[[], float] = time.monotonic,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(lags=lags, clock=clock)
        self._transport = transport
        self._url = url
        self._decimal_sign = decimal_sign
        self._headers = {"Accept": "application/json", **(headers or {})}

    async def _fetch(self) -> Shelf:
        """GET the stock. Raises StockError, UnreachableError."""
        answer = await self._transport.send("GET", self._url, self._headers, None)
        where = "the address of the stock"
        if answer.status != 200:
            raise StockError(f"{where} has answered {answer.status}")
        return await asyncio.to_thread(shelf_of_json, answer.body, where, self._decimal_sign)


class FunctionStock(AskedStock):
    """A Python function that returns the same content as an address. A coroutine runs on the event loop, a plain
    function in a thread."""

    def __init__(
        self,
        function: Callable[[], Any | Awaitable[Any]],
        *,
        decimal_sign: DecimalSign | None = None,
        lags: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(lags=lags, clock=clock)
        self._function = function
        self._decimal_sign = decimal_sign

    async def _fetch(self) -> Shelf:
        try:
            if inspect.iscoroutinefunction(self._function):
                content = await self._function()
            else:
                content = await asyncio.to_thread(self._function)
        except Exception as error:
            raise StockError(f"the function of the stock: {type(error).__name__}: {error}") from error
        return shelf_of_content(content, "the function of the stock", self._decimal_sign)


# Members of an error answer with status 200. No product has such a uid.
_ERROR_MEMBERS: Final = frozenset(
    {"error", "errors", "message", "status", "code", "detail", "success", "ok", "exception"}
)
# Members beside a list of products, such as those of a page.
_WRAPPING_MEMBERS: Final = frozenset(
    {"data", "items", "products", "result", "results", "stock", "total", "page", "pages", "count", "meta", "links"}
)


class WarehouseStock(AskedStock):
    """The stock in the marketplace's warehouse (docs/contract.md#section-9), for a shop without its own shelf. Orders
    that the warehouse can fulfil completely never reach the shop; from the others, missing lines are rejected."""

    sends_itself = False

    def __init__(self, client: AsyncClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._client = client

    async def _fetch(self) -> Shelf:
        """Raises MarketplaceError, UnreachableError."""
        shelf = Shelf()
        async for product in self._client.all_warehouse_products():
            if product.quantity is None:
                shelf.unreadable[product.shop_uid] = "the marketplace names no quantity that can be read"
            else:
                shelf.pieces[product.shop_uid] = product.quantity
        return shelf


class _Members(list[tuple[str, Any]]):
    """A JSON object as a list of members, so that repeated names are kept."""


def shelf_of_json(body: bytes, where: str, decimal_sign: DecimalSign | None = None) -> Shelf:
    """Return the shelf of a JSON text in UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Raises StockError.
    """
    try:
        content = json.loads(body, object_pairs_hook=_Members, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise StockError(f"{where}: the answer is not JSON: {error}") from None
    return shelf_of_content(content, where, decimal_sign)


def shelf_of_content(content: Any, where: str, decimal_sign: DecimalSign | None = None) -> Shelf:
    """Return the shelf of an object of quantities, or of a list of objects. Raises StockError."""
    builder = ShelfBuilder(where, decimal_sign, "entry" if isinstance(content, _Members | Mapping) else "row")
    if isinstance(content, _Members | Mapping):
        members = list(content if isinstance(content, _Members) else content.items())
        _check_members(members, where)
        for number, (shop_uid, quantity) in enumerate(members, 1):
            builder.add(str(shop_uid).strip(), quantity, None, number)
        shelf = builder.shelf()
        if shelf.unreadable and not shelf.pieces:
            raise StockError(f"{where}: its object names no quantity ({', '.join(list(shelf.unreadable)[:5])[:200]})")
        return shelf
    if isinstance(content, list | tuple) and all(isinstance(entry, _Members | Mapping) for entry in content):
        _add_objects(builder, content, where)
        return builder.shelf()
    raise StockSetupError(f"{where}: it gives neither an object of quantities nor a list of objects")


def _check_members(members: Sequence[tuple[Any, Any]], where: str) -> None:
    """Raise StockError for an object that reports an error or wraps a list: its members are no products."""
    nested = [str(name)[:40] for name, value in members if isinstance(value, list | tuple | Mapping)]
    has_list = any(isinstance(value, list | tuple) and not isinstance(value, _Members) for _, value in members)
    is_wrapped = has_list or any(str(name).strip().lower() in _WRAPPING_MEMBERS for name, _ in members)
    if nested and (is_wrapped or len(nested) == len(members)):
        raise StockSetupError(f"{where}: its object has members that are not quantities ({', '.join(nested[:5])})")
    for name, value in members:
        if str(name).strip().lower() in _ERROR_MEMBERS:
            raise StockError(f"{where}: it reports an error instead of stock ({str(name)[:40]}: {str(value)[:100]})")


def _add_objects(builder: ShelfBuilder, entries: Sequence[Any], where: str) -> None:
    rows = [dict(entry) for entry in entries]
    for name in ("shop_uid", "quantity"):
        if rows and not any(name in row for row in rows):
            members = ", ".join(str(member)[:40] for member in list(rows[0])[:10])
            raise StockSetupError(f"{where}: its objects name no {name}; they name {members or 'nothing'}")
    for number, (entry, row) in enumerate(zip(entries, rows, strict=True), 1):
        shop_uid = uid_of_value(row.get("shop_uid"))
        product_uid = uid_of_value(row.get("product_uid"))
        if len(row) < len(entry):
            builder.add_unreadable(shop_uid, number, "a member of it comes twice", product_uid)
        else:
            builder.add(shop_uid, row.get("quantity"), row.get("price"), number, product_uid)


def uid_of_value(value: Any) -> str:
    """Return a uid as text without surrounding spaces, for example of a CHAR column. Empty if there is none."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    return str(value).strip()
