"""The options of `kalathi merchant` for the source of stock, and the check of the source at the start."""

import asyncio
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from kalathi.merchant.stock import Stock

# The time limit of the check at the start. A slower source does not delay the receiver: the connector reads it again.
_START_SECONDS: Final = 5.0

STOCK_OPTIONS = (
    click.option(
        "--stock",
        envvar="KALATHI_STOCK",
        default="",
        help="CSV with shop_uid and quantity (and price); an address that answers JSON; a URL of SQLAlchemy; "
        "module:function; or `warehouse` for the marketplace's own.",
    ),
    click.option("--stock-query", envvar="KALATHI_STOCK_QUERY", default="", help="SQL that gives shop_uid, quantity."),
    click.option(
        "--stock-encoding",
        envvar="KALATHI_STOCK_ENCODING",
        default="",
        help="Encoding of the CSV, such as cp1253, if it is not UTF-8 and has no byte order mark.",
    ),
    click.option(
        "--stock-decimal",
        envvar="KALATHI_STOCK_DECIMAL",
        type=click.Choice(["", ".", ","]),
        default="",
        help="The sign before the decimals: with a comma, 1.000 is a thousand; with a point, it is one.",
    ),
    click.option(
        "--stock-lags",
        envvar="KALATHI_STOCK_LAGS",
        is_flag=True,
        help="The database, address or function counts dispatched pieces for some time, as a file does.",
    ),
    click.option(
        "--stock-lag-minutes",
        envvar="KALATHI_STOCK_LAG_MINUTES",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        help="Largest age of the numbers in a file, or in a source with --stock-lags.",
    ),
)


async def check_stock(stock: "Stock") -> None:
    """Read the source once, to refuse a wrong set-up at the start. Raises StockSetupError.

    A source that is missing or slow does not stop the receiver: the connector reports it and tries again.
    """
    from kalathi.merchant.client import CallError
    from kalathi.merchant.stock import StockError, StockSetupError

    try:
        await asyncio.wait_for(stock.read(), _START_SECONDS)
    except StockSetupError:
        raise
    except (StockError, CallError, TimeoutError):
        pass
