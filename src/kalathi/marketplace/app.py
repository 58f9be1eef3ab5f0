"""The composition root of the marketplace: create every part, and give each kind of due row its handler."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from kalathi.marketplace.api.application import application
from kalathi.marketplace.api.docs_page import ApiDescription
from kalathi.marketplace.api.examples import load_examples
from kalathi.marketplace.api.merchant_routes import name_call
from kalathi.marketplace.api.openapi import document
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.api.sandbox import ip_ranges
from kalathi.marketplace.cleanup import Cleanup
from kalathi.marketplace.couriers.printing import DocumentPrinter
from kalathi.marketplace.figures.folding import Folding
from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.idempotency import IdempotencyKeys
from kalathi.marketplace.kernel.keys import KeyReserve
from kalathi.marketplace.kernel.moving import ClockMover, load_offset_millis
from kalathi.marketplace.kernel.operator_token_file import OperatorToken
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.kernel.storage.opening import open_database, sqlite_url
from kalathi.marketplace.listening.listeners import Listeners
from kalathi.marketplace.orders.due_work import OrderDueWork
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.panel.application import with_pages
from kalathi.marketplace.panel.live import ChangeSignals
from kalathi.marketplace.products.batches import ProductBatches
from kalathi.marketplace.request_log.log import RequestIds, RequestLog
from kalathi.marketplace.returns.due_work import ReturnDueWork
from kalathi.marketplace.sandbox import store as sandbox
from kalathi.marketplace.sandbox.declared import NOTHING_DECLARED, Declaration
from kalathi.marketplace.sandbox.declared_start import apply_declaration
from kalathi.marketplace.sandbox.demo_orders import DemoOrders
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.faulty_transport import FaultyTransport
from kalathi.marketplace.sandbox.samples import SampleDocument
from kalathi.marketplace.sandbox.store import StoredFaults
from kalathi.marketplace.shops.extra_tokens.uses import TokenUses
from kalathi.marketplace.web.callers import Callers
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.measuring import with_measuring
from kalathi.marketplace.web.request_ids import with_request_ids
from kalathi.marketplace.web.waiting import Waits
from kalathi.marketplace.webhooks.dispatcher import Dispatcher, Sender
from kalathi.marketplace.webhooks.guard import is_public
from kalathi.marketplace.webhooks.http1.tunnel import parse_proxy
from kalathi.marketplace.webhooks.listeners import forget_listeners
from kalathi.marketplace.webhooks.openings import Openings
from kalathi.marketplace.webhooks.retry import RetrySchedule
from kalathi.marketplace.webhooks.sending import WebhookSender
from kalathi.marketplace.worker.handlers import list_handlers, list_job_kinds, listener_workers
from kalathi.marketplace.worker.running import Worker

_log = structlog.get_logger("kalathi")

ADDRESS_FILE: Final = "address"
DATABASE_FILE: Final = "kalathi.db"
REQUESTS_FOLDER: Final = "requests"
# The longest delay until another process's change is noticed without a notification, and the shortest pause between two
# reads of such changes.
_POLL_SECONDS: Final = 1.0
_AT_MOST_EVERY_SECONDS: Final = 0.02
_COUNT_EVERY_SECONDS: Final = 5.0
_WRITE_EVERY_SECONDS: Final = 60.0


class _Outside(NamedTuple):
    """The parts that `open_marketplace` gets from outside."""

    declared: Declaration
    real: Callable[[], int]
    sender: Sender | None
    start_checkup: Callable[[str], Awaitable[None]] | None


class _Kept(NamedTuple):
    """The stored state of a sandbox, read before the worker starts."""

    offset_millis: int
    faults: StoredFaults


def _load_kept(view: View) -> _Kept:
    return _Kept(load_offset_millis(view), sandbox.load_faults(view))


class Marketplace:
    """The API and the worker of one process over one database. Create it with `open_marketplace`."""

    _cleaning: asyncio.Task[None] | None = None
    _counting: asyncio.Task[None] | None = None
    _working: asyncio.Task[None] | None = None
    _stopping = False
    _started_at = 0.0

    def __init__(self, settings: Settings, address: str, database: Database, kept: _Kept, outside: _Outside) -> None:
        """Create all parts. Raises ValueError for an invalid setting."""
        real = outside.real
        ip_ranges(settings.ip_ranges, settings.ip_ranges_modified)
        self.database, schedule = database, RetrySchedule(settings.webhook_attempt_minutes)
        terms = Terms(settings, (settings.public_url or address).rstrip("/"))
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kalathi-voucher")
        self._network = outside.sender or _network(settings)
        clock = BusinessClock(kept.offset_millis, real)
        self._printer, idempotency = DocumentPrinter(), IdempotencyKeys(database)
        faults = FaultRules(database, kept.faults, sandbox=settings.mode == "sandbox", is_rough=settings.rough)
        transport = FaultyTransport(self._network, faults)
        commands = CommandRunner(database, clock, KeyReserve(database), terms, idempotency)
        self._batches = ProductBatches(database, clock, settings)
        due_work = OrderDueWork(database, commands, clock, terms, self._printer, self._threads)
        handlers = list_handlers(
            due_work, ReturnDueWork(commands), Openings(database, clock), idempotency, self._batches
        )
        dispatcher = Dispatcher(database, clock, transport, schedule)
        self.worker = Worker(database, clock, list_job_kinds(settings, dispatcher, handlers))
        self.request_log = _open_request_log(settings, clock, real)
        self.token_uses = TokenUses(database, real)
        self.folding = Folding(database, real, clock.now_millis)
        context = self._make_context(terms, clock, commands, faults, transport, schedule, outside)
        self._context = replace(context, start_checkup=outside.start_checkup)
        self._signals, self._listeners = ChangeSignals(database), self._context.listeners
        self.asgi = _make_asgi(self._context, self._signals)
        self._clock, self._faults, self._settings = clock, faults, settings
        self._news, self._ending = asyncio.Event(), asyncio.Event()
        self._cleanup = Cleanup(database, clock, settings, self._batches, self.request_log, self._ending)
        self._noting = asyncio.create_task(
            self._repeat(self._write_figures, _WRITE_EVERY_SECONDS, "figures_not_written")
        )
        self._following = asyncio.create_task(self._follow()) if database.is_shared else None

    def _make_context(
        self,
        terms: Terms,
        clock: BusinessClock,
        commands: CommandRunner,
        faults: FaultRules,
        transport: FaultyTransport,
        schedule: RetrySchedule,
        outside: _Outside,
    ) -> Context:
        database, settings, real = self.database, terms.settings, outside.real
        make_worker = listener_workers(settings, database, clock, schedule)
        return Context(
            database=database,
            clock=clock,
            commands=commands,
            terms=terms,
            operator_token=OperatorToken(settings),
            real=real,
            token_uses=self.token_uses,
            callers=Callers(settings),
            mover=ClockMover(database, clock, limit_seconds=settings.clock_limit_seconds, moved=self._wake),
            request_ids=RequestIds(),
            request_log=self.request_log,
            waits=Waits(database),
            demo=DemoOrders(terms.public_url),
            sample=SampleDocument(self._printer, self._threads),
            faults=faults,
            declared=outside.declared,
            description=ApiDescription(
                lambda: document(settings.vendor),
                lambda: load_examples((route.method, route.path) for route in ROUTES),
                can_try=settings.mode == "sandbox",
            ),
            sender=self._network,
            batches=self._batches,
            listeners=Listeners(database, clock, faults, transport, make_worker),
            threads=self._threads,
            worker_idle_seconds=self._idle_seconds,
        )

    def start(self) -> None:
        """Start the worker, and the hourly cleanup with the indexing of earlier orders."""
        self._started_at = time.monotonic()
        self._working = asyncio.create_task(self._work())
        self._cleaning = asyncio.create_task(self._cleanup.run())
        self._counting = asyncio.create_task(self._repeat(self._count, _COUNT_EVERY_SECONDS, "counting_failed"))

    async def _work(self) -> None:
        if not self.database.is_shared:
            # No listener can be connected to the one process that serves a database when it starts. If this cannot be
            # written, the leases of the process before it expire.
            with contextlib.suppress(StorageError):
                await self.database.commit(ChangeSet(forget_listeners()))
        await self.worker.run()

    def hang_up(self) -> None:
        """End the streams of pages and listeners, and answer the waiting calls, so that the server need not wait for
        them."""
        self._signals.close()
        self._context.waits.close()
        self._listeners.close()

    def _wake(self) -> None:
        self.worker.wake()
        self._listeners.wake()

    def _idle_seconds(self) -> float | None:
        if self._working is None:
            return None
        return time.monotonic() - (self.worker.last_turn_at or self._started_at)

    async def _count(self) -> None:
        await self.folding.count_moves(self._ending)

    async def _write_figures(self) -> None:
        """Write the uses of tokens and the deliveries of this process."""
        await self.token_uses.write()
        await self.folding.write_minute()

    async def _repeat(self, work: Callable[[], Awaitable[None]], every_seconds: float, failure: str) -> None:
        """Do this work regularly, and once more at the end. `failure` is the event of the log if it fails."""
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), every_seconds)
            try:
                await work()
            except Exception:  # noqa: BLE001  (the work is repeated at the next turn, and must not end the process)
                _log.warning(failure, exc_info=True)

    async def _follow(self) -> None:
        """Apply the changes of business time and fault rules that other processes make in the same database."""
        for table in ("counters", "sandbox_faults"):
            self.database.subscribe(table, self._news.set)
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _POLL_SECONDS)
            if self._stopping:
                return
            self._news.clear()
            changes = self._faults.changes
            try:
                kept = await self.database.read_point(_load_kept)
            except StorageError:
                continue  # The database is unreachable for a moment; writers get the error.
            self._faults.follow(kept.faults, changes)
            if self._clock.follow(kept.offset_millis):
                self._wake()
            await asyncio.sleep(_AT_MOST_EVERY_SECONDS)

    async def stop(self) -> None:
        """Finish jobs in flight and close the database; no due job is lost."""
        try:
            self._stopping = True
            self._ending.set()
            self.hang_up()
            self.database.stop_waiting()
            await self._listeners.stop()
            self.worker.end()
            await self._noting
            if self._cleaning is not None:
                await self._cleaning
            if self._counting is not None:
                await self._counting
            if self._working is not None:
                await self._working
            await self.worker.drain()
        finally:
            if self._following is not None:
                # The event is set instead of cancelling the task: a wait that ends at the same moment would swallow the
                # cancellation.
                self._news.set()
                await self._following
            await self._network.close()
            self._threads.shutdown()
            if self.request_log is not None:
                self.request_log.close()
            await self.database.close()


async def open_marketplace(
    settings: Settings,
    address: str,
    *,
    declared: Declaration = NOTHING_DECLARED,
    is_applied: bool = False,
    real: Callable[[], int] = real_millis,
    sender: Sender | None = None,
    start_checkup: Callable[[str], Awaitable[None]] | None = None,
) -> Marketplace:
    """Open the database, apply the declared start unless it `is_applied` already, and create the marketplace, which
    listens on `address`. Tests pass their own real time (milliseconds since 1970) and their own network for webhooks.
    `start_checkup` starts a checkup of a shop's integration, for the page of a sandbox.

    Raises DatabaseInUseError, NewerDatabaseError, StorageError, and ValueError for an invalid setting or declaration.
    """
    database = await open_database(_database_url(settings), keep_copy=settings.backup_before_upgrade == "on")
    try:
        if not is_applied:
            await _apply_declared(database, settings, declared)
        kept = await database.read(_load_kept)
        return Marketplace(settings, address, database, kept, _Outside(declared, real, sender, start_checkup))
    except BaseException:
        await database.close()
        raise


async def apply_declared(settings: Settings, declared: Declaration) -> None:
    """Apply the declared start before several processes open the same database. Raises as `open_marketplace` does."""
    database = await open_database(_database_url(settings), keep_copy=settings.backup_before_upgrade == "on")
    try:
        await _apply_declared(database, settings, declared)
    finally:
        await database.close()


async def _apply_declared(database: Database, settings: Settings, declared: Declaration) -> None:
    if declared.is_empty and not settings.rough:
        return
    operator = OperatorToken(settings).read_hash()
    reasons = await database.run(
        lambda view: apply_declaration(view, declared, operator, turns_rough_on=settings.rough)
    )
    if reasons:
        raise ValueError("\n  ".join(reasons))


def _database_url(settings: Settings) -> str:
    return settings.database or sqlite_url(settings.data / DATABASE_FILE)


def _network(settings: Settings) -> WebhookSender:
    return WebhookSender(
        user_agent=settings.user_agent,
        timeout_seconds=settings.webhook_timeout_seconds,
        connections=settings.webhook_slots,
        https_only=settings.mode == "production",
        allowed=None if settings.mode == "sandbox" or settings.allow_private_webhooks else is_public,
        proxy=parse_proxy(settings.webhook_proxy),
    )


def _open_request_log(settings: Settings, clock: BusinessClock, real: Callable[[], int]) -> RequestLog | None:
    """Return the request log, or None if it is off."""
    is_sandbox = settings.mode == "sandbox"
    if settings.request_log == "off" or (settings.request_log == "auto" and not is_sandbox):
        return None
    return RequestLog(
        settings.data / REQUESTS_FOLDER,
        megabytes=settings.request_log_megabytes,
        days=settings.request_log_days,
        has_bodies=is_sandbox,
        clock=clock,
        real=real,
        name_call=name_call,
    )


def _make_asgi(context: Context, signals: ChangeSignals) -> ASGIApp:
    api = _with_cors(application(context), context.terms.settings)
    front = with_request_ids(with_pages(api, context, signals), context.request_ids.make)
    return with_measuring(front, context.database.metrics.note_request)


def _with_cors(api: ASGIApp, settings: Settings) -> ASGIApp:
    """Return the API. In a sandbox, pages of the origins of `cors_origins` may call it from a browser."""
    origins = [origin for part in settings.cors_origins.split(",") if (origin := part.strip())]
    if not origins or settings.mode != "sandbox":
        return api
    return CORSMiddleware(
        api,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "Request-Id"],
    )
