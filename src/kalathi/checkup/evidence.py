"""The evidence of a check: the order or return, its webhooks with their answers, the shop's calls, and the probe."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct


class ProbeAnswer(Struct, frozen=True, kw_only=True):
    """A probe's answer about one order, with the pieces of the wanted products. Members that the shop's system cannot
    show are None. `state` has the words of the contract, or `none` without an order; `total` is in euros."""

    orders: int | None = None
    state: str | None = None
    total: float | None = None
    stock: Mapping[str, int] = {}
    tracking_codes: tuple[str, ...] | None = None
    customer: str | None = None


class Probed(NamedTuple):
    """The probe's answer about an order, and the change of each product's pieces since the check began. `names` are the
    products' uids in this run, by their uids in the scenario."""

    answer: ProbeAnswer
    moved: Mapping[str, int]
    names: Mapping[str, str]


class Evidence(NamedTuple):
    """Everything about one order or return at one moment.

    `subject` is its order or return as on the wire; empty for a forged order. `webhooks` are those of the delivery log
    with their attempts, and `calls` those of the request log, both oldest first. `probed` is None without a probe.
    `batches` are the shop's calls of the Products API since the check began, oldest first. `names` are the products'
    uids in this run, by their uids in the scenario.
    """

    code: str
    subject: Mapping[str, Any]
    webhooks: Sequence[Mapping[str, Any]]
    calls: Sequence[Mapping[str, Any]]
    probed: Probed | None = None
    batches: Sequence[Mapping[str, Any]] = ()
    names: Mapping[str, str] = {}

    @property
    def state(self) -> str:
        """The state of the order or return."""
        return str(self.subject.get("state", ""))


def has_waiting_retry(webhooks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a webhook has failed and waits for its next attempt, and no webhook waits for its first."""
    pending = [webhook for webhook in webhooks if webhook["state"] == "pending"]
    return bool(pending) and all(webhook["attempts"] for webhook in pending)


def are_tried(webhooks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each webhook had at least one attempt, or needs none."""
    return all(webhook["state"] != "pending" or webhook["attempts"] for webhook in webhooks)
