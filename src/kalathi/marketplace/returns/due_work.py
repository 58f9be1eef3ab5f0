"""Due jobs of returns: the expiry of a shop's review."""

from kalathi.contract.words import ReturnState
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.due import DueRow, complete, repeat_at
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.returns import machine, store
from kalathi.marketplace.returns.commands import record


class ReturnDueWork:
    """The handler of a return's due row. It completes the row in the same change set as its effect. If the return is no
    longer under review, it only completes the row."""

    def __init__(self, commands: CommandRunner) -> None:
        self._commands = commands

    async def expire(self, row: DueRow) -> None:
        """Expire a return without a decision."""

        def command(facts: Facts) -> tuple[ChangeSet, None]:
            found = store.by_code(facts.view, row.subject)
            if found is None or found.returned.state is not ReturnState.PENDING_MERCHANT_REVIEW:
                return ChangeSet(complete(row)), None
            until = found.returned.review_until
            if until is not None and facts.now < until:
                return ChangeSet(repeat_at(row, to_millis(until))), None
            changes = record(found, machine.expire(found.returned, facts.now), facts).changes
            changes.add(complete(row))
            return changes, None

        await self._commands.run(command)
