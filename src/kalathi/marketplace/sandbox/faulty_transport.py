"""The transport that applies fault rules to deliveries."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from kalathi.marketplace.kernel.due import DueRow
from kalathi.marketplace.sandbox.body_faults import change_body
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.faults import FaultKind, FaultRule
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.marketplace.webhooks.dispatcher import Sender


class FaultyTransport:
    """A transport of deliveries that injects the faults of the rules."""

    def __init__(
        self, sender: Sender, rules: FaultRules, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._sender = sender
        self._rules = rules
        self._sleep = sleep

    def prepare_body(self, row: DueRow, event_type: str, body: bytes) -> bytes:
        """Return the event's body with the faults of the rules, the same for each attempt."""
        for injection in self._rules.on_event(row, event_type):
            body = change_body(body, injection.rule.kind, injection.make_chance(), injection.rule.member)
        return body

    async def send(
        self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Return the endpoint's answer, or an injected one. A delay comes before any other fault."""
        rules = [injection.rule for injection in self._rules.on_attempt(row, event_type)]
        for rule in rules:
            if rule.kind is FaultKind.DELAY:
                await self._sleep(rule.seconds)
        for rule in rules:
            if rule.kind is not FaultKind.DELAY:
                return await self._inject(rule, row, url, body, headers)
        return await self._sender.post(url, body, headers)

    async def _inject(self, rule: FaultRule, row: DueRow, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if rule.kind is FaultKind.REORDER:
            # Only the first attempt is held back, so that the subject's next event can be sent in the meantime.
            if row.attempts:
                return await self._sender.post(url, body, headers)
            return Answer(url, None, SendError.HELD_BACK, b"", 0, hold_seconds=rule.seconds)
        if rule.kind is FaultKind.DUPLICATE:
            await self._sender.post(url, body, headers)
            return await self._sender.post(url, body, headers)
        if rule.after:
            await self._sender.post(url, body, headers)
        if rule.kind is FaultKind.TIMEOUT:
            await self._sleep(rule.seconds)
            return Answer(url, None, SendError.INJECTED_TIMEOUT, b"", int(rule.seconds * 1000))
        if rule.kind is FaultKind.DROP:
            return Answer(url, None, SendError.INJECTED_DROP, b"", 0)
        status = 429 if rule.kind is FaultKind.RATE_LIMIT else rule.status
        return Answer(url, status, SendError.INJECTED_STATUS, b"", 0)
