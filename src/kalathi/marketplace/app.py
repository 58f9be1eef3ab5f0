"""The composition root of the marketplace: create every part, and give each kind of due row its handler."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from kalathi.marketplace.api.application import application
from kalathi.marketplace.api.docs_page import ApiDescription
from kalathi.marketplace.api.openapi import document
from kalathi.marketplace.api.sandbox import ip_ranges
from kalathi.marketplace.couriers.printing import DocumentPrinter
from kalathi.marketplace.kernel.clock import BusinessClock, real_millis, to_millis
from kalathi.marketplace.kernel.due import DueKind, DueRow
from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.kernel.idempotency import IdempotencyKeys
from kalathi.marketplace.kernel.ids import secret_token
from kalathi.marketplace.kernel.keys import KeyReserve
from kalathi.marketplace.kernel.moving import ClockMover, load_offset_millis
from kalathi.marketplace.kernel.production import TOO_SHORT, is_short
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.kernel.storage.opening import open_database
from kalathi.marketplace.listening.listeners import Listeners
from kalathi.marketplace.orders.due_work import OrderDueWork
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.panel.application import with_pages
from kalathi.marketplace.panel.live import ChangeSignals
from kalathi.marketplace.returns.due_work import ReturnDueWork
from kalathi.marketplace.sandbox import store as sandbox
from kalathi.marketplace.sandbox.demo_orders import DemoOrders
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.faulty_transport import FaultyTransport
from kalathi.marketplace.sandbox.samples import SampleDocument
from kalathi.marketplace.sandbox.store import StoredFaults
from kalathi.marketplace.shops.model import hash_token
from kalathi.marketplace.web.callers import Callers
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.webhooks.dispatcher import Dispatcher, Sender, Transport
from kalathi.marketplace.webhooks.guard import is_public
from kalathi.marketplace.webhooks.http1.tunnel import parse_proxy
from kalathi.marketplace.webhooks.listeners import forget_listeners
from kalathi.marketplace.webhooks.log import forget_old
from kalathi.marketplace.webhooks.openings import Openings
from kalathi.marketplace.webhooks.retry import RetrySchedule
from kalathi.marketplace.webhooks.sending import WebhookSender
from kalathi.marketplace.worker.job_kinds import JobKind
from kalathi.marketplace.worker.running import Worker
from kalathi.private_files import make_private_folder

_log = structlog.get_logger("kalathi")

OPERATOR_TOKEN_FILE: Final = "operator-token"  # noqa: S105  (the file's name)
ADDRESS_FILE: Final = "address"
DATABASE_FILE: Final = "kalathi.db"
# The longest delay until another process's change is noticed without a notification, and the shortest pause between two
# reads of such changes.
_POLL_SECONDS: Final = 1.0
_AT_MOST_EVERY_SECONDS: Final = 0.02
_FORGET_EVERY_SECONDS: Final = 3600.0


class _Kept(NamedTuple):
    """The stored state of a sandbox, read before the worker starts."""

    offset_millis: int
    faults: StoredFaults


def _load_kept(view: View) -> _Kept:
    return _Kept(load_offset_millis(view), sandbox.load_faults(view))


class Marketplace:
    """The API and the worker of one process over one database. Create it with `open_marketplace`."""

    _forgetting: asyncio.Task[None] | None = None
    _working: asyncio.Task[None] | None = None
    _stopping = False
    _started_at = 0.0

    def __init__(
        self,
        settings: Settings,
        address: str,
        database: Database,
        kept: _Kept,
        *,
        real: Callable[[], int],
        sender: Sender | None,
    ) -> None:
        """Create all parts. Raises ValueError for an invalid setting."""
        ip_ranges(settings.ip_ranges, settings.ip_ranges_modified)
        terms = Terms(settings, (settings.public_url or address).rstrip("/"))
        schedule = RetrySchedule(settings.webhook_attempt_minutes)
        self.database = database
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kalathi-voucher")
        self._network = sender or _network(settings)
        clock = BusinessClock(kept.offset_millis, real)
        printer, idempotency = DocumentPrinter(), IdempotencyKeys(database)
        faults = FaultRules(database, kept.faults, sandbox=settings.mode == "sandbox", is_rough=settings.rough)
        transport = FaultyTransport(self._network, faults)
        commands = CommandRunner(database, clock, KeyReserve(database), terms, idempotency)
        due_work = OrderDueWork(database, commands, clock, terms, printer, self._threads)
        handlers = _handlers(due_work, ReturnDueWork(commands), Openings(database, clock), idempotency)
        job_kinds = _job_kinds(settings, Dispatcher(database, clock, transport, schedule), handlers)
        self.worker = Worker(database, clock, job_kinds)
        self._context = Context(
            database=database,
            clock=clock,
            commands=commands,
            terms=terms,
            operator_token_hash=hash_token(operator_token(settings)),
            callers=Callers(settings),
            mover=ClockMover(database, clock, limit_seconds=settings.clock_limit_seconds, moved=self._wake),
            demo=DemoOrders(terms.public_url),
            sample=SampleDocument(printer, self._threads),
            faults=faults,
            description=ApiDescription(lambda: document(settings.vendor)),
            sender=self._network,
            listeners=Listeners(
                database, clock, faults, transport, _listener_workers(settings, database, clock, schedule)
            ),
            threads=self._threads,
            worker_idle_seconds=self._idle_seconds,
        )
        self._signals, self._listeners = ChangeSignals(database), self._context.listeners
        api = _with_cors(application(self._context), settings)
        self.asgi: ASGIApp = with_pages(api, self._context, self._signals, real)
        self._clock, self._faults, self._settings = clock, faults, settings
        self._news, self._ending = asyncio.Event(), asyncio.Event()
        self._following = asyncio.create_task(self._follow()) if database.is_shared else None

    def start(self) -> None:
        """Start the worker and the hourly cleanup of the delivery log."""
        self._started_at = time.monotonic()
        self._working = asyncio.create_task(self._work())
        self._forgetting = asyncio.create_task(self._forget())

    async def _work(self) -> None:
        if not self.database.is_shared:
            # No listener can be connected to the one process that serves a database when it starts. If this cannot be
            # written, the leases of the process before it expire.
            with contextlib.suppress(StorageError):
                await self.database.commit(ChangeSet(forget_listeners()))
        await self.worker.run()

    def hang_up(self) -> None:
        """End the streams of pages and listeners, so that the server need not wait for them."""
        self._signals.close()
        self._listeners.close()

    def _wake(self) -> None:
        self.worker.wake()
        self._listeners.wake()

    def _idle_seconds(self) -> float | None:
        if self._working is None:
            return None
        return time.monotonic() - (self.worker.last_turn_at or self._started_at)

    async def _forget(self) -> None:
        """Delete webhooks older than `delivery_log_days`, at the start and then every hour."""
        while not self._stopping:
            before = self._clock.now() - timedelta(days=self._settings.delivery_log_days)
            try:
                await forget_old(self.database, to_millis(before), self._ending)
            except (StorageError, DomainError):
                _log.warning("delivery_log_cleanup_failed")  # It is repeated at the next interval.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _FORGET_EVERY_SECONDS)

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
            if self._forgetting is not None:
                await self._forgetting
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
            await self.database.close()


async def open_marketplace(
    settings: Settings, address: str, *, real: Callable[[], int] = real_millis, sender: Sender | None = None
) -> Marketplace:
    """Open the database and create the marketplace, which listens on `address`. Tests pass their own real time
    (milliseconds since 1970) and their own network for webhooks.

    Raises DatabaseInUseError, NewerDatabaseError, StorageError, and ValueError for an invalid setting.
    """
    database = await open_database(settings.database or f"sqlite:///{settings.data / DATABASE_FILE}")
    try:
        kept = await database.read(_load_kept)
        if settings.rough and kept.faults.marketplace is not None and kept.faults.marketplace.is_empty:
            # An earlier run turned the mixture off. A start with --rough turns it on again.
            await database.commit(ChangeSet(*sandbox.drop_faults()))
            kept = kept._replace(faults=kept.faults._replace(marketplace=None))
        return Marketplace(settings, address, database, kept, real=real, sender=sender)
    except BaseException:
        await database.close()
        raise


def _network(settings: Settings) -> WebhookSender:
    return WebhookSender(
        user_agent=settings.user_agent,
        timeout_seconds=settings.webhook_timeout_seconds,
        connections=settings.webhook_slots,
        https_only=settings.mode == "production",
        allowed=None if settings.mode == "sandbox" or settings.allow_private_webhooks else is_public,
        proxy=parse_proxy(settings.webhook_proxy),
    )


_Handler = Callable[[DueRow], Awaitable[None]]


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
        expose_headers=["Retry-After"],
    )


def _handlers(
    orders: OrderDueWork, reviews: ReturnDueWork, openings: Openings, idempotency: IdempotencyKeys
) -> dict[DueKind, _Handler]:
    """Return the handlers of all due rows except deliveries."""
    return {
        DueKind.EXPIRY: orders.expire,
        DueKind.EXPRESS: orders.accept_express,
        DueKind.VOUCHER: orders.make_voucher,
        DueKind.DELIVERY_NOTE: orders.make_delivery_note,
        DueKind.REVIEW: reviews.expire,
        DueKind.OPENED: openings.release,
        DueKind.FORGET: idempotency.forget,
    }


def _job_kinds(settings: Settings, dispatcher: Dispatcher, handlers: Mapping[DueKind, _Handler]) -> list[JobKind]:
    """Return the job kinds: the handler of each kind of due row, and its number of slots."""
    return [
        _deliveries(settings, dispatcher),
        *(JobKind(kind, handler, slots=20, slots_per_shop=20) for kind, handler in handlers.items()),
    ]


def _deliveries(settings: Settings, dispatcher: Dispatcher, only_shop: str = "") -> JobKind:
    return JobKind(
        DueKind.DELIVERY,
        dispatcher.deliver,
        settings.webhook_slots_per_shop if only_shop else settings.webhook_slots,
        settings.webhook_slots_per_shop,
        record=dispatcher.record,
        prepare=dispatcher.prepare,
        weigh=dispatcher.weigh,
        only_shop=only_shop,
    )


def _listener_workers(
    settings: Settings, database: Database, clock: BusinessClock, schedule: RetrySchedule
) -> Callable[[str, Transport], Worker]:
    def make_worker(shop_id: str, transport: Transport) -> Worker:
        dispatcher = Dispatcher(database, clock, transport, schedule, has_listeners=True)
        return Worker(database, clock, [_deliveries(settings, dispatcher, shop_id)], is_alone=True)

    return make_worker


def operator_token(settings: Settings) -> str:
    """Return the operator's token: the setting, or the token in the data folder's file. The first start creates that
    file with mode 600. Raises ValueError for an empty file, and in production for a short token."""
    if settings.operator_token:
        return settings.operator_token
    path: Path = settings.data / OPERATOR_TOKEN_FILE
    if not path.exists():
        make_private_folder(settings.data)
        # Whole or not at all: a crash in between must not leave an empty token behind.
        unfinished = path.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(secret_token() + "\n", "utf-8")
        unfinished.replace(path)
    token = path.read_text("utf-8").strip()
    if not token:
        raise ValueError(f"{path} is empty. Remove it to have a new token made, or give --operator-token.")
    if settings.mode == "production" and is_short(token):
        raise ValueError(f"the token in {path} has {TOO_SHORT}. Remove the file to have a new token made.")
    return token
