"""One hand-over of an order or a return to the shop's own system, and the time of the next try if it fails."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final

import structlog

from kalathi.merchant.client import CallError
from kalathi.merchant.commands import HANDING_OVER, Limit
from kalathi.merchant.habits import Habits
from kalathi.merchant.handing_over import HandoverError, Recipient
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox_rows import Handover
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.order_steps import OrderSteps
from kalathi.merchant.pauses import FAILURES_BEFORE_PERSON, pause_seconds

_log = structlog.get_logger("kalathi.merchant")

# Added to the limit of a hand-over, so that a command at its limit is ended first and names it.
_GRACE_SECONDS: Final = 5.0
_FAILURES: Final = (HandoverError, CallError, OSError, sqlite3.Error)


class HandoverSteps:
    """Hand over to one recipient. `tell` prints a line for a person; `clock` returns seconds since 1970."""

    def __init__(
        self,
        recipient: Recipient,
        inbox: Inbox,
        steps: OrderSteps,
        habits: Habits,
        metrics: ConnectorMetrics,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._recipient = recipient
        self._inbox = inbox
        self._steps = steps
        self._habits = habits
        self._metrics = metrics
        self._tell = tell
        self._clock = clock

    async def hand_over(self, handover: Handover) -> None:
        """Hand over once. A failure is kept with the time of the next try."""
        limit = Limit(self._habits.hand_over_seconds, HANDING_OVER.setting)
        try:
            async with asyncio.timeout(limit.seconds + _GRACE_SECONDS):
                await self._recipient.take(handover.code, handover.body)
        except _FAILURES as error:
            self._postpone(handover, str(error) or f"not taken within {limit}")
        else:
            self._inbox.handed(handover)
            self._metrics.note_done("handed_over")
            if self._habits.told_orders_are_counted:
                await self._steps.leave(handover.code, told=True)

    def _postpone(self, handover: Handover, failure: str) -> None:
        pause = pause_seconds(handover.tries)
        self._metrics.note_failure("handover")
        _log.warning("not_handed_over", code=handover.code, error=failure, pause_seconds=pause)
        if handover.tries + 1 == FAILURES_BEFORE_PERSON:
            self._tell(f"needs a person: {handover.code} cannot be handed over: {failure}")
        self._inbox.postpone_handover(handover, self._clock() + pause, failure)
