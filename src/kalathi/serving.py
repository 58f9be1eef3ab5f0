"""Run an ASGI application on uvicorn. SIGTERM and SIGINT end it cleanly within seconds."""

import asyncio
import atexit
import contextlib
import gc
import json
import logging
import re
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, BinaryIO, cast

import msgspec
import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from kalathi.connections import JsonHandler, Limits, limit_protocol, most_connections, watch_rates

# Callers that are still being answered get this long; with the worker's drain it stays within ten seconds.
_GRACE_SECONDS = 4
# So many new objects before the youngest of them are looked at, and how many rounds before the older ones are.
_COLLECTIONS = (20_000, 20, 20)
_C1 = re.compile(b"\x7f|\xc2[\x80-\x9f]")
# The largest message that a client may send over a WebSocket.
_LARGEST_MESSAGE_BYTES = 65_536


def _escape_c1(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % found[0][-1]


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would raise the signal again after a clean end."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `ready` when the server takes requests."""
        await super().startup(sockets)
        self._ready()


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises OSError when the port is taken."""
    bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    # Head and body go out as two writes. Accepted connections inherit this; without it Nagle's algorithm holds the body
    # until the caller's delayed acknowledgement, and every answer takes 44 ms instead of a fraction of one.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def address_of(bound: socket.socket) -> str:
    """`http://127.0.0.1:8090`"""
    host, port = bound.getsockname()[:2]
    # Bound to every interface, it is reached on this machine under the loopback's address.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def spare_the_collector() -> None:
    """Spare the garbage collector useless work.

    Imported modules are never garbage, and requests leave few cycles behind. Searching rarely, and not among the
    modules, makes a worker's deliveries a third faster (docs/performance.md). There is no collection before: a search
    of everything that a start leaves behind takes a fifteenth of the start and finds almost nothing.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """asyncio.run on uvloop, as every long-running command does it."""
    spare_the_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def _with_cut_off(asgi: ASGIApp, extension: str) -> ASGIApp:
    """The application with a way to cut off a request's connection, under this name of its extensions. ASGI has none;
    the server's own object for a request holds the connection."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            scope.setdefault("extensions", {})[extension] = transport.abort
        await asgi(scope, receive, send)

    return app


async def run_server(
    asgi: ASGIApp,
    bound: socket.socket,
    ready: Callable[[], None],
    *,
    also: socket.socket | None = None,
    cut_off_extension: str = "",
    ending: Callable[[], None] = lambda: None,
    has_websockets: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT.

    `ready` is called when the server takes requests. `ending` is called when the end begins, so that endless answers
    can end. `also` is a second socket for the same application, which can distinguish them by `scope["server"]`.
    `has_websockets` says whether the application serves WebSockets; their messages are limited to 64 KB.
    """
    config = uvicorn.Config(
        _with_cut_off(asgi, cut_off_extension) if cut_off_extension else asgi,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # Nothing here depends on where a caller comes from.
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=2048,
        http=limit_protocol(Limits(connections=most_connections())),
        ws="websockets-sansio" if has_websockets else "none",
        ws_max_size=_LARGEST_MESSAGE_BYTES,
        ws_per_message_deflate=False,
    )
    server = _Server(config, ready)
    _log_libraries_as_json()

    def end() -> None:
        server.should_exit = True
        ending()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    watching = asyncio.create_task(watch_rates(server.server_state.connections))
    try:
        await server.serve(sockets=[bound] if also is None else [bound, also])
    finally:
        watching.cancel()


def _log_libraries_as_json() -> None:
    handler = JsonHandler()
    # uvicorn logs this for each WebSocket that the application refuses on purpose.
    handler.addFilter(lambda record: "without completing handshake" not in str(record.msg))
    for name in ("uvicorn", "asyncio", "websockets"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False


async def until_told_to_end(ready: Callable[[], None]) -> None:
    """Waits for SIGTERM or SIGINT; `ready` is called when they are listened for."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    ready()
    sys.stdout.flush()
    await told.wait()


def log_json_lines() -> None:
    """structlog writes one JSON object a line to standard error; standard output belongs to the command."""
    lines = _Lines(sys.stderr.buffer)
    atexit.register(lines.flush)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.BytesLoggerFactory(cast(BinaryIO, lines)),
        # A logger is made once, not for each line; with this and the encoder a line takes 5.4 µs instead of 9.7.
        cache_logger_on_first_use=True,
    )


class _Lines:
    """Standard error. The lines of one turn of the event loop are written together, since each write is a system call.
    A line that cannot be written is dropped: a full disk must not stop the work too."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> int:
        """Kept until the turn ends."""
        self._lines.append(line)
        return len(line)

    def flush(self) -> None:
        """Plans the writing; at once where no loop runs, as on threads and at the end."""
        if len(self._lines) > 1:
            return  # It is planned.
        try:
            asyncio.get_running_loop().call_soon(self._write_all)
        except RuntimeError:
            self._write_all()

    def _write_all(self) -> None:
        lines, self._lines = self._lines, []
        with contextlib.suppress(OSError):
            self._file.write(b"".join(lines))
            self._file.flush()


def _as_json(fields: Any, **_ignored: Any) -> bytes:
    try:
        # JSON escapes the control characters below the space; a terminal may follow those of C1 too.
        return _C1.sub(_escape_c1, msgspec.json.encode(fields, enc_hook=str))
    except UnicodeEncodeError:
        # Half a character, such as in the name of a file that is not UTF-8: it is escaped.
        return json.dumps(fields, default=str).encode()
