"""The steps of a scenario on webhooks and faults: resend an event, send a forged or unknown one, and the
scenario's faults."""

from typing import Final

from kalathi.contract.codec import encode
from kalathi.contract.reading import plain_json
from kalathi.contract.words import OrderEventType
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.orders import queries, wire
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.faults import FaultRule, Faults
from kalathi.marketplace.sandbox.scenario import Scenario
from kalathi.marketplace.webhooks.listeners import url_for
from kalathi.marketplace.webhooks.resending import plan_latest_resend
from kalathi.marketplace.webhooks.store import announce, last_sequence

_UNKNOWN_EVENT: Final = "order_archived"
# Added to the number of an order's code: no marketplace gives this code to an order of the same day.
_FAR_AWAY: Final = 90_000_000


class WebhookSteps:
    """Plays single steps for one shop."""

    def __init__(self, commands: CommandRunner, faults: FaultRules) -> None:
        self._commands = commands
        self._faults = faults

    async def inject(self, scenario: Scenario, shop_id: str) -> None:
        """Add the scenario's fault rules to those of the shop."""
        await self._replace_rules(shop_id, (*self._faults.of_shop(shop_id).rules, *scenario.faults))

    async def end_faults(self, scenario: Scenario, shop_id: str) -> None:
        """Remove the scenario's fault rules from those of the shop."""
        present = self._faults.of_shop(shop_id).rules
        await self._replace_rules(shop_id, tuple(rule for rule in present if rule not in scenario.faults))

    async def _replace_rules(self, shop_id: str, rules: tuple[FaultRule, ...]) -> None:
        present = self._faults.of_shop(shop_id)
        await self._faults.replace_shop_rules(shop_id, Faults(seed=present.seed, rules=rules, rough=present.rough))

    async def resend(self, code: str) -> None:
        """Send the latest webhook of the order again, with the same bytes."""

        def command(facts: Facts) -> tuple[ChangeSet, None]:
            found = queries.find_order(facts.view, code)
            return plan_latest_resend(facts.view, found.shop.id, code, to_millis(facts.now))[0], None

        await self._commands.run(command)

    async def send_unknown_event(self, code: str) -> None:
        """Send a webhook of the order with an event type that the contract does not have."""
        await self._commands.run(lambda facts: (_announce(facts, code, code, _UNKNOWN_EVENT), None))

    async def send_forged_event(self, code: str) -> str:
        """Send a `new_order` webhook that looks like the order's, for an order that does not exist. Return its code."""
        day, _, number = code.partition("-")
        forged = f"{day}-{int(number) + _FAR_AWAY}"
        await self._commands.run(lambda facts: (_announce(facts, code, forged, OrderEventType.NEW_ORDER), None))
        return forged


def _announce(facts: Facts, code: str, named: str, event_type: str) -> ChangeSet:
    """Return the rows of a webhook with the order of `code`, in which the order's code is `named`."""
    found = queries.find_order(facts.view, code)
    body = wire.event_body(OrderEventType.NEW_ORDER, found.document, facts.terms.offer(found.shop), facts.now, None)
    event = plain_json(body)
    event["event_type"] = event_type
    event["order"]["code"] = named
    sequence = last_sequence(facts.view, found.shop.id, named) + 1
    has_url = url_for(facts.view, found.shop, OrderEventType.NEW_ORDER) is not None
    rows = announce(
        found.shop.id,
        named,
        sequence,
        event_type=event_type,
        body=encode(event),
        at_millis=to_millis(facts.now),
        has_url=has_url,
    )
    return ChangeSet(*rows)
