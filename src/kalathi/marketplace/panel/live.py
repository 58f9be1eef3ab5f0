"""Live pages: a stream of server-sent events (WHATWG HTML, 9.2) announces a change, and the page loads itself again. So
a page is rendered in one place, with and without a script."""

import asyncio
import contextlib
import hashlib
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from starlette.types import Receive, Scope, Send

from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.panel.refusals import TooManyOpenPages

# The tables that a page can follow.
LIVE_TABLES: Final = (
    *("orders", "timeline", "webhook_events", "delivery_attempts", "uploads", "order_notes"),
    *("counters", "sandbox_faults", "shop_documents"),
)
# The tables for the page of one order or return.
SUBJECT_TABLES: Final = ("timeline", "webhook_events", "delivery_attempts", "uploads")
_AT_MOST_EVERY_SECONDS: Final = 1.0
# Proxies close connections that are idle for a minute.
_PING_SECONDS: Final = 20.0
# After this time the stream ends. The browser reconnects, and its session is checked again.
_LONGEST_SECONDS: Final = 600.0
_MOST_STREAMS: Final = 256
# The limit for all users of one shop together. Counting by cookie would limit nothing, because signing in gives a new
# cookie each time.
_MOST_OF_ONE_VISITOR: Final = 32
# The remaining streams are reserved for the operator.
_MOST_OF_SHOPS: Final = _MOST_STREAMS - _MOST_OF_ONE_VISITOR
OPERATOR: Final = "the operator"

Mark = Callable[[], Awaitable[str]]


def mark_of(*facts: object) -> str:
    """Return a short hash that changes when one of these facts changes."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


class ChangeSignals:
    """Signals the streams of this process when tables get rows, from any process."""

    def __init__(self, database: Database) -> None:
        """Must be made on the event loop on which it is used."""
        self._change_counts: Counter[str] = Counter()
        # Makes marks unique to this run of the process, because each run counts from zero.
        self._name = secrets.token_hex(4)
        self._waiting: dict[asyncio.Event, tuple[str, ...]] = {}
        self._visitors: Counter[str] = Counter()
        self.is_closed = False
        for table in LIVE_TABLES:
            database.subscribe(table, lambda table=table: self._wake(table))  # type: ignore[misc]  # Of a lambda with a default.

    def check_room(self, visitor: str) -> None:
        """Check the limits of open streams, for this visitor and in total. Raises RATE_LIMITED."""
        of_shops = self._visitors.total() - self._visitors[OPERATOR]
        is_full = visitor != OPERATOR and of_shops >= _MOST_OF_SHOPS
        if is_full or self._visitors[visitor] >= _MOST_OF_ONE_VISITOR:
            raise refuse(TooManyOpenPages(), retry_after_seconds=30)

    def mark(self, *tables: str) -> str:
        """Return a mark that changes whenever one of these tables gets rows."""
        return f"{self._name}.{sum(self._change_counts[table] for table in tables)}"

    @contextlib.contextmanager
    def listening(self, tables: tuple[str, ...], visitor: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set when one of these tables gets rows, and when the process ends."""
        signal = asyncio.Event()
        self._waiting[signal] = tables
        self._visitors[visitor] += 1
        try:
            yield signal
        finally:
            del self._waiting[signal]
            self._visitors[visitor] -= 1
            self._visitors += Counter()  # Drop visitors without open streams.

    def close(self) -> None:
        """End all streams, because the process ends."""
        self.is_closed = True
        for signal in self._waiting:
            signal.set()

    def _wake(self, table: str) -> None:
        self._change_counts[table] += 1
        for signal, tables in self._waiting.items():
            if table in tables:
                signal.set()


_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}


class Stream:
    """One stream, as an ASGI application. `mark` returns the current mark. The stream sends an event when it differs
    from the mark that the page has seen."""

    def __init__(self, signals: ChangeSignals, tables: tuple[str, ...], mark: Mark, *, visitor: str, seen: str) -> None:
        """`seen` is the mark of the page. Raises RATE_LIMITED if too many streams are open."""
        signals.check_room(visitor)
        self._signals = signals
        self._visitor = visitor
        self._tables = tables
        self._mark = mark
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the browser disconnects, the process ends, or ten minutes have passed."""
        await send(_START)
        await send({"type": "http.response.body", "body": b"retry: 3000\n\n", "more_body": True})
        gone: asyncio.Future[object] = asyncio.ensure_future(_until_gone(receive))
        try:
            with self._signals.listening(self._tables, self._visitor) as signal:
                await self._notify(signal, gone, send)
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _notify(self, signal: asyncio.Event, gone: asyncio.Future[object], send: Send) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _LONGEST_SECONDS
        while not (gone.done() or self._signals.is_closed) and loop.time() < ends_at:
            signal.clear()
            with contextlib.suppress(
                StorageError
            ):  # The database is away for a moment; the next change will be announced.
                mark = await self._mark()
                line = f"event: changed\ndata: {mark}\n\n" if mark != self._seen else ": still here\n\n"
                self._seen = mark
                await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
            waking: asyncio.Future[object] = asyncio.ensure_future(signal.wait())
            try:
                await asyncio.wait({waking, gone}, timeout=_PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not (gone.done() or self._signals.is_closed):
                    await asyncio.wait({gone}, timeout=_AT_MOST_EVERY_SECONDS)
            finally:
                waking.cancel()


class EndedStream:
    """The answer to a stream whose session has ended, as an ASGI application: the page reloads itself once, and then
    shows that the session has ended. The browser would report a redirect to the sign-in page as an error."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send one event, and end the stream."""
        await send(_START)
        await send({"type": "http.response.body", "body": b"event: changed\ndata: ended\n\n", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
