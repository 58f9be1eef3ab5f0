"""The report of a checkup, as data. The terminal, the files and the page render it."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from kalathi.marketplace.sandbox.checks import Claim, Severity


class Verdict(StrEnum):
    """The outcome of a check. `not_seen`: only a probe of the shop's own system could judge it. `not_tried`: an earlier
    failure makes it impossible to judge, or the run was stopped."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    NOT_CLAIMED = "not_claimed"
    NOT_SEEN = "not_seen"
    NOT_TRIED = "not_tried"


_JUDGED: Final = frozenset({Verdict.PASSED, Verdict.FAILED, Verdict.WARNED})


class Text(Struct, frozen=True):
    """A text for people, in English and in Greek."""

    en: str
    el: str

    def in_language(self, language: str) -> str:
        """Return the text in Greek for `el`, else in English."""
        return self.el if language == "el" else self.en


class Exchange(Struct, frozen=True, kw_only=True):
    """A webhook or a call with its answer. `status` is null without an answer. `curl` repeats it; empty if it cannot be
    repeated."""

    kind: Literal["webhook", "call"]
    at: str
    line: str
    request: str
    status: int | None
    answer: str
    curl: str


class Finding(Struct, frozen=True, kw_only=True):
    """One expectation that was not met, with the actual behaviour and the exchanges that show it."""

    expected: Text
    seen: Text
    warns: bool = False
    exchanges: tuple[Exchange, ...] = ()


class CheckResult(Struct, frozen=True, kw_only=True):
    """The result of a check. `codes` are its orders and returns. `reason` says why it was not judged. With `known`, the
    failure is one of the accepted ones; `comment` is the text beside it."""

    id: str
    claim: Claim
    severity: Severity
    title: Text
    consequence: Text
    section: int
    source: str
    fell: tuple[str, ...]
    verdict: Verdict
    codes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    reason: Text | None = None
    known: bool = False
    comment: str = ""
    duration_seconds: float = 0.0

    def list_exchanges(self) -> list[Exchange]:
        """Return the exchanges of all findings."""
        return [exchange for finding in self.findings for exchange in finding.exchanges]

    @property
    def needs_attention(self) -> bool:
        """Whether a person should read about this check: it has findings, or it fails the run."""
        return bool(self.findings) or self.fails_the_run

    @property
    def fails_the_run(self) -> bool:
        """Whether the run fails because of this check: it failed and is not known, or it is known and passed."""
        if self.known:
            return self.verdict in {Verdict.PASSED, Verdict.WARNED}
        return self.verdict is Verdict.FAILED


class NoticeKind(StrEnum):
    """The weight of a finding of the preflight: `wrong` stops the run."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


Topic = Literal["receiver", "returns", "callback", "clock", "faults", "products", "probe"]


class Notice(Struct, frozen=True, kw_only=True):
    """A finding of the preflight, which is about the set-up and never a failure of the integration."""

    kind: NoticeKind
    topic: Topic
    text: Text


class Report(Struct, frozen=True, kw_only=True):
    """A whole run. `notices` are those of the preflight. While it runs, `ended_at` is null and `results` grows.
    `command` with `--only CHECK` after it repeats one check."""

    shop_id: str
    webhook_url: str
    claims: tuple[Claim, ...]
    seed: str
    has_probe: bool
    planned: int
    command: str = "kalathi checkup"
    began_at: datetime
    ended_at: datetime | None = None
    notices: tuple[Notice, ...] = ()
    results: tuple[CheckResult, ...] = ()
    # Why the run was stopped before its last check.
    stopped: Text | None = None

    @property
    def is_set_up(self) -> bool:
        """Whether the preflight found nothing wrong."""
        return all(notice.kind is not NoticeKind.WRONG for notice in self.notices)

    @property
    def exit_status(self) -> int:
        """Return 0 if no judged check failed, 1 if one failed or the run was stopped, 2 if the set-up is wrong or no
        check could be judged."""
        if self.stopped is not None or any(result.fails_the_run for result in self.results):
            return 1
        is_judged = any(result.verdict in _JUDGED for result in self.results)
        return 0 if self.is_set_up and is_judged else 2

    def count(self) -> "dict[Verdict, int]":
        """Return the number of results by verdict; verdicts without results are left out."""
        counts = {verdict: sum(result.verdict is verdict for result in self.results) for verdict in Verdict}
        return {verdict: number for verdict, number in counts.items() if number}


class Change(NamedTuple):
    """A check whose verdict differs between two runs; None if it is missing in one of them."""

    id: str
    before: Verdict | None
    after: Verdict | None


def compare(before: Report, after: Report) -> list[Change]:
    """Return the checks with another verdict than in an earlier run, in the order of the later run."""
    old = {result.id: result.verdict for result in before.results}
    new = {result.id: result.verdict for result in after.results}
    ids = [*new, *(name for name in old if name not in new)]
    return [Change(name, old.get(name), new.get(name)) for name in ids if old.get(name) is not new.get(name)]
