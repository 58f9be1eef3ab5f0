"""The stored fault rules, which survive restarts, and the transport that applies them to deliveries."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from kalathi.marketplace.kernel.due import DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.sandbox import store
from kalathi.marketplace.sandbox.faults import FaultKind, FaultPlace, FaultRule, Faults, Struck, check_faults, strikes
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.marketplace.webhooks.dispatcher import Sender

_NO_RULES: Final[Sequence[FaultRule]] = ()


class FaultRules:
    """The fault rules of this marketplace."""

    def __init__(self, database: Database, laid_down: Faults | None, *, sandbox: bool) -> None:
        """`laid_down` are the stored rules. In production mode no rule applies."""
        self._database = database
        self._sandbox = sandbox
        self.faults = laid_down if sandbox and laid_down is not None else Faults()
        self._places = {rule.on for rule in self.faults.rules}
        # Shops are numbered by their first call. Their ids are random, and a seed must give the same faults again.
        self._places_of_shops: dict[str, int] = {}
        self._calls: Counter[str] = Counter()
        self.changes = 0

    async def lay_down(self, faults: Faults) -> None:
        """Replace the fault rules with these. Raises INVALID_PARAMETER."""
        check_faults(faults)
        # Count twice, because a reading that overlaps the commit can still show the earlier rules.
        self.changes += 1
        await self._database.commit(ChangeSet(*store.replace_faults(faults)))
        self._take(faults)
        self.changes += 1

    def follow(self, laid_down: Faults | None, changes: int) -> None:
        """Apply the rules of another process. `changes` is the value of `self.changes` before they were read; if this
        process has set its own rules since then, the reading is stale and ignored."""
        if changes != self.changes:
            return
        faults = laid_down if self._sandbox and laid_down is not None else Faults()
        if faults != self.faults:
            self._take(faults)

    def _take(self, faults: Faults) -> None:
        self.faults = faults
        self._places = {rule.on for rule in faults.rules}
        self._calls.clear()
        self._places_of_shops.clear()

    @property
    def strikes_api(self) -> bool:
        """Whether there are rules for calls. The front checks this before each call."""
        return FaultPlace.API in self._places

    def on_call(self, shop_id: str, call: str) -> Sequence[FaultRule]:
        """Return the rules that apply to a shop's call; the shop's calls are counted since the rules were set."""
        self._calls[shop_id] += 1
        place = self._places_of_shops.setdefault(shop_id, len(self._places_of_shops))
        return strikes(self.faults, Struck(FaultPlace.API, shop_id, call, f"{place}:{self._calls[shop_id]}"))

    def on_attempt(self, row: DueRow, event_type: str) -> Sequence[FaultRule]:
        """Return the rules that apply to an attempt at a delivery."""
        if FaultPlace.WEBHOOKS not in self._places:
            return _NO_RULES
        name = f"{row.subject}:{row.sequence}:{row.attempts}"
        return strikes(self.faults, Struck(FaultPlace.WEBHOOKS, row.shop_id, event_type, name))


class FaultyTransport:
    """A transport of deliveries that injects the faults of the rules."""

    def __init__(
        self, sender: Sender, book: FaultRules, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._sender = sender
        self._book = book
        self._sleep = sleep

    async def send(
        self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Return the endpoint's answer, or an injected one. A delay comes before any other fault."""
        rules = self._book.on_attempt(row, event_type)
        for rule in rules:
            if rule.kind is FaultKind.DELAY:
                await self._sleep(rule.seconds)
        for rule in rules:
            if rule.kind is not FaultKind.DELAY:
                return await self._go_wrong(rule, row, url, body, headers)
        return await self._sender.post(url, body, headers)

    async def _go_wrong(
        self, rule: FaultRule, row: DueRow, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
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
