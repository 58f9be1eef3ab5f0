"""The steps of a scenario on returns, by the customer, the shop and the courier."""

from typing import Any

import msgspec

from kalathi.contract.codec import encode
from kalathi.contract.requests import ReviewRequest
from kalathi.contract.words import ReturnState
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.orders import queries as orders
from kalathi.marketplace.orders import wire as orders_wire
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.returns import commands, queries, wire
from kalathi.marketplace.returns.model import FoundReturn, NewReturn
from kalathi.marketplace.returns.operations import OPERATIONS
from kalathi.marketplace.sandbox.scenario import read_as, resolve

_REVIEW = "review"


class ReturnSteps:
    """Plays single steps. Each step runs as a command, as a call does."""

    def __init__(self, database: Database, commands: CommandRunner) -> None:
        self._database = database
        self._commands = commands

    async def find(self, code: str) -> FoundReturn:
        """The return of this code."""
        return await self._database.read(lambda view: queries.find_return(view, code))

    async def request_return(self, says: dict[str, Any], order_code: str) -> str:
        """Request a return for a customer, and return its code. Paths in the step refer to the order."""

        def command(facts: Facts) -> tuple[ChangeSet, str]:
            found = orders.find_order(facts.view, order_code)
            body = orders_wire.order_body(found.document, facts.terms.offer(found.shop), facts.now)
            new = read_as(resolve(says, msgspec.json.decode(body)["order"]), NewReturn, "ask_return")
            recorded = commands.request(found, new, facts)
            return recorded.changes, recorded.returned.return_code

        return await self._commands.run(command, codes=1)

    async def move(self, word: str, says: dict[str, Any], code: str) -> tuple[str, str]:
        """Run a review or another operation. Return the return's state, and a note if the shop's own system was faster.
        Paths in the step refer to the return."""

        def command(facts: Facts) -> tuple[ChangeSet, tuple[str, str]]:
            found = queries.find_return(facts.view, code)
            body = resolve(says, msgspec.json.decode(encode(wire.render_return(found.returned))))
            if word == _REVIEW:
                if found.returned.state is not ReturnState.PENDING_MERCHANT_REVIEW:
                    return ChangeSet(), (found.returned.state, "The shop was faster.")
                answer = read_as(body, ReviewRequest, word)
                recorded = commands.review(found, answer, facts)
            else:
                operation = OPERATIONS.get(word)
                if operation is None:
                    raise invalid_parameter(f"{word[:40]} is not something that can be done to a return.")
                given = read_as(body, operation.body, word)
                recorded = operation.run(found, given, facts)
            return recorded.changes, (recorded.returned.state, "")

        return await self._commands.run(command)
