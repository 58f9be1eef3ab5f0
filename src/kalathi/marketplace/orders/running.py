"""The runner of all commands."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from kalathi.marketplace.kernel.actors import CLOCK, Actor
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.idempotency import IdempotencyKeys, KeyedRequest, answer_of, remember
from kalathi.marketplace.kernel.keys import DrawnKeys, KeyReserve
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import COMMAND_ATTEMPTS, Database
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.terms import Terms

T = TypeVar("T")

# A command decides on one snapshot: it returns the change set to commit, and its result.
Command = Callable[[Facts], tuple[ChangeSet, T]]


class Answer(Protocol):
    """An answer that can be remembered under an Idempotency-Key."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The content."""
        ...


A = TypeVar("A", bound=Answer)


class CommandRunner:
    """Runs commands: reserves codes for them, commits their change sets, retries a command that lost a race
    (docs/decisions/0003), releases unused codes, and stores answers under their Idempotency-Keys."""

    def __init__(
        self,
        database: Database,
        clock: BusinessClock,
        keys: KeyReserve,
        terms: Terms,
        idempotency: IdempotencyKeys,
        actor: Actor = CLOCK,
    ) -> None:
        """`actor` is the cause of all commands of this runner."""
        self._database = database
        self._clock = clock
        self._keys = keys
        self._terms = terms
        self._idempotency = idempotency
        self._actor = actor

    def acting_as(self, actor: Actor) -> "CommandRunner":
        """Return a runner for the commands of another actor. Both share everything else."""
        return CommandRunner(self._database, self._clock, self._keys, self._terms, self._idempotency, actor)

    async def run(self, command: Command[T], *, codes: int = 0) -> T:
        """Return the command's result once its change set is on disk. `codes` is the most codes that one attempt uses.

        Raises the command's own DomainError, CONFLICT after too many lost races, StorageError.
        """
        if not codes:
            return await self._run(command, DrawnKeys([]), is_prepared=True)
        keys = await self._keys.draw(COMMAND_ATTEMPTS * codes)
        try:
            return await self._run(command, keys)
        finally:
            self._keys.give_back(keys)

    async def run_once(
        self, request: KeyedRequest | None, command: Command[A], recall: Callable[[int, bytes], A], *, codes: int = 0
    ) -> A:
        """Run the command of a request with an optional Idempotency-Key (docs/decisions/0013). A repeated request gets
        the first answer, which `recall` restores from the stored status and body.

        Raises IDEMPOTENCY_KEY for a key of another request, CONFLICT while the first request is still being answered.
        """
        if request is None:
            return await self.run(command, codes=codes)
        hours = self._terms.settings.idempotency_hours

        def answer_once(facts: Facts) -> tuple[ChangeSet, A]:
            first = answer_of(facts.view, request)
            if first is not None:
                return ChangeSet(), recall(first.status, first.body)
            changes, answer = command(facts)
            changes.add(*remember(request, answer.status, answer.body, facts.now, hours))
            return changes, answer

        with self._idempotency.alone(request):
            return await self.run(answer_once, codes=codes)

    async def _run(self, command: Command[T], keys: DrawnKeys, *, is_prepared: bool = False) -> T:
        clock, terms, actor = self._clock, self._terms, self._actor
        # An attempt that runs twice would use codes twice.
        return await self._database.run(
            lambda view: command(Facts(view, keys, terms, clock.now(), actor)), is_prepared=is_prepared
        )
