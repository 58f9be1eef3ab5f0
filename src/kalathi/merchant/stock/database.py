"""Stock in a database: any SQLAlchemy URL, and a query that returns shop_uid, quantity and optionally the price."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from kalathi.merchant.stock.live_sources import AskedStock, uid_of_value
from kalathi.merchant.stock.quantities import DecimalSign
from kalathi.merchant.stock.shelf import Shelf, ShelfBuilder, StockError, StockSetupError

if TYPE_CHECKING:
    from sqlalchemy import URL, CursorResult

_ROWS_SECONDS: Final = 30.0
_LONGEST_SENTENCE: Final = 300
# A shorter password cannot be removed from an error text safely: the replaced places would reveal it.
_SHORTEST_SECRET: Final = 4
_NAMED: Final = ("shop_uid", "quantity")
# Usual names of the three columns. One of them in another place means that the order is not the expected one.
_USUAL_NAMES: Final = (
    frozenset({"shop_uid", "sku", "uid", "code", "product_code", "barcode", "ean", "κωδικός"}),
    frozenset({"quantity", "qty", "stock", "pieces", "available", "balance", "ποσότητα", "απόθεμα", "υπόλοιπο"}),
    frozenset({"price", "unit_price", "retail_price", "cost", "τιμή"}),
)
# Errors of SQLite's driver that only a corrected query avoids. Other drivers have an exception class for them.
_WRONG_QUERY: Final = ("no such column", "no such table", "no such function", "syntax error", "incomplete input")
_WHERE: Final = "the database of the stock"


class SqlStock(AskedStock):
    """A query that is sent exactly as the shop has written it, including colons and percent signs."""

    def __init__(
        self,
        url: str,
        query: str,
        *,
        decimal_sign: DecimalSign | None = None,
        lags: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises StockSetupError for a URL that cannot be used."""
        super().__init__(lags=lags, clock=clock)
        from sqlalchemy import create_engine, make_url  # noqa: PLC0415  (only for shops with a database)
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  (only for a database as the source)
        from sqlalchemy.pool import NullPool  # noqa: PLC0415  (only for a database as the source)

        try:
            parsed = make_url(url)
        except (SQLAlchemyError, ValueError):
            # The reason may hold a part of the password.
            raise StockSetupError(
                f"{_WHERE}: --stock is not a URL of SQLAlchemy. In a user's name or a password the characters"
                " @ : / ? # % are written as %40 %3A %2F %3F %23 %25"
            ) from None
        self._secrets = _secrets(parsed)
        self._query = query
        self._decimal_sign = decimal_sign
        options: dict[str, Any] = {"poolclass": NullPool}
        if parsed.get_backend_name() == "sqlite":
            file = _sqlite_file(parsed)
            parsed, options["creator"] = make_url("sqlite://"), lambda: _open_sqlite(file)
        try:
            self._engine = create_engine(parsed, **options)
        except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:
            raise StockSetupError(f"{_WHERE}: {self._without_secrets(error)}") from None

    async def _fetch(self) -> Shelf:
        from sqlalchemy import exc  # noqa: PLC0415  (only for shops with a database)

        try:
            return await asyncio.to_thread(self._rows)
        except exc.DBAPIError as error:
            is_wrong = isinstance(error, exc.ProgrammingError) or any(
                words in str(error.orig) for words in _WRONG_QUERY
            )
            kind = StockSetupError if is_wrong else StockError
            raise kind(f"{_WHERE}: {self._without_secrets(error.orig or error)}") from None
        except exc.ResourceClosedError:
            raise StockSetupError(f"{_WHERE}: the query of --stock-query gives no rows: is it a SELECT?") from None
        except (exc.SQLAlchemyError, sqlite3.Error, ValueError, TypeError, ImportError) as error:
            raise StockError(f"{_WHERE}: {self._without_secrets(error)}") from None

    def _rows(self) -> Shelf:
        """Run the query in the current thread and return the shelf."""
        ends_at = time.monotonic() + _ROWS_SECONDS
        builder = ShelfBuilder("the query of the stock", self._decimal_sign, "row")
        # Pass no parameters to the driver, so that it does not interpret percent signs.
        with self._engine.connect().execution_options(no_parameters=True) as connection:
            result = connection.exec_driver_sql(self._query)
            places = _places(result)
            for number, row in enumerate(result, 1):
                if time.monotonic() > ends_at:
                    raise StockError(f"{_WHERE}: the query has not given all rows within {_ROWS_SECONDS:g} s")
                price = row[places.price] if places.price is not None else None
                product_uid = uid_of_value(row[places.product_uid]) if places.product_uid is not None else ""
                builder.add(uid_of_value(row[places.shop_uid]), row[places.quantity], price, number, product_uid)
        return builder.shelf()

    def _without_secrets(self, error: BaseException) -> str:
        """Return the driver's error in one line without the password. Return only its class name if the password is too
        short to remove."""
        name = type(error).__name__
        if any(len(secret) < _SHORTEST_SECRET for secret in self._secrets):
            return name
        sentence = " ".join(str(error).split())
        for secret in sorted(self._secrets, key=len, reverse=True):
            sentence = sentence.replace(secret, "***")
        return f"{name}: {sentence[:_LONGEST_SENTENCE]}".rstrip(": ")


class _Places(NamedTuple):
    """The positions of the columns; None for a column that is not there."""

    shop_uid: int
    quantity: int
    price: int | None = None
    product_uid: int | None = None


def _places(result: "CursorResult[Any]") -> _Places:
    """Return the positions of shop_uid, quantity and price: by their names, or else in this order. The column
    product_uid is found by its name only. Raises StockSetupError if a name contradicts the order."""
    names: Sequence[str] = [name.strip().lower() for name in result.keys()]  # noqa: SIM118  (no mapping)
    if set(_NAMED) <= set(names):
        price, product_uid = (names.index(name) if name in names else None for name in ("price", "product_uid"))
        return _Places(names.index("shop_uid"), names.index("quantity"), price, product_uid)
    misplaced = [name for at, name in enumerate(names) if _place_of(name) not in {None, at}]
    if misplaced or not 2 <= len(names) <= 3:
        raise StockSetupError(
            "the query of the stock: it must give shop_uid, quantity, and the price if you like, by these names or in"
            f" this order; it gives {', '.join(names)}. Name them, such as: select {names[0]} as shop_uid, ..."
        )
    return _Places(0, 1, 2 if len(names) == 3 else None)


def _place_of(name: str) -> int | None:
    """Return the place of a column with a usual name, or None for another name."""
    return next((at for at, usual in enumerate(_USUAL_NAMES) if name in usual), None)


def _secrets(url: "URL") -> set[str]:
    """Return every form of the passwords in the URL."""
    told = [url.password] if url.password else []
    for name, values in url.query.items():
        if "pass" in name.lower() or "pwd" in name.lower() or "secret" in name.lower():
            told.extend([values] if isinstance(values, str) else values)
    return {
        form for secret in told if secret for form in (str(secret), quote(str(secret)), quote(str(secret), safe=""))
    }


def _sqlite_file(url: "URL") -> Path:
    """Return the file of an SQLite URL. Raises StockSetupError if the URL contains none."""
    database = url.database or ""
    if database.startswith("file:"):
        parts = urlsplit(database)
        memory = "mode=memory" in parts.query or url.query.get("mode") == "memory"
        database = "" if memory else unquote(parts.path)
    if database in {"", ":memory:"} or url.host:
        raise StockSetupError(
            f"{_WHERE}: the URL names no file. Give sqlite:///shop.db, or sqlite:////srv/shop.db for a whole path"
        )
    return Path(database)


def _open_sqlite(file: Path) -> sqlite3.Connection:
    """Open an existing file for reading only, so that connecting does not create an empty one. Raises StockError."""
    if not file.is_file():
        raise StockError(f"{_WHERE}: there is no file {file}")
    return sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)
