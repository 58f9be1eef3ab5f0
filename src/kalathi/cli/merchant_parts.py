"""What the flags of `kalathi merchant` name: a source of stock, a printer, the shop's own system."""

import importlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from kalathi.merchant.client import AsyncClient
from kalathi.merchant.client.transport import AsyncTransport
from kalathi.merchant.handing_over import CommandRecipient, CsvFolder, FunctionRecipient, HttpRecipient, Recipient
from kalathi.merchant.policy import Policy, read_policy
from kalathi.merchant.printing import CommandPrinter, FolderPrinter, QueuePrinter
from kalathi.merchant.stock import CsvStock, DecimalSign, FunctionStock, HttpStock, SqlStock, Stock, WarehouseStock


class PartError(ValueError):
    """What was named cannot be used; the sentence says why."""


class StockForm(NamedTuple):
    """How a source is to be read: `--stock-encoding` of a file, `--stock-decimal`, `--stock-lags`."""

    encoding: str = ""
    decimal_sign: DecimalSign | None = None
    lags: bool = False


_PLAIN: Final = StockForm()


def stock_of(told: str, query: str, client: AsyncClient, transport: AsyncTransport, form: StockForm = _PLAIN) -> Stock:
    """`stock.csv`, `warehouse`, `https://shop.example/stock.json`, `module:function`, or any URL of SQLAlchemy with a
    query. Raises PartError, StockSetupError."""
    encoding, decimal_sign, lags = form
    if told == "warehouse":
        return WarehouseStock(client)
    if told.startswith(("http://", "https://")):
        return HttpStock(transport, told, decimal_sign=decimal_sign, lags=lags)
    if "://" in told:
        if not query:
            raise PartError("give --stock-query with the database of --stock: it gives shop_uid and quantity")
        return SqlStock(told, query, decimal_sign=decimal_sign, lags=lags)
    if _names_something(told):
        return FunctionStock(_function(told), decimal_sign=decimal_sign, lags=lags)
    return CsvStock(Path(told), encoding=encoding, decimal_sign=decimal_sign)


def policy_of(told: str) -> Policy:
    """`policy.toml`, or `module:name` of a Policy in Python; nothing: the usual one. Raises PartError, PolicyError."""
    if not told:
        return Policy()
    if not _names_something(told):
        return read_policy(Path(told))
    policy = _named(told)
    if not isinstance(policy, Policy):
        raise PartError(f"--policy {told} is no kalathi.merchant.policy.Policy")
    return policy


def printer_of(folder: Path, queue: str, command: str) -> FolderPrinter:
    """The folder alone, or with a queue of CUPS or a command behind it. Raises PartError."""
    if queue and command:
        raise PartError("give --printer or --print-command, not both")
    if queue:
        return QueuePrinter(folder, queue)
    return CommandPrinter(folder, _words("--print-command", command)) if command else FolderPrinter(folder)


def recipient_of(told: str, transport: AsyncTransport) -> Recipient | None:
    """`https://...`, `csv:folder`, `command:a command`, `module:function`, or nothing. Raises PartError."""
    if not told:
        return None
    if told.startswith(("http://", "https://")):
        return HttpRecipient(transport, told)
    kind, _, rest = told.partition(":")
    if kind == "csv" and rest:
        return CsvFolder(Path(rest))
    if kind == "command":
        return CommandRecipient(_words("--hand-over-to", rest))
    if _names_something(told):
        return FunctionRecipient(_function(told))
    raise PartError(f"--hand-over-to {told}: give an address, csv:folder, command:..., or module:function")


def _words(flag: str, command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise PartError(f"{flag}: {error}") from None
    if not words:
        raise PartError(f"{flag} names no command")
    return words


def _names_something(told: str) -> bool:
    module, _, name = told.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _function(told: str) -> Callable[..., Any]:
    found = _named(told)
    if not callable(found):
        raise PartError(f"{told} is no function")
    return found  # type: ignore[no-any-return]  # Whatever is callable is the shop's own affair.


def _named(told: str) -> Any:
    """What a module, which may lie in the present folder, has under this name."""
    module, _, name = told.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PartError(f"{told}: {error}") from error
