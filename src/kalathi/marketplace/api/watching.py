"""Monitoring of the marketplace: liveness, readiness, metrics."""

from typing import Final

from msgspec import Struct
from starlette.types import ASGIApp, Receive, Scope, Send

from kalathi.contract.codec import encode
from kalathi.contract.words import OrderState
from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.api.operator_token import WATCH_PORT
from kalathi.marketplace.figures.store import load_state_counts
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.kernel.storage.migrating import shape_of
from kalathi.marketplace.request_log.log import REQUEST_ID, RequestIds
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply, error_reply
from kalathi.marketplace.web.waiting import wait_of
from kalathi.marketplace.webhooks.store import backlog

# A worker's turn takes at most a second, or a few seconds after an error.
_LONGEST_TURN_SECONDS: Final = 15.0
_TEXT: Final = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)


class Health(Struct, frozen=True, kw_only=True):
    """The state of each part: `ok`, or a word for its fault. The worker is `none` if this process has none. The
    migrations are `newer` if another version has migrated the tables since this process started."""

    database: str = "ok"
    migrations: str = "ok"
    worker: str = "ok"

    @property
    def is_ready(self) -> bool:
        """Whether every part is ready. A process without a worker is ready too."""
        return self.database == self.migrations == "ok" and self.worker != "stuck"


WATCHED: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def limit_to_monitoring(asgi: ASGIApp) -> ASGIApp:
    """Return the application of a watch port, which answers monitoring systems and no other caller."""
    request_ids = RequestIds()

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in WATCHED:
            await asgi({**scope, WATCH_PORT: True}, receive, send)
        else:
            refusal = DomainError(ErrorCode.NOT_FOUND, "This port is for monitoring: /healthz, /readyz and /metrics.")
            await error_reply(refusal)({**scope, REQUEST_ID: request_ids.make()}, receive, send)

    return watched


def with_watch_port(asgi: ASGIApp, port: int) -> ASGIApp:
    """Return the application with a watch port in addition to the marketplace's own port."""
    watched = limit_to_monitoring(asgi)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        is_watch_port = server is not None and server[1] == port
        await (watched if is_watch_port else asgi)(scope, receive, send)

    return front


async def show_alive(_context: Context, _call: Call) -> Reply:
    """Answer while the process is alive."""
    return Reply(200, encode(Health()))


async def show_ready(context: Context, call: Call) -> Reply:
    """Check the database, its migrations and the worker. A 503 names the failing part. With `wait`, the answer comes
    when all parts are ready, or after these seconds."""
    health = await context.waits.wait_until(
        lambda: _check_health(context), lambda checked: checked.is_ready, wait_of(call.query)
    )
    if not health.is_ready:
        parts = (f"database: {health.database}", f"migrations: {health.migrations}", f"worker: {health.worker}")
        raise DomainError(ErrorCode.UNAVAILABLE, *parts)
    return Reply(200, encode(health))


async def _check_health(context: Context) -> Health:
    try:
        migrations = await context.database.read_point(shape_of)
        database = "ok"
    except StorageError:
        database, migrations = "unavailable", "unknown"
    seconds = context.worker_idle_seconds()
    worker = "none" if seconds is None else "ok" if seconds < _LONGEST_TURN_SECONDS else "stuck"
    return Health(database=database, migrations=migrations, worker=worker)


async def show_metrics(context: Context, _call: Call) -> Reply:
    """The metrics of this process, in the format of Prometheus."""
    waiting, orders = await context.database.read_list(lambda view: (backlog(view), load_state_counts(view)))
    age = 0.0 if waiting.oldest_at is None else max(0.0, (context.clock.now_millis() - waiting.oldest_at) / 1000)
    return Reply(
        200,
        context.database.metrics.text(age, waiting.events, {state.value: orders.get(state, 0) for state in OrderState}),
        _TEXT,
    )
