"""Where the number of free pieces comes from: a CSV file, a database, an address, a function, or the marketplace's own
warehouse.

Pieces of accepted orders still lie there until the courier takes them, so they are subtracted here. What has left with
the courier is subtracted until the source can know of it: a file until it is written anew, the others, which answer
with what there is at the moment, no longer.
"""

import asyncio
import csv
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog

from kalathi.merchant.client import AsyncClient
from kalathi.merchant.client.transport import AsyncTransport
from kalathi.merchant.inbox import Inbox

_log = structlog.get_logger("kalathi.merchant")

_MOST_PIECES: Final = 999_999_999
_MOST_DIGITS: Final = 12
# A source that is asked over a network is asked again after so many seconds: a burst of orders asks once.
_AGAIN_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 30.0


class StockError(Exception):
    """The source cannot be read; the sentence says where."""


class Stock(Protocol):
    """A source of stock; `sends_itself` is whether the shop can send what lies there."""

    sends_itself: bool

    async def renewed(self) -> str | None:
        """Asked anew: what it says from now on is of after this call. What it is now, if it does not know at once of
        what has left, as a file does not; None if it does. Raises the same."""
        ...

    async def available(self) -> dict[str, int]:
        """Free pieces by shop_uid. Raises StockError, and of the warehouse what its client raises."""
        ...

    async def prices(self) -> Mapping[str, Decimal]:
        """The shop's own prices in euros by shop_uid, where the source has them. Raises the same."""
        ...


class Shelf(msgspec.Struct, frozen=True):
    """What a source says."""

    pieces: dict[str, int]
    prices: dict[str, Decimal]


class _Asked:
    """A source that is asked again when what it said is some seconds old."""

    sends_itself = True

    def __init__(self, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._inbox = inbox
        self._clock = clock
        self._asked_at: float | None = None
        self._asking: asyncio.Future[Shelf] | None = None
        self._shelf = Shelf({}, {})

    async def renewed(self) -> str | None:
        """None: it says what there is at the moment. Raises StockError."""
        self._asked_at = None
        if self._asking is not None and not self._asking.done():
            await self._present()  # What is under way may be older than this call.
            self._asked_at = None
        await self._present()
        return None

    async def available(self) -> dict[str, int]:
        """Free pieces by shop_uid. Raises StockError."""
        return _free((await self._present()).pieces, self._inbox)

    async def prices(self) -> Mapping[str, Decimal]:
        """The shop's own prices. Raises StockError."""
        return (await self._present()).prices

    async def _present(self) -> Shelf:
        now = self._clock()
        if self._asked_at is None or now >= self._asked_at + _AGAIN_SECONDS:
            # Asked once for everybody who waits; what hangs is left alone, and hangs once.
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._ask())
            asking = self._asking
            try:
                async with asyncio.timeout(_LONGEST_SECONDS):
                    shelf = await asyncio.shield(asking)
            except TimeoutError:
                raise StockError(f"the source of the stock has not answered within {_LONGEST_SECONDS:g} s") from None
            if asking is self._asking:
                self._shelf = shelf
                self._asked_at = now
            return shelf
        return self._shelf

    async def _ask(self) -> Shelf:
        raise NotImplementedError


class CsvStock:
    """A file with the columns shop_uid and quantity, and price if need be; read again when it has changed."""

    sends_itself = True

    def __init__(self, path: Path, inbox: Inbox) -> None:
        self._path = path
        self._inbox = inbox
        self._stamp: str | None = None
        self._shelf = Shelf({}, {})

    async def renewed(self) -> str | None:
        """When the file was written, and its size. It does not know what has left since. Raises StockError."""
        self._refresh()
        return self._stamp

    async def available(self) -> dict[str, int]:
        """Free pieces by shop_uid. Raises StockError."""
        self._refresh()
        return _free(self._shelf.pieces, self._inbox)

    async def prices(self) -> Mapping[str, Decimal]:
        """The shop's own prices. Raises StockError."""
        self._refresh()
        return self._shelf.prices

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = f"{status.st_mtime_ns} {status.st_size}"
            if stamp != self._stamp:
                self._shelf = _read(self._path)
                self._stamp = stamp
                self._inbox.forget_left(stamp)
        except OSError as error:
            raise StockError(f"{self._path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise StockError(f"{self._path}: the file must be saved as UTF-8") from error
        except csv.Error as error:
            raise StockError(f"{self._path}: {error}") from error


class SqlStock(_Asked):
    """A database, by any URL of SQLAlchemy, and a query that gives shop_uid, quantity, and the price if need be."""

    def __init__(self, url: str, query: str, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises StockError for a URL that is none."""
        super().__init__(inbox, clock)
        from sqlalchemy import create_engine  # noqa: PLC0415  (only for who has a database)
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        try:
            self._engine = create_engine(url)
        except (SQLAlchemyError, ImportError) as error:
            raise StockError(f"the database of the stock: {error}") from None
        self._query = query

    async def _ask(self) -> Shelf:
        from sqlalchemy import text  # noqa: PLC0415
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        def rows() -> list[Any]:
            with self._engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(self._query))]

        try:
            return _shelf_of(await asyncio.to_thread(rows), "the query of the stock")
        except SQLAlchemyError as error:
            # The whole text may hold the URL, and a URL may hold a password.
            raise StockError(f"the database of the stock: {type(error).__name__}") from None


class HttpStock(_Asked):
    """An address that answers `{"shop_uid": quantity, ...}` or `[{"shop_uid", "quantity", "price"?}, ...]`."""

    def __init__(
        self,
        transport: AsyncTransport,
        url: str,
        inbox: Inbox,
        clock: Callable[[], float] = time.monotonic,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(inbox, clock)
        self._transport = transport
        self._url = url
        self._headers = {"Accept": "application/json", **(headers or {})}

    async def _ask(self) -> Shelf:
        """Raises UnreachableError too."""
        answer = await self._transport.send("GET", self._url, self._headers, None)
        if answer.status != 200:
            raise StockError(f"the address of the stock has answered {answer.status}")
        try:
            content = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StockError(f"the address of the stock: {error}") from error
        return _shelf_of_json(content, "the address of the stock")


class FunctionStock(_Asked):
    """A function of Python that gives the same as such an address. With await it runs on the event loop; without, in a
    thread, where it may take its time."""

    def __init__(
        self,
        function: Callable[[], Any | Awaitable[Any]],
        inbox: Inbox,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inbox, clock)
        self._function = function

    async def _ask(self) -> Shelf:
        try:
            if inspect.iscoroutinefunction(self._function):
                content = await self._function()
            else:
                content = await asyncio.to_thread(self._function)
        except Exception as error:
            raise StockError(f"the function of the stock: {type(error).__name__}: {error}") from error
        return _shelf_of_json(content, "the function of the stock")


class WarehouseStock(_Asked):
    """What lies in the marketplace's warehouse (contract, section 9), for a shop that has no shelf of its own. Orders
    of what lies there whole never come to the shop: of the others it tells what is missing."""

    sends_itself = False

    def __init__(self, client: AsyncClient, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(inbox, clock)
        self._client = client

    async def _ask(self) -> Shelf:
        """Raises MarketplaceError, UnreachableError."""
        return Shelf({product.shop_uid: product.quantity async for product in self._client.all_products()}, {})


def _free(shelf: dict[str, int], inbox: Inbox) -> dict[str, int]:
    reserved = inbox.reserved_pieces()
    return {shop_uid: quantity - reserved.get(shop_uid, 0) for shop_uid, quantity in shelf.items()}


def _read(path: Path) -> Shelf:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"shop_uid", "quantity"} <= set(rows.fieldnames or ()):
            raise StockError(f"{path}: the first line must name the columns shop_uid and quantity")
        pieces: dict[str, int] = {}
        prices: dict[str, Decimal] = {}
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            _put(pieces, prices, ((row["shop_uid"] or "").strip(), row["quantity"], row.get("price")), where)
    return Shelf(pieces, prices)


def _shelf_of_json(content: Any, where: str) -> Shelf:
    if isinstance(content, Mapping):
        return _shelf_of(content.items(), where)
    if isinstance(content, list) and all(isinstance(entry, Mapping) for entry in content):
        return _shelf_of(((e.get("shop_uid"), e.get("quantity"), e.get("price")) for e in content), where)
    raise StockError(f"{where}: it gives neither an object nor a list of objects")


def _shelf_of(rows: Iterable[Any], where: str) -> Shelf:
    pieces: dict[str, int] = {}
    prices: dict[str, Decimal] = {}
    for row in rows:
        if not 2 <= len(row) <= 3:
            raise StockError(f"{where}: each row has shop_uid, quantity, and the price if need be")
        _put(pieces, prices, (str(row[0]), row[1], row[2] if len(row) == 3 else None), where)
    return Shelf(pieces, prices)


def _put(pieces: dict[str, int], prices: dict[str, Decimal], row: tuple[str, Any, Any], where: str) -> None:
    """Takes a row. Of one that cannot be read, or stands there twice, only its own product is not known, so that an
    order of it waits for a person and the others go on."""
    shop_uid, quantity, price = row
    counted = _number(quantity)
    if counted is None or counted != counted.to_integral_value() or abs(counted) > _MOST_PIECES or shop_uid in pieces:
        _log.warning("stock_row_not_read", where=where, shop_uid=shop_uid[:40], quantity=str(quantity)[:40])
        pieces.pop(shop_uid, None)
        return
    # Less than nothing is how shops note what they owe.
    pieces[shop_uid] = max(int(counted), 0)
    told = _number(price)
    if told is not None:
        prices[shop_uid] = told
    elif price not in {None, ""}:
        _log.warning("stock_price_not_read", where=where, shop_uid=shop_uid[:40], price=str(price)[:40])


def _number(told: Any) -> Decimal | None:
    if isinstance(told, bool):
        return None
    try:
        number = Decimal(str(told).strip().replace(",", "."))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS else None
