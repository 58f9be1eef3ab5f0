"""The parts that every step of the connector uses."""

import time
from collections.abc import Callable

import structlog
from msgspec import Struct

from kalathi.merchant.client import AsyncClient
from kalathi.merchant.habits import Habits
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.metrics import ConnectorMetrics

_log = structlog.get_logger("kalathi.merchant")


class Context(Struct, frozen=True, kw_only=True):
    """The marketplace, the inbox, and how the connector reports its work.

    `tell` prints one line for a person; `clock` returns seconds since 1970.
    """

    client: AsyncClient
    inbox: Inbox
    tell: Callable[[str], None]
    habits: Habits
    metrics: ConnectorMetrics
    clock: Callable[[], float] = time.time

    def report(self, what: str, code: str, line: str) -> None:
        """Report a completed step. `what` is its name in the metrics and the log, `line` is for a person."""
        self.metrics.note_done(what)
        _log.info(what, code=code)
        self.tell(line)

    def tell_person(self, text: str) -> None:
        """Report a problem that only a person can solve."""
        self.tell(f"needs a person: {text}")
