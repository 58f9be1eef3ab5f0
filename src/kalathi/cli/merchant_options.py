"""The options of `kalathi merchant`: flags, variables, defaults and help texts."""

from pathlib import Path
from typing import Literal, NamedTuple

import click

from kalathi.cli.command_options import COMMAND_OPTIONS
from kalathi.cli.hand_over_options import HAND_OVER_OPTIONS
from kalathi.cli.merchant_publishing import PUBLISH_OPTIONS
from kalathi.cli.merchant_stock import STOCK_OPTIONS


class MerchantOptions(NamedTuple):
    """The values of the options of `kalathi merchant`."""

    url: str
    token: str
    token_file: Path | None
    vendor: str
    stock: str
    stock_query: str
    stock_encoding: str
    stock_decimal: Literal["", ".", ","]
    stock_lags: bool
    stock_lag_minutes: float
    policy: str
    print_to: Path | None
    printer: str
    printer_options: str
    print_command: str
    print_seconds: float
    hand_over_to: str
    hand_over_header: tuple[str, ...]
    hand_over_secret: str
    hand_over_seconds: float
    use_proxy: bool
    csv_style: str
    told_orders_are_counted: bool
    data: Path
    host: str
    port: int
    path: str
    secrets: str
    only_published_sources: bool
    trust_forwarded: bool
    trusted_proxies: str
    watch_port: int | None
    publish_stock: bool
    products_token: str
    products_token_file: Path | None
    approve_returns: str
    reject_late_withdrawals: bool
    warn_hours: float
    dry_run: bool

    def __repr__(self) -> str:
        return f"MerchantOptions({self.url!r}, ...)"  # Without the token and the other secrets.


MERCHANT_OPTIONS = (
    click.option("--url", envvar="KALATHI_URL", default="", help="The marketplace's address."),
    click.option("--token", envvar="KALATHI_TOKEN", default="", help="The shop's API token."),
    click.option(
        "--token-file",
        envvar="KALATHI_TOKEN_FILE",
        type=click.Path(path_type=Path),
        help="A file that holds the token.",
    ),
    click.option(
        "--vendor",
        envvar="KALATHI_VENDOR",
        default="skroutz",
        show_default=True,
        help="Vendor name in the Accept header.",
    ),
    *STOCK_OPTIONS,
    *PUBLISH_OPTIONS,
    click.option(
        "--policy",
        envvar="KALATHI_POLICY",
        default="",
        help="The policy for answers: a TOML file, or module:name of a Policy in Python.",
    ),
    click.option(
        "--print-to", envvar="KALATHI_PRINT_TO", type=click.Path(path_type=Path), help="Folder for the vouchers."
    ),
    click.option("--printer", envvar="KALATHI_PRINTER", default="", help="A queue of CUPS to print them on as well."),
    click.option(
        "--print-command", envvar="KALATHI_PRINT_COMMAND", default="", help="A command that gets each voucher's path."
    ),
    *COMMAND_OPTIONS,
    click.option(
        "--hand-over-to",
        envvar="KALATHI_HAND_OVER_TO",
        default="",
        help="The shop's own system: an address, csv:folder, command:..., or module:function.",
    ),
    *HAND_OVER_OPTIONS,
    click.option(
        "--csv-style",
        envvar="KALATHI_CSV_STYLE",
        # The values of CsvStyle; a test compares.
        type=click.Choice(["plain", "excel-el"]),
        default="plain",
        show_default=True,
        help="How csv:folder is written: plain for programs, excel-el for Excel with Greek regional settings.",
    ),
    click.option(
        "--told-orders-are-counted",
        envvar="KALATHI_TOLD_ORDERS_ARE_COUNTED",
        is_flag=True,
        help="That system lowers its stock by these orders, so the connector does not subtract them again.",
    ),
    click.option(
        "--data",
        envvar="KALATHI_MERCHANT_DATA",
        type=click.Path(path_type=Path),
        default=Path("kalathi-merchant"),
        show_default=True,
        help="Folder of the inbox.",
    ),
    click.option(
        "--host",
        envvar="KALATHI_MERCHANT_HOST",
        default="127.0.0.1",
        show_default=True,
        help="Address to receive webhooks on.",
    ),
    click.option(
        "--port",
        envvar="KALATHI_MERCHANT_PORT",
        type=click.IntRange(0, 65535),
        default=9000,
        show_default=True,
        help="Port to receive webhooks on; 0 takes a free one.",
    ),
    click.option(
        "--path",
        envvar="KALATHI_MERCHANT_PATH",
        default="/smart_cart_orders",
        show_default=True,
        help="Path to receive webhooks on; it may hold a secret.",
    ),
    click.option(
        "--secrets",
        envvar="KALATHI_WEBHOOK_SECRETS",
        default="",
        help="Secrets of Standard Webhooks, with commas between; then only signed webhooks are accepted.",
    ),
    click.option(
        "--only-published-sources",
        envvar="KALATHI_ONLY_PUBLISHED_SOURCES",
        is_flag=True,
        help="Take webhooks only from the marketplace's published ranges; kept in ip_ranges.json of --data.",
    ),
    click.option(
        "--trust-forwarded",
        envvar="KALATHI_TRUST_FORWARDED",
        is_flag=True,
        help="There is one proxy in front: the source is the last address of X-Forwarded-For.",
    ),
    click.option(
        "--trusted-proxies",
        envvar="KALATHI_TRUSTED_PROXIES",
        default="",
        help="The proxies in front, for X-Forwarded-For: how many, or their addresses and ranges with commas between.",
    ),
    click.option(
        "--watch-port",
        envvar="KALATHI_MERCHANT_WATCH_PORT",
        type=click.IntRange(0, 65535),
        help="Port for /metrics and /healthz, on --host; 0 takes a free one.",
    ),
    click.option(
        "--approve-returns",
        envvar="KALATHI_APPROVE_RETURNS",
        default="",
        help="Reasons for approving a return automatically, with commas between; other returns wait for a person.",
    ),
    click.option(
        "--reject-late-withdrawals",
        envvar="KALATHI_REJECT_LATE_WITHDRAWALS",
        is_flag=True,
        help="Reject withdrawals out of the marketplace's policy automatically.",
    ),
    click.option(
        "--warn-hours",
        envvar="KALATHI_WARN_HOURS",
        type=click.FloatRange(min=0),
        default=2.0,
        show_default=True,
        help="Hours before its deadline at which an unanswered order is reported.",
    ),
    click.option("--dry-run", envvar="KALATHI_DRY_RUN", is_flag=True, help="Say what would be done, and do nothing."),
)
