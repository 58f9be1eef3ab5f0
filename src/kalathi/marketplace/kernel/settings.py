"""The table of all settings. The flags, the `KALATHI_*` variables and the docs are generated from it."""

import builtins
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from kalathi.marketplace.kernel.targets import BadUrl, parse_target
from kalathi.trusted_proxies import read_trusted_proxies


class Settings(Struct, frozen=True, kw_only=True):
    """The operator's settings. Durations have their unit in their name."""

    data: Annotated[Path, Meta(description="Folder of the database, the operator's token and the address.")] = Path(
        "kalathi-data"
    )
    database: Annotated[
        str, Meta(description="sqlite:///path or postgresql://user@host/name; empty: kalathi.db in the data folder.")
    ] = ""
    mode: Annotated[
        Literal["sandbox", "production"],
        Meta(description="sandbox: the clock can be moved, faults and scenarios are there; production: they are not."),
    ] = "sandbox"
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8090
    public_url: Annotated[
        str, Meta(description="How the marketplace is reached from outside; empty: its own address.")
    ] = ""
    operator_token: Annotated[
        str,
        Meta(
            description="The operator's token; empty: made at the first start and kept in the data folder. Other"
            " users of this machine can read a flag: prefer the file or the variable. Production needs 32 characters."
        ),
    ] = ""
    metrics_token: Annotated[
        str,
        Meta(
            description="A token that opens /metrics in production and nothing else; the operator's opens it too."
            " Empty: none. 32 characters or more."
        ),
    ] = ""
    open_console: Annotated[
        bool,
        Meta(
            description="Open the operator's pages of a sandbox on loopback without signing in: to every program and"
            " user of this machine, and to the callers of a proxy on it."
        ),
    ] = False
    rough: Annotated[
        bool,
        Meta(
            description="Inject a mild mixture of faults into a sandbox's answers and webhooks; `kalathi faults clear`"
            " turns it off. Each process needs the setting."
        ),
    ] = False
    vendor: Annotated[str, Meta(description="The vendor word of the Accept header.")] = "skroutz"
    user_agent: Annotated[str, Meta(description="User-Agent of webhooks.")] = "Skroutz OrderNotifier v1"
    cors_origins: Annotated[
        str,
        Meta(description="Origins of browsers that may call a sandbox's API, separated by commas; *: every origin."),
    ] = ""
    acceptance_hours: Annotated[int, Meta(ge=1, description="Hours that a shop has to accept an order.")] = 24
    dispatch_working_days: Annotated[int, Meta(ge=1, description="Working days to dispatch after that.")] = 3
    extension_hours: Annotated[int, Meta(ge=1, description="Hours that an extension adds.")] = 24
    express_accept_seconds: Annotated[
        int, Meta(ge=0, description="Seconds until the marketplace accepts an express order for its shop.")
    ] = 1
    trigger_delay_seconds: Annotated[
        int, Meta(ge=0, description="Seconds until a webhook that was triggered for a demo order is sent.")
    ] = 2
    ip_ranges: Annotated[
        str, Meta(description="Published ranges from which webhooks are sent, as /ip_ranges.json shows them.")
    ] = "127.0.0.1/32,::1/128"
    ip_ranges_modified: Annotated[str, Meta(description="When these ranges were last changed, in UTC.")] = (
        "2026-11-25T00:00:00Z"
    )
    fbs_fee_cents: Annotated[
        int,
        Meta(ge=0, le=100_000, description="Fee in cents of an order that is sent from the marketplace's warehouse."),
    ] = 120
    warehouse_address: Annotated[
        str, Meta(description="Street, number, postcode, city and region of the marketplace's warehouse.")
    ] = "Λεωφόρος Ειρήνης, 7, 19300, Ασπρόπυργος, Αττική"
    review_hours: Annotated[int, Meta(ge=1, description="Hours that a shop has to review a return request.")] = 72
    withdrawal_days: Annotated[
        int, Meta(ge=0, description="Days after delivery within which a withdrawal needs no review.")
    ] = 14
    tell_deliveries: Annotated[
        bool, Meta(description="Send webhooks for delivered, partially_delivered and for_return too.")
    ] = False
    voucher_delay_seconds: Annotated[int, Meta(ge=0, description="Seconds from acceptance to the voucher.")] = 1
    largest_parcel_count: Annotated[int, Meta(ge=1, le=99, description="Most parcels that an order may have.")] = 3
    pickup_days: Annotated[int, Meta(ge=1, le=30, description="Working days on which pickups are offered.")] = 3
    pickup_hours: Annotated[str, Meta(description="Pickup windows of a working day.")] = "09-12,12-15,15-18"
    extra_api_tokens: Annotated[
        bool, Meta(description="Shops may have several API tokens with names; otherwise one, as at Skroutz.")
    ] = False
    history_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days for which the history of people's actions is kept.")
    ] = 400
    personal_data_days: Annotated[
        int,
        Meta(ge=0, le=36_500, description="Days after which finished orders lose their customer's data; 0: never."),
    ] = 0
    log_level: Annotated[
        Literal["info", "warning", "error"], Meta(description="The least level of log lines that are written.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "short"],
        Meta(description="json: one object a line; short: lines for people; auto: short in a terminal, else json."),
    ] = "auto"
    rate_limit_per_minute: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Calls a minute that one shop may make; 0: as many as it likes.")
    ] = 0
    trusted_proxies: Annotated[
        str,
        Meta(
            description="The proxies in front, for X-Forwarded-For: how many (2), or their addresses and ranges"
            " (10.0.0.0/8,127.0.0.1); empty: none, and no forwarding header is believed."
        ),
    ] = ""
    wrong_tokens_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Calls with a wrong token a minute from one address; further ones get 429, valid tokens never."
            " 0: as many as it likes.",
        ),
    ] = 30
    idempotency_hours: Annotated[int, Meta(ge=1, description="Hours for which an Idempotency-Key is remembered.")] = 24
    session_hours: Annotated[int, Meta(ge=1, le=24 * 30, description="Hours that a sign-in to the pages lasts.")] = 12
    product_batch_seconds: Annotated[
        int, Meta(ge=0, description="Seconds from a batch of stock and prices to its effect.")
    ] = 1
    product_batch_days: Annotated[
        int, Meta(ge=1, description="Days for which the status of such a batch can be read.")
    ] = 30
    feed_scan_minutes: Annotated[
        int,
        Meta(
            ge=0,
            le=59,
            description="Minutes of each hour from 08:00 to 00:00 in which the shops' XML feeds are read and batches"
            " are refused; 0: none.",
        ),
    ] = 0
    webhook_timeout_seconds: Annotated[float, Meta(gt=0, le=12, description="Time limit of one webhook delivery.")] = (
        10.0
    )
    webhook_attempt_minutes: Annotated[
        str, Meta(description="When a webhook is tried, in minutes after its event.")
    ] = "0,1,5,19"
    allow_private_webhooks: Annotated[
        bool, Meta(description="Send webhooks to private addresses too; a sandbox always does.")
    ] = False
    webhook_proxy: Annotated[
        str,
        Meta(
            description="Egress proxy for webhooks, such as http://user:password@proxy:3128; the marketplace"
            " checks each address first, and the proxy gets only the address."
        ),
    ] = ""
    webhook_slots_per_shop: Annotated[int, Meta(ge=1, description="Deliveries in flight to one shop.")] = 4
    webhook_slots: Annotated[int, Meta(ge=1, description="Deliveries in flight in all.")] = 200
    delivery_log_days: Annotated[
        int, Meta(ge=1, description="Days for which webhooks and their attempts are kept.")
    ] = 90
    backup_before_upgrade: Annotated[
        Literal["on", "off"],
        Meta(description="Copy a SQLite database of an earlier version before its tables are changed: on or off."),
    ] = "on"
    request_log: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="Log every call of the merchants' API: on, off, or auto, which is on in a sandbox. In a sandbox"
            " with bodies, in production without."
        ),
    ] = "auto"
    request_log_days: Annotated[int, Meta(ge=1, description="Days for which calls are kept in the request log.")] = 7
    request_log_megabytes: Annotated[
        int, Meta(ge=1, le=1000, description="Largest size of a process's request log; the oldest calls go first.")
    ] = 32
    clock_limit_seconds: Annotated[
        float,
        Meta(gt=0, description="Real seconds that a clock move waits for the work of one moment before it says 503."),
    ] = 60.0


class SettingField(Struct, frozen=True):
    """One row of the table, from which a flag, a variable and a line of the docs are generated."""

    name: str
    type: builtins.type
    default: Any
    description: str

    @property
    def flag(self) -> str:
        """`--webhook-slots`"""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """`KALATHI_WEBHOOK_SLOTS`"""
        return "KALATHI_" + self.name.upper()


def setting_fields() -> list[SettingField]:
    """Return the rows of the table, in its order."""
    hints = get_type_hints(Settings, include_extras=True)
    defaults = Settings()
    fields = []
    for name in Settings.__struct_fields__:
        plain, meta = get_args(hints[name])
        fields.append(SettingField(name, plain, getattr(defaults, name), meta.description))
    return fields


def read_settings(values: Mapping[str, str]) -> Settings:
    """Return the settings for the texts of flags and variables. Raises ValueError with a sentence that names the
    setting and its valid values."""
    try:
        settings: Settings = _convert(values, Settings)
    except msgspec.ValidationError:
        raise ValueError(_first_fault(values)) from None
    if settings.public_url:
        target = parse_target(settings.public_url)
        if isinstance(target, BadUrl):
            raise ValueError(f"--public-url {settings.public_url}: it {target}")
        if "?" in settings.public_url or "#" in settings.public_url or target.authorization:
            raise ValueError(f"--public-url {settings.public_url}: give scheme, host and path only")
    if settings.trusted_proxies.strip():
        try:
            read_trusted_proxies(settings.trusted_proxies)
        except ValueError as error:
            raise ValueError(f"--trusted-proxies: {error}") from None
    if settings.data.exists() and not settings.data.is_dir():
        raise ValueError(f"--data {settings.data}: it is a file; give a folder")
    return settings


def _convert(value: Any, wanted: Any) -> Any:
    return msgspec.convert(value, wanted, strict=False, dec_hook=lambda kind, text: kind(text))


def _first_fault(values: Mapping[str, str]) -> str:
    hints = get_type_hints(Settings, include_extras=True)
    for field in setting_fields():
        value = values.get(field.name)
        if value is None:
            continue
        try:
            _convert(value, hints[field.name])
        except msgspec.ValidationError:
            return f"{field.flag} {value[:80]!r}: give {_valid_values(hints[field.name])}"
    unknown = ", ".join(sorted(set(values) - set(hints)))
    return f"there are no settings {unknown}"


def _valid_values(hint: Any) -> str:
    """Return the valid values in words, such as `a whole number from 0 to 65535`."""
    kind, meta = get_args(hint)
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if kind is bool:
        return "true or false"
    if kind not in {int, float}:
        return "a text"
    words = "a whole number" if kind is int else "a number"
    low = f"from {meta.ge}" if meta.ge is not None else f"above {meta.gt}" if meta.gt is not None else ""
    if meta.le is None:
        return f"{words} of {meta.ge} or more" if meta.ge is not None else f"{words} {low}".strip()
    return f"{words} {low} {'to' if meta.ge is not None else 'and up to'} {meta.le}"
