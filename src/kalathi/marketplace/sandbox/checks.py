"""Checks of a shop's integration, as data. A scenario with a table `[check]` is a check: its steps of the shop are then
waited for instead of played, and its `expect` steps are judged (docs/checkup.md)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from kalathi.marketplace.sandbox.faults import FaultRule


class Claim(StrEnum):
    """The abilities that an integration can claim. Only checks of claimed abilities are run."""

    ORDERS = "orders"
    RETURNS = "returns"
    INVOICES = "invoices"
    FBM = "fbm"
    READY = "ready"
    PRODUCTS = "products"


class Severity(StrEnum):
    """The consequence of a failed check, the worst first."""

    LOSES_ORDERS = "loses_orders"
    COSTS_MONEY = "costs_money"
    ANNOYS = "annoys"


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[check]` of a scenario.

    `title` is a sentence that is true of a correct integration, and `consequence` the harm if it is not true, both in
    English and in Greek. `section` is the contract's. `source` is the public report, or the behaviour
    of a public client, that the check comes from; `fell` are the public clients that were seen to fail it. `needs` is
    another check: if that one fails, this one cannot be judged. `stock` are the pieces that the shop has of a product
    before the check; by default it has plenty. `faults` are rules that only the check injects, in addition to those of
    the scenario, and `settings` are settings that only the check needs of the shop. `place` is the check's place in a
    run.
    """

    place: int
    claim: Claim = Claim.ORDERS
    severity: Severity
    title: str
    title_el: str
    consequence: str
    consequence_el: str
    section: Annotated[int, Meta(ge=1, le=11)]
    source: str
    fell: tuple[str, ...] = ()
    needs: str = ""
    stock: dict[str, int] = {}
    faults: tuple[FaultRule, ...] = ()
    settings: dict[str, Any] = {}


Subject = Literal["order", "all", "newest", "return", "forged"]


class Expectation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="expect"):
    """An `expect` step. `on` is the scenario's first order, each of its orders, its newest order, its newest return, or
    the order that a forged event names. With `warn`, a failure is only a warning."""

    on: Subject = "order"
    warn: bool = False


class Answered(Expectation, frozen=True, kw_only=True, tag="answered"):
    """Every webhook of the check, or of one event type, was answered with 200 in time. Without `exactly`, any status
    from 200 to 299 is enough, because the check `exactly_200` judges the exact status. With `at_once`, the first
    attempt must succeed; otherwise a later one may. `within_seconds` is the longest time for an answer, in
    addition to the marketplace's own limit (by default ten seconds)."""

    event: str | None = None
    exactly: bool = False
    at_once: bool = False
    within_seconds: float | None = None


class Reached(Expectation, frozen=True, kw_only=True, tag="state"):
    """The order or the return reaches this state."""

    state: str


class Called(Expectation, frozen=True, kw_only=True, tag="calls"):
    """The shop's client made between `least` and `most` calls of this name on the order. `status` is a status or a
    class such as `2xx`; `pause_seconds` is the shortest time between two of these calls."""

    call: str
    least: int = 0
    most: int | None = None
    status: str = ""
    pause_seconds: float = 0.0


class Sent(Expectation, frozen=True, kw_only=True, tag="sent"):
    """Every call of this name had these values in its body, by their paths. A text that begins with @ is a path in the
    order. Numbers and their texts are equal, as on the wire."""

    call: str
    body: dict[str, Any]


class InShop(Expectation, frozen=True, kw_only=True, tag="shop"):
    """The shop's own system shows these values, which only a probe can read (docs/checkup.md#the-probe).

    `stock` is the change of each product's pieces since the check began. A text that begins with @ is a path in the
    order. An `extra` expectation is judged only if there is a probe: without one, webhooks and calls are enough.
    """

    extra: bool = False
    orders: int | None = None
    state: tuple[str, ...] = ()
    total: float | None = None
    stock: dict[str, int] | None = None
    tracking_codes: Any = None
    customer: str | None = None


class Published(Expectation, frozen=True, kw_only=True, tag="published"):
    """The shop's system has published the stock and the price of a product (docs/contract.md#section-10).

    `price` is in cents. At most `most_repeats` batches follow an accepted one with the same content. With
    `reads_results`, the status of each batch is read after it is accepted. `during_scan`: a batch was refused because
    of the scan. With `after_scan`, an accepted batch follows the refused ones, and between these there are pauses of
    `pause_seconds`. If no batch is accepted, the check is judged after `within_seconds`.
    """

    product: str
    price: int
    most_repeats: int | None = None
    reads_results: bool = False
    during_scan: bool = False
    after_scan: bool = False
    pause_seconds: float = 0.0
    within_seconds: float = 90.0


AnyExpectation = Answered | Reached | Called | Sent | InShop | Published

# The steps that a shop's integration does itself. In a check they are waited for, unless they name who does them.
SHOP_STEPS: Final = frozenset(
    {"accept", "reject", "review", "set_as_ready", "tracking_details", "invoices", "request_voucher"}
)


def is_expectation(step: Mapping[str, Any]) -> bool:
    """Whether a step is an `expect` step, which a played scenario skips."""
    return "expect" in step


def read_expectation(step: Mapping[str, Any]) -> AnyExpectation:
    """Return the expectation of an `expect` step. Raises msgspec.ValidationError."""
    expectation: AnyExpectation = msgspec.convert(step, AnyExpectation, strict=False)
    return expectation


def is_waited_for(step: Mapping[str, Any]) -> bool:
    """Whether a check waits for this step instead of playing it."""
    return step.get("do") in SHOP_STEPS and "by" not in step and not step.get("refused")
