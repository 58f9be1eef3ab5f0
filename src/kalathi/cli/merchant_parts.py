"""Create the parts that the flags of `kalathi merchant` name: a source of stock, a printer, the shop's own system."""

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from kalathi.merchant.client import AsyncClient
from kalathi.merchant.client.transport import AsyncTransport
from kalathi.merchant.commands import HANDING_OVER, PRINTING, Limit
from kalathi.merchant.csv_folder import CsvFolder, CsvStyle
from kalathi.merchant.handing_over import CommandRecipient, FunctionRecipient, HttpRecipient, Recipient
from kalathi.merchant.policy import Policy, read_policy
from kalathi.merchant.printing import CommandPrinter, FolderPrinter, QueuePrinter
from kalathi.merchant.stock import CsvStock, DecimalSign, FunctionStock, HttpStock, SqlStock, Stock, WarehouseStock
from kalathi.system.command_lines import split_command
from kalathi.trusted_proxies import TrustedProxies, read_trusted_proxies

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class PartError(ValueError):
    """A part cannot be used; the sentence says why."""


class StockForm(NamedTuple):
    """The form of a source of stock: `--stock-encoding` of a file, `--stock-decimal`, `--stock-lags`."""

    encoding: str = ""
    decimal_sign: DecimalSign | None = None
    lags: bool = False


_PLAIN: Final = StockForm()


def stock_of(told: str, query: str, client: AsyncClient, transport: AsyncTransport, form: StockForm = _PLAIN) -> Stock:
    """Return the source of stock of `stock.csv`, `warehouse`, `https://shop.example/stock.json`, `module:function`, or
    any URL of SQLAlchemy with a query. Raises PartError, StockSetupError."""
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
    """Return the policy of `policy.toml`, or of `module:name` in Python; the default policy for an empty text. Raises
    PartError, PolicyError."""
    if not told:
        return Policy()
    if not _names_something(told):
        return read_policy(Path(told))
    policy = _load_named(told)
    if not isinstance(policy, Policy):
        raise PartError(f"--policy {told} is no kalathi.merchant.policy.Policy")
    return policy


def printer_of(
    folder: Path, queue: str, command: str, *, options: str = "", seconds: float = PRINTING.seconds
) -> FolderPrinter:
    """Return a printer that writes to the folder, and then to a queue of CUPS or a command if one is given. Raises
    PartError."""
    if queue and command:
        raise PartError("give --printer or --print-command, not both")
    if options and not queue:
        raise PartError("--printer-options are options of the queue of --printer; give that as well")
    limit = Limit(seconds, PRINTING.setting)
    if queue:
        return QueuePrinter(folder, queue, options=_printer_options(options), limit=limit)
    if command:
        return CommandPrinter(folder, _words("--print-command", command), limit=limit)
    return FolderPrinter(folder)


def _printer_options(told: str) -> list[str]:
    words = _words("--printer-options", told) if told.strip() else []
    if dashed := [word for word in words if word.startswith("-")]:
        raise PartError(f"--printer-options: leave out {dashed[0]}; give the options alone, such as media=a6")
    return words


def recipient_of(
    told: str,
    transport: AsyncTransport,
    headers: Sequence[str] = (),
    secret: str = "",
    *,
    seconds: float = HANDING_OVER.seconds,
    csv_style: CsvStyle = CsvStyle.PLAIN,
) -> Recipient | None:
    """Return the recipient of `https://...` (which may have headers and a secret), `csv:folder`, `command:a command` or
    `module:function`; None for an empty text. Raises PartError."""
    if told.startswith(("http://", "https://")):
        return _http_recipient(told, transport, headers, secret)
    if headers or secret:
        raise PartError("--hand-over-header and --hand-over-secret are for an http address in --hand-over-to")
    if not told:
        return None
    kind, _, rest = told.partition(":")
    if kind == "csv" and rest:
        return CsvFolder(Path(rest), csv_style)
    if kind == "command":
        limit = Limit(seconds, HANDING_OVER.setting)
        return CommandRecipient(_words("--hand-over-to", rest), limit=limit)
    if _names_something(told):
        return FunctionRecipient(_function(told))
    raise PartError(f"--hand-over-to {told}: give an address, csv:folder, command:..., or module:function")


def _http_recipient(url: str, transport: AsyncTransport, headers: Sequence[str], secret: str) -> HttpRecipient:
    """Return the recipient at an address. The error messages never repeat a value, because it contains a secret."""
    given = dict(_header(line) for line in headers if line.strip())
    wrong = PartError("--hand-over-secret: give whsec_ and the base64 of the secret")
    if secret and not secret.strip().removeprefix("whsec_"):
        raise wrong
    try:
        return HttpRecipient(transport, url, given, secret=secret.strip())
    except ValueError:
        raise wrong from None


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip()
    if not (colon and _HEADER_NAME.fullmatch(name) and value and value.isascii() and value.isprintable()):
        raise PartError("--hand-over-header: give it as `Name: value`, in ASCII and on one line")
    return name, value


def read_proxy_options(told: str, *, is_one: bool) -> TrustedProxies | None:
    """Return the trusted proxies of `2` or `10.0.0.0/8,127.0.0.1`. `is_one` is the value of --trust-forwarded. Raises
    PartError."""
    if not told.strip():
        return TrustedProxies(hops=1) if is_one else None
    if is_one:
        raise PartError("give --trust-forwarded, which is one proxy, or --trusted-proxies, not both")
    try:
        return read_trusted_proxies(told)
    except ValueError as error:
        raise PartError(f"--trusted-proxies: {error}") from None


def _words(flag: str, command: str) -> list[str]:
    try:
        words = split_command(command)
    except ValueError as error:
        raise PartError(f"{flag}: {error}") from None
    if not words:
        raise PartError(f"{flag} names no command")
    return words


def _names_something(told: str) -> bool:
    module, _, name = told.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _function(told: str) -> Callable[..., Any]:
    found = _load_named(told)
    if not callable(found):
        raise PartError(f"{told} is no function")
    return found  # type: ignore[no-any-return]  # The shop may name any callable.


def _load_named(told: str) -> Any:
    """Load a name from a module, which may be in the current folder."""
    module, _, name = told.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PartError(f"{told}: {error}") from error
