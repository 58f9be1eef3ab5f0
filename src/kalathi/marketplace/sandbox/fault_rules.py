"""The fault rules in force: one set for the whole marketplace, and one for each shop that has its own."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from kalathi.marketplace.kernel.due import DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.sandbox import store
from kalathi.marketplace.sandbox.fault_checks import check_faults
from kalathi.marketplace.sandbox.faults import (
    BODY_KINDS,
    FaultPlace,
    Faults,
    Injection,
    PlacedRule,
    Target,
    find_injections,
)
from kalathi.marketplace.sandbox.rough import ROUGH
from kalathi.marketplace.sandbox.store import StoredFaults

_NO_INJECTIONS: Final[Sequence[Injection]] = ()
_NO_FAULTS: Final = Faults()
# The orders and returns of one shop whose numbers are kept.
_MOST_SUBJECTS: Final = 10_000


class RuleSet:
    """A rule set, and the numbers of its targets since it was set.

    Ids and codes are random, and a seed must give the same faults in every marketplace. So shops are numbered by their
    first call or event, calls by their shop, and orders and returns by their first event.
    """

    def __init__(self, faults: Faults, prefix: str = "") -> None:
        """`prefix` makes the faults of a shop's set independent of those of the marketplace's set."""
        self.faults = faults
        self._prefix = prefix
        rules = [PlacedRule(str(number), rule) for number, rule in enumerate(faults.rules)]
        if faults.rough:
            rules += [PlacedRule(f"rough{number}", rule) for number, rule in enumerate(ROUGH)]
        self._calls = [placed for placed in rules if placed.rule.on is FaultPlace.API]
        hooks = [placed for placed in rules if placed.rule.on is FaultPlace.WEBHOOKS]
        self._attempts = [placed for placed in hooks if placed.rule.kind not in BODY_KINDS]
        self._events = [placed for placed in hooks if placed.rule.kind in BODY_KINDS]
        self._shops: dict[str, int] = {}
        self._calls_by_shop: dict[str, int] = {}
        self._subjects_by_shop: dict[str, dict[str, int]] = {}
        # How often each rule with `times` has applied, by its position and the shop.
        self._applied: Counter[tuple[str, str]] = Counter()

    @property
    def has_api_rules(self) -> bool:
        """Whether there are rules for calls."""
        return bool(self._calls)

    def on_call(self, shop_id: str, call: str) -> Sequence[Injection]:
        """Count the call, and return the rules that apply to it."""
        if not self._calls:
            return _NO_INJECTIONS
        number = self._calls_by_shop[shop_id] = self._calls_by_shop.get(shop_id, 0) + 1
        return self._find_injections(self._calls, FaultPlace.API, shop_id, call, str(number))

    def on_attempt(self, row: DueRow, event_type: str) -> Sequence[Injection]:
        """Return the rules that apply to an attempt at a delivery, without those for bodies."""
        if not self._attempts:
            return _NO_INJECTIONS
        name = f"{self._number_subject(row)}:{row.sequence}:{row.attempts}"
        return self._find_injections(self._attempts, FaultPlace.WEBHOOKS, row.shop_id, event_type, name)

    def on_event(self, row: DueRow, event_type: str) -> Sequence[Injection]:
        """Return the rules that apply to the body of an event. They are the same for each attempt, because a retry
        sends the same bytes."""
        if not self._events:
            return _NO_INJECTIONS
        name = f"{self._number_subject(row)}:{row.sequence}"
        return self._find_injections(self._events, FaultPlace.WEBHOOKS, row.shop_id, event_type, name)

    def _find_injections(
        self, rules: Sequence[PlacedRule], on: FaultPlace, shop_id: str, call: str, name: str
    ) -> Sequence[Injection]:
        shop = self._shops.setdefault(shop_id, len(self._shops))
        target = Target(on, shop_id, call, f"{self._prefix}{shop}:{name}")
        return [found for found in find_injections(rules, self.faults.seed, target) if self._count(found, shop_id)]

    def _count(self, injection: Injection, shop_id: str) -> bool:
        """Count an application of a rule with `times`, and return whether the rule still applies."""
        if injection.rule.times is None:
            return True
        self._applied[injection.position, shop_id] += 1
        return self._applied[injection.position, shop_id] <= injection.rule.times

    def _number_subject(self, row: DueRow) -> int:
        numbers = self._subjects_by_shop.setdefault(row.shop_id, {})
        if row.subject not in numbers:
            numbers[row.subject] = next(reversed(numbers.values()), 0) + 1
            if len(numbers) > _MOST_SUBJECTS:
                del numbers[next(iter(numbers))]
        return numbers[row.subject]


class FaultRules:
    """All fault rules of this marketplace. In production mode no rule applies."""

    def __init__(
        self, database: Database, stored: StoredFaults | None, *, sandbox: bool, is_rough: bool = False
    ) -> None:
        """`stored` are the stored rules. With `is_rough`, the rough mixture applies if none are stored for the
        marketplace."""
        self._database = database
        self._sandbox = sandbox
        self._usual = Faults(rough=is_rough and sandbox)
        self._marketplace = RuleSet(self._usual)
        self._by_shop: dict[str, RuleSet] = {}
        # The front reads this before each call.
        self.has_api_rules = False
        self.changes = 0
        self._take_all(stored or StoredFaults())

    @property
    def faults(self) -> Faults:
        """The rules of the marketplace."""
        return self._marketplace.faults

    def of_shop(self, shop_id: str) -> Faults:
        """Return the shop's own rules; empty if it has none."""
        found = self._by_shop.get(shop_id)
        return _NO_FAULTS if found is None else found.faults

    def list_shops(self) -> list[str]:
        """Return the ids of the shops that have rules of their own."""
        return sorted(self._by_shop)

    async def replace_rules(self, faults: Faults) -> None:
        """Replace the rules of the marketplace with these. Raises INVALID_PARAMETER."""
        check_faults(faults)
        # Count twice, because a reading that overlaps the commit can still show the earlier rules.
        self.changes += 1
        await self._database.commit(ChangeSet(*store.replace_faults(faults)))
        self._marketplace = RuleSet(faults)
        self._note_change()

    async def replace_shop_rules(self, shop_id: str, faults: Faults) -> None:
        """Replace the shop's own rules with these; the rules and numbers of other shops stay. Raises
        INVALID_PARAMETER."""
        check_faults(faults, shop_id)
        self.changes += 1
        rows = store.drop_shop_faults(shop_id) if faults.is_empty else store.replace_shop_faults(shop_id, faults)
        await self._database.commit(ChangeSet(*rows))
        if faults.is_empty:
            self.forget_shop(shop_id)
        else:
            self._by_shop[shop_id] = _make_shop_set(faults)
            self._note_change()

    def forget_shop(self, shop_id: str) -> None:
        """End the shop's own rules, which another change set has deleted from the database."""
        self._by_shop.pop(shop_id, None)
        self._note_change()

    def follow(self, stored: StoredFaults, changes: int) -> None:
        """Apply the rules of another process. `changes` is the value of `self.changes` before they were read; if this
        process has set its own rules since then, the reading is stale and ignored."""
        if changes == self.changes:
            self._take_all(stored)

    def _take_all(self, stored: StoredFaults) -> None:
        """Apply the stored rules. A set that has not changed keeps its numbers."""
        if not self._sandbox:
            return
        marketplace = stored.marketplace or self._usual
        if marketplace != self.faults:
            self._marketplace = RuleSet(marketplace)
        before = self._by_shop
        self._by_shop = {
            shop_id: own if (own := before.get(shop_id)) and own.faults == faults else _make_shop_set(faults)
            for shop_id, faults in stored.by_shop.items()
        }
        self._note_api_rules()

    def _note_change(self) -> None:
        self.changes += 1
        self._note_api_rules()

    def _note_api_rules(self) -> None:
        self.has_api_rules = self._marketplace.has_api_rules or any(own.has_api_rules for own in self._by_shop.values())

    def on_call(self, shop_id: str, call: str) -> Sequence[Injection]:
        """Return the rules that apply to a shop's call, the marketplace's first."""
        found = self._marketplace.on_call(shop_id, call)
        own = self._by_shop.get(shop_id)
        return found if own is None else [*found, *own.on_call(shop_id, call)]

    def on_attempt(self, row: DueRow, event_type: str) -> Sequence[Injection]:
        """Return the rules that apply to an attempt at a delivery, the marketplace's first."""
        found = self._marketplace.on_attempt(row, event_type)
        own = self._by_shop.get(row.shop_id)
        return found if own is None else [*found, *own.on_attempt(row, event_type)]

    def on_event(self, row: DueRow, event_type: str) -> Sequence[Injection]:
        """Return the rules that apply to the body of an event, the marketplace's first."""
        found = self._marketplace.on_event(row, event_type)
        own = self._by_shop.get(row.shop_id)
        return found if own is None else [*found, *own.on_event(row, event_type)]


def _make_shop_set(faults: Faults) -> RuleSet:
    return RuleSet(faults, "shop:")
