"""The stage of a checkup: one shop of a running marketplace, as its operator plays and sees it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote

from msgspec import to_builtins

from kalathi.checkup.evidence import Evidence, has_waiting_retry
from kalathi.checkup.judging_products import BATCH_CALLS
from kalathi.marketplace.sandbox.faults import FaultRule
from kalathi.operator_calls import OperatorError, are_settled
from kalathi.simulation.operator import OperatorClient

T = TypeVar("T")

_SHOPS: Final = "/marketplace/shops"
# The last attempt at a webhook comes 19 minutes after its event.
SWEEP_SECONDS: Final = 20 * 60
_MOST_SWEEPS: Final = 4
# A little more than the time limit of a webhook.
_FIRST_ATTEMPT_SECONDS: Final = 14.0
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.2
_SHORTEST_QUIET_SECONDS: Final = 0.05
_REACTIONS: Final = 3
_MOST_QUIET_SECONDS: Final = 60.0
# In place of a password in a URL.
_MASK: Final = "***@"
_NOT_FOUND: Final = "not_found"


async def check_sandbox(operator: OperatorClient) -> None:
    """Check that the marketplace is a sandbox with a request log. Raises OperatorError with a sentence."""
    try:
        await operator.call("GET", "/marketplace/scenarios")
        await operator.call("GET", "/marketplace/requests", query={"per": 1})
    except OperatorError as error:
        if error.is_unreachable or not any(entry.code == _NOT_FOUND for entry in error.errors):
            raise
        sentence = f"A checkup or a recipe needs a sandbox with its request log. {error}"
        raise OperatorError(sentence, error.errors) from None


class Stage:
    """Plays parts of scenarios for one shop, and collects the shop's answers and calls.

    Times are real. `patience_seconds` is the longest wait for the shop. `reaction_seconds` is the shop's slowest answer
    to an order so far. Before something is judged that must *not* happen, the checkup waits three times as long, but
    not longer than `most_quiet_seconds`. Every method that calls the marketplace raises OperatorError.
    """

    def __init__(
        self,
        operator: OperatorClient,
        shop_id: str,
        *,
        patience_seconds: float,
        most_quiet_seconds: float = _MOST_QUIET_SECONDS,
        is_own: bool = False,
        may_sweep: bool = True,
    ) -> None:
        """`is_own`: the marketplace was started for this run. `may_sweep`: a wait may move the clock, so that webhooks
        are retried; not while a person follows."""
        self.operator = operator
        self.is_own = is_own
        self.shop_id = shop_id
        self.patience_seconds = patience_seconds
        self.reaction_seconds = 0.0
        self._most_quiet_seconds = most_quiet_seconds
        self._may_sweep = may_sweep
        self._path = f"{_SHOPS}/{quote(shop_id, safe='')}"

    async def show_shop(self) -> dict[str, Any]:
        """Return the shop's settings."""
        shop: dict[str, Any] = (await self.operator.call("GET", self._path))["shop"]
        return shop

    async def change_shop(self, changes: Mapping[str, Any]) -> None:
        """Change settings of the shop."""
        if changes:
            await self.operator.call("PATCH", self._path, dict(changes))

    async def try_webhook(self, *, returns: bool = False) -> dict[str, Any]:
        """Send a sample webhook, and return the answer to it."""
        return await self.operator.call("POST", f"{self._path}/try_webhook", {"returns": returns})

    async def put_report(self, report: object) -> None:
        """Store the report, which the page shows."""
        await self.operator.call("PUT", f"{self._path}/checkup", report)

    async def play(
        self,
        scenario: str,
        values: Mapping[str, Any],
        first: int,
        end: int,
        orders: Sequence[str] = (),
        returns: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Play the steps from `first` to before `end`. Without orders, the scenario's order is placed first."""
        body = {
            "shop_id": self.shop_id,
            "set": dict(values),
            "first_step": first,
            "end_step": end,
            "orders": list(orders),
            "returns": list(returns),
        }
        return await self.operator.call("POST", f"/marketplace/scenarios/{scenario}", body, seconds=120)

    @asynccontextmanager
    async def prepared(
        self, settings: Mapping[str, Any], faults: Sequence[FaultRule], *, has_faults: bool
    ) -> AsyncIterator[None]:
        """Give the shop these settings and further fault rules, and restore both afterwards. `has_faults`: the steps in
        between change its fault rules."""
        present = await self.operator.faults(self.shop_id)
        async with self.changed(settings):
            try:
                if faults:
                    await self._replace_faults(present, [*present["rules"], *map(to_builtins, faults)])
                yield
            finally:
                if has_faults:
                    await self._replace_faults(present, present["rules"])

    @asynccontextmanager
    async def changed(self, settings: Mapping[str, Any]) -> AsyncIterator[None]:
        """Give the shop these settings, and restore them afterwards. Raises ValueError if a webhook URL with a password
        would be replaced, because the marketplace does not show the password."""
        shop = await self.show_shop()
        changed = {name: value for name, value in settings.items() if shop[name] != value}
        if any(_MASK in str(shop[name]) for name in changed):
            raise ValueError(
                f"the webhook URL of shop {self.shop_id} has a password, so it cannot be restored after the run. Leave"
                " out --webhook-url and --returns-url, or use another shop."
            )
        await self.change_shop(changed)
        try:
            yield
        finally:
            await self.change_shop({name: shop[name] for name in changed})

    async def _replace_faults(self, present: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> None:
        """Set the shop's fault rules, with the seed of the present ones."""
        is_rough = present.get("rough", False)
        await self.operator.replace_rules(present["seed"], list(map(dict, rules)), rough=is_rough, shop_id=self.shop_id)

    async def gather(self, code: str, *, is_return: bool, has_subject: bool = True) -> Evidence:
        """Return the evidence about an order or a return, without the probe's. `has_subject` is false for the order of
        a forged webhook, of which there is only the delivery log. Calls that only read are left out."""
        if has_subject:
            shown = await (self.operator.show_return(code) if is_return else self.operator.order(code))
            subject, webhooks = shown["return" if is_return else "order"], shown["deliveries"]
        else:
            details = [await self.operator.delivery(entry["id"]) for entry in await self.operator.deliveries(code)]
            subject, webhooks = {}, [detail["delivery"] | {"attempts": detail["attempts"]} for detail in details]
        query = {"subject": code, "method": "POST", "per": 100}
        calls = (await self.operator.call("GET", "/marketplace/requests", query=query))["requests"]
        return Evidence(code, subject, webhooks, calls[::-1])

    async def list_calls(self, since: str) -> list[dict[str, Any]]:
        """Return the latest calls of the shop since a business time, and those without a valid token or `Accept` header
        of any shop, oldest first."""
        filters: tuple[dict[str, object], ...] = ({"shop_id": self.shop_id}, {"status": 401}, {"status": 406})
        found: dict[str, dict[str, Any]] = {}
        for wanted in filters:
            query = {"since": since, "per": 100, **wanted}
            answer = await self.operator.call("GET", "/marketplace/requests", query=query)
            found |= {call["id"]: call for call in answer["requests"]}
        return sorted(found.values(), key=lambda call: str(call["real_at"]))

    async def list_batches(self, since: str) -> list[dict[str, Any]]:
        """Return the shop's calls of the Products API since a business time, oldest first."""
        found: list[dict[str, Any]] = []
        for call in BATCH_CALLS:
            query = {"since": since, "per": 100, "shop_id": self.shop_id, "call": call}
            found += (await self.operator.call("GET", "/marketplace/requests", query=query))["requests"]
        return sorted(found, key=lambda call: str(call["real_at"]))

    async def now(self) -> str:
        """Return business time."""
        return str((await self.operator.clock(None))["now"])

    async def sweep(self, seconds: int = SWEEP_SECONDS) -> None:
        """Move the clock forward, so that every retry takes place."""
        await self.operator.clock({"advance_seconds": seconds})

    async def settle(self, codes: Sequence[str]) -> None:
        """Wait until each webhook of these orders and returns had its first attempt."""

        async def look() -> list[dict[str, Any]]:
            return [webhook for code in codes for webhook in await self.operator.deliveries(code)]

        await self.wait_until(look, are_settled, seconds=_FIRST_ATTEMPT_SECONDS)

    async def tidy(self, codes: Sequence[str]) -> None:
        """Move the clock once if a webhook still waits for a retry, so that it cannot disturb the next check."""
        await self.settle(codes)
        webhooks = [webhook for code in codes for webhook in await self.operator.deliveries(code)]
        if any(webhook["state"] == "pending" for webhook in webhooks):
            await self.sweep()
            await self.settle(codes)

    async def wait_until(self, look: Callable[[], Awaitable[T]], is_met: Callable[[T], bool], *, seconds: float) -> T:
        """Look until the result is met, or until the time is over. Return the last result."""
        ends_at, pause = time.monotonic() + seconds, _FIRST_PAUSE_SECONDS
        while True:
            found = await look()
            if is_met(found) or time.monotonic() >= ends_at:
                return found
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def wait_with_sweeps(
        self,
        look: Callable[[], Awaitable[T]],
        is_met: Callable[[T], bool],
        webhooks_of: Callable[[T], Sequence[Mapping[str, Any]]],
        *,
        delay_seconds: float = 0.0,
    ) -> T:
        """Look until the result is met. If it is not met within a quiet time, and a webhook waits for a retry, move the
        clock so that the retry takes place. Give up after the patience and `delay_seconds`, by which an injected fault
        slows the shop down."""
        found = await self.wait_until(look, is_met, seconds=min(self.quiet_seconds, self.patience_seconds))
        for _ in range(_MOST_SWEEPS):
            if is_met(found) or not self._may_sweep or not has_waiting_retry(webhooks_of(found)):
                break
            await self.sweep()
            found = await self.wait_until(look, is_met, seconds=self.quiet_seconds)
        if is_met(found):
            return found
        return await self.wait_until(look, is_met, seconds=self.patience_seconds + delay_seconds)

    @property
    def quiet_seconds(self) -> float:
        """The real seconds within which the shop has reacted, by its slowest reaction so far."""
        longest = min(self.patience_seconds, self._most_quiet_seconds)
        return min(longest, max(_SHORTEST_QUIET_SECONDS, _REACTIONS * self.reaction_seconds))

    def note_reaction(self, seconds: float) -> None:
        """Remember how long the shop took to answer an order."""
        self.reaction_seconds = max(self.reaction_seconds, seconds)
