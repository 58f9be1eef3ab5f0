"""The context: the parts of the marketplace that calls use. The composition root creates it."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Protocol

from msgspec import Struct

from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.moving import ClockMover
from kalathi.marketplace.kernel.operator_token_file import OperatorToken
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.listening.listeners import Listeners
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.products.batches import ProductBatches
from kalathi.marketplace.request_log.log import RequestIds, RequestLog
from kalathi.marketplace.sandbox.declared import Declaration
from kalathi.marketplace.sandbox.demo_orders import DemoOrders
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.samples import SampleDocument
from kalathi.marketplace.shops.extra_tokens.uses import TokenUses
from kalathi.marketplace.web.callers import Callers
from kalathi.marketplace.web.waiting import Waits
from kalathi.marketplace.webhooks.dispatcher import Sender


class Description(Protocol):
    """The marketplace's description of its calls."""

    @property
    def document(self) -> bytes:
        """OpenAPI 3.1, in JSON."""
        ...

    @property
    def page(self) -> bytes:
        """HTML in UTF-8."""
        ...


class Context(Struct, frozen=True, kw_only=True):
    """The marketplace as the API and the pages see it. The operator's token is known by its hash only."""

    database: Database
    clock: BusinessClock
    # Real time in milliseconds since 1970, for sessions, invitations and the uses of tokens.
    real: Callable[[], int]
    commands: CommandRunner
    terms: Terms
    operator_token: OperatorToken
    callers: Callers
    mover: ClockMover
    request_ids: RequestIds
    # None if the log is off.
    request_log: RequestLog | None
    waits: Waits
    demo: DemoOrders
    sample: SampleDocument
    faults: FaultRules
    # The shops and fault rules of the settings file; empty in production and in `kalathi worker`.
    declared: Declaration
    description: Description
    # Sends webhooks. In production it connects to public addresses only, unless `allow_private_webhooks` is on.
    sender: Sender
    listeners: Listeners
    batches: ProductBatches
    # Starts a checkup of a shop's integration in the background; None where there is none, as in production.
    start_checkup: Callable[[str], Awaitable[None]] | None = None
    # For slow work, such as rendering documents.
    threads: Executor
    # Real seconds since the last turn of this process's worker; None without a worker.
    worker_idle_seconds: Callable[[], float | None]
    token_uses: TokenUses

    @property
    def operator_token_hash(self) -> bytes:
        """The hash of the operator's present token."""
        return self.operator_token.read_hash()
