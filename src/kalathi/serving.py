"""Run an ASGI application on uvicorn. SIGTERM and SIGINT end it cleanly within seconds."""

import asyncio
import atexit
import contextlib
import gc
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, cast

import msgspec
import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from kalathi.connections import JsonHandler, Limits, limit_protocol, most_connections, watch_rates
from kalathi.system.loops import find_loop_factory
from kalathi.system.signals import call_at_end

# Time limit for the answers that are in progress at SIGTERM. Together with the worker's drain, the process ends within
# ten seconds.
_GRACE_SECONDS = 4
# The longest time for work that still needs the server, such as restoring the settings of a shop after a checkup.
_CLOSING_SECONDS = 5.0
# Thresholds of the garbage collector: new objects before a collection of the youngest generation, and collections of
# one generation before one of the next.
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
        """Capture no signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the server, then call `ready`."""
        await super().startup(sockets)
        self._ready()


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 selects a free port. Raises OSError if the port is in use."""
    bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    # The server writes head and body separately. Without this option, which accepted connections inherit, Nagle's
    # algorithm delays the body until the caller's delayed acknowledgement: an answer takes 44 ms instead of less than
    # 1 ms.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the URL of a bound socket, such as `http://127.0.0.1:8090`."""
    host, port = bound.getsockname()[:2]
    # A socket that is bound to every interface can be reached from this machine at the loopback address.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def spare_the_collector() -> None:
    """Reduce the work of the garbage collector.

    Imported modules are never garbage, and requests leave few cycles behind. Rare collections that skip the modules
    make a worker's deliveries a third faster (docs/performance.md). There is no collection before the freeze: it would
    take a fifteenth of the start and find almost nothing.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine as `asyncio.run` does, on uvloop if it is installed. Every long-running command uses it."""
    spare_the_collector()
    with asyncio.Runner(loop_factory=find_loop_factory()) as runner:
        runner.run(main)


def _with_cut_off(asgi: ASGIApp, extension: str) -> ASGIApp:
    """Add a function that aborts the request's connection to the scope, as the extension of this name. ASGI has no such
    function; uvicorn's own object for the request has the connection."""

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
    closing: Callable[[], Awaitable[None]] | None = None,
    has_websockets: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT.

    `ready` is called when the server takes requests. `ending` is called when the end begins, so that endless answers
    can end. Before that, the server awaits `closing`, at most `_CLOSING_SECONDS`, and still takes requests.
    `also` is a second socket for the same application, which can distinguish them by `scope["server"]`.
    `has_websockets` says whether the application serves WebSockets; their messages are limited to 64 KB.
    """
    config = uvicorn.Config(
        _with_cut_off(asgi, cut_off_extension) if cut_off_extension else asgi,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # The server itself does not use the caller's address.
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

    _end_at_signals(end, closing)
    watching = asyncio.create_task(watch_rates(server.server_state.connections))
    try:
        await server.serve(sockets=[bound] if also is None else [bound, also])
    finally:
        watching.cancel()


def _end_at_signals(end: Callable[[], None], closing: Callable[[], Awaitable[None]] | None) -> None:
    """Call `end` at SIGTERM or SIGINT, after `closing`. A second signal calls it at once."""
    loop = asyncio.get_running_loop()
    closings: list[asyncio.Task[None]] = []

    async def close_and_end(close: Callable[[], Awaitable[None]]) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(close(), _CLOSING_SECONDS)
        finally:
            end()

    def begin() -> None:
        if closing is None or closings:
            end()
        else:
            closings.append(loop.create_task(close_and_end(closing)))

    call_at_end(begin)


def _log_libraries_as_json() -> None:
    handler = JsonHandler()
    # uvicorn logs this for each WebSocket that the application refuses on purpose.
    handler.addFilter(lambda record: "without completing handshake" not in str(record.msg))
    for name in ("uvicorn", "asyncio", "websockets"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False


async def until_signal(running: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine until it ends, or cancel it at SIGTERM or SIGINT."""
    task = asyncio.ensure_future(running)
    call_at_end(task.cancel)
    with contextlib.suppress(asyncio.CancelledError):  # The signal ends the work.
        await task


async def until_told_to_end(ready: Callable[[], None]) -> None:
    """Wait for SIGTERM or SIGINT. Call `ready` once the signal handlers are installed."""
    told = asyncio.Event()
    call_at_end(told.set)
    ready()
    sys.stdout.flush()
    await told.wait()


def start_logging(level: str = "", form: str = "") -> None:
    """Write logs to standard error: one JSON object a line, or short lines for people. Standard output is for the
    command's own output. `level` and `form` are the settings `log_level` and `log_format`; if they are empty, those of
    the variables KALATHI_LOG_LEVEL and KALATHI_LOG_FORMAT."""
    level = level or os.environ.get("KALATHI_LOG_LEVEL", "info")
    form = form or os.environ.get("KALATHI_LOG_FORMAT", "auto")
    is_short = form == "short" or (form != "json" and sys.stderr.isatty())
    lines = _Lines(sys.stderr.buffer)
    atexit.register(lines.flush)
    structlog.configure(
        processors=[],
        wrapper_class=_SHORT_LOGGERS[level] if is_short else _JSON_LOGGERS[level],
        logger_factory=structlog.BytesLoggerFactory(cast(BinaryIO, lines)),
        # Create each logger once, not for each line. With this, msgspec's encoder and no processors, a line takes
        # 3 µs, not 8.
        cache_logger_on_first_use=True,
    )


class _JsonLogger(structlog.BoundLoggerBase):
    """Writes one JSON object for each event, without debug events."""

    def info(self, event: str, **fields: Any) -> None:
        """Write something that is usual."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write something that someone may have to look at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write an error."""
        self._write("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Write an error with the exception that is being handled."""
        self._write(
            "error", event, structlog.processors.format_exc_info(self._logger, "error", {**fields, "exc_info": True})
        )

    def debug(self, event: str, **fields: Any) -> None:
        """Write nothing."""

    def _write(self, level: str, event: str, fields: MutableMapping[str, Any]) -> None:
        if self._processors:  # Tests capture events with a processor.
            self._proxy_to_logger(level, event, **fields)
            return
        fields["event"] = event
        fields["level"] = level
        fields["timestamp"] = _STAMP.text()
        self._logger.msg(_as_json({**self._context, **fields} if self._context else fields))


class _ShortLogger(_JsonLogger):
    """Writes a short line for each event, for people at a terminal."""

    def _write(self, level: str, event: str, fields: MutableMapping[str, Any]) -> None:
        if self._processors:
            self._proxy_to_logger(level, event, **fields)
            return
        trace = str(fields.pop("exception", ""))
        facts = " ".join(
            f"{name}={value}" for name, value in {**self._context, **fields}.items() if value not in _BLANK
        )
        word = "" if level == "info" else f"{level.upper()} "
        line = f"{datetime.now():%H:%M:%S} {word}{event} {facts}".rstrip()  # noqa: DTZ005  (the time of the terminal's user)
        # A text of a caller must not move the cursor or start a line of its own.
        safe = "".join(letter if letter.isprintable() else "?" for letter in line)
        self._logger.msg((f"{safe}\n{trace}" if trace else safe).encode("utf-8", "replace"))


def _limit(logger: type[_JsonLogger], name: str, *dropped: str) -> type[_JsonLogger]:
    """Return a logger that writes nothing for these methods."""

    def drop(self: _JsonLogger, event: str, **fields: Any) -> None:
        """Write nothing."""

    return type(name, (logger,), dict.fromkeys(dropped, drop))


_BLANK: Final = (None, "")
_JSON_LOGGERS: Final[Mapping[str, type[_JsonLogger]]] = {
    "info": _JsonLogger,
    "warning": _limit(_JsonLogger, "_JsonWarnings", "info"),
    "error": _limit(_JsonLogger, "_JsonErrors", "info", "warning"),
}
_SHORT_LOGGERS: Final[Mapping[str, type[_JsonLogger]]] = {
    "info": _ShortLogger,
    "warning": _limit(_ShortLogger, "_ShortWarnings", "info"),
    "error": _limit(_ShortLogger, "_ShortErrors", "info", "warning"),
}


class _Stamp:
    """The time of a log line, in UTC. The text of a second is made once."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self) -> str:
        """Return the time, such as `2026-11-29T21:49:01.407405Z`."""
        second, nanos = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._text = second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{self._text}.{nanos // 1000:06}Z"


_STAMP = _Stamp()


class _Lines:
    """Standard error, buffered: the lines of one turn of the event loop are one write, because each write is a system
    call. A line that cannot be written is dropped, so that a full disk does not stop the work."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> int:
        """Buffer the line until the turn of the event loop ends."""
        self._lines.append(line)
        return len(line)

    def flush(self) -> None:
        """Schedule the write. Write at once if no event loop runs, for example on a thread or at exit."""
        if len(self._lines) > 1:
            return  # The write is already scheduled.
        try:
            asyncio.get_running_loop().call_soon(self._write_all)
        except RuntimeError:
            self._write_all()

    def _write_all(self) -> None:
        lines, self._lines = self._lines, []
        with contextlib.suppress(OSError):
            self._file.write(b"".join(lines))
            self._file.flush()


def _as_json(fields: Any) -> bytes:
    try:
        # JSON escapes control characters below U+0020. Terminals may also act on C1 control characters, so escape them.
        return _C1.sub(_escape_c1, msgspec.json.encode(fields, enc_hook=str))
    except UnicodeEncodeError:
        # A lone surrogate, for example from a file name that is not UTF-8. The json module escapes it.
        return json.dumps(fields, default=str).encode()
