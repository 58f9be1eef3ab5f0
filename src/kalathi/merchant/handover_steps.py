"""Run one hand-over of an order or a return to the shop's own system, and schedule the next attempt if it fails."""

import asyncio
import sqlite3
from typing import Final

import structlog

from kalathi.merchant.client import CallError
from kalathi.merchant.commands import HANDING_OVER, Limit
from kalathi.merchant.context import Context
from kalathi.merchant.handing_over import HandoverError, Recipient
from kalathi.merchant.inbox.handovers import Handover
from kalathi.merchant.pauses import FAILURES_BEFORE_PERSON, pause_seconds
from kalathi.merchant.stock_reader import StockReader

_log = structlog.get_logger("kalathi.merchant")

# Added to the time limit of a hand-over, so that a command reaches its own limit first, whose message names the flag.
_GRACE_SECONDS: Final = 5.0
_FAILURES: Final = (HandoverError, CallError, OSError, sqlite3.Error)


class HandoverSteps:
    """Hand over to one recipient."""

    def __init__(self, context: Context, recipient: Recipient, stock: StockReader) -> None:
        self._context = context
        self._recipient = recipient
        self._stock = stock

    async def hand_over(self, handover: Handover) -> None:
        """Hand over once. Store a failure with the time of the next attempt."""
        limit = Limit(self._context.habits.hand_over_seconds, HANDING_OVER.setting)
        try:
            async with asyncio.timeout(limit.seconds + _GRACE_SECONDS):
                await self._recipient.receive(handover.code, handover.body)
        except _FAILURES as error:
            self._postpone(handover, str(error) or f"not taken within {limit}")
        else:
            self._context.inbox.handovers.finish(handover)
            self._context.metrics.note_done("handed_over")
            if self._context.habits.told_orders_are_counted:
                await self._stock.leave(handover.code, handed_over=True)

    def _postpone(self, handover: Handover, failure: str) -> None:
        pause = pause_seconds(handover.tries)
        self._context.metrics.note_failure("handover")
        _log.warning("hand_over_failed", code=handover.code, error=failure, pause_seconds=pause)
        if handover.tries + 1 == FAILURES_BEFORE_PERSON:
            self._context.tell_person(f"{handover.code} cannot be handed over: {failure}")
        self._context.inbox.handovers.postpone(handover, self._context.clock() + pause, failure)
