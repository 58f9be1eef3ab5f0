"""Receivers of webhooks in the test's own process: an ASGI or WSGI application on a free port, on a thread."""

import asyncio
import contextlib
import functools
import inspect
import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any, Final, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

_START_SECONDS: Final = 10
_END_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.01
# scope, receive, send
_ASGI_ARGUMENTS: Final = 3


class Receiver(Protocol):
    """A running receiver."""

    url: str

    def stop(self) -> None:
        """End it."""
        ...


def start_receiver(application: Callable[..., Any]) -> Receiver:
    """Serve an application on 127.0.0.1 until it is stopped. An ASGI application runs on a separate event loop, and
    its lifespan runs there too."""
    return _AsgiReceiver(application) if is_asgi(application) else _WsgiReceiver(application)


def is_asgi(application: Callable[..., Any]) -> bool:
    """Whether an application is ASGI; otherwise it is WSGI."""
    # FastAPI, Starlette and Django's ASGIHandler have an async `__call__`. Flask's and Django's WSGI have not.
    plain = application.func if isinstance(application, functools.partial) else application
    call = getattr(plain, "__call__", None)  # noqa: B004  (the method itself is looked at, not called)
    if inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(call):
        return True
    # A plain function around an ASGI application: it takes three arguments, and WSGI has two.
    return len(inspect.signature(application).parameters) == _ASGI_ARGUMENTS


class _AsgiServer(uvicorn.Server):
    """uvicorn that says when it has started, and ends at once. uvicorn checks for shutdown only every 0.1 s and then
    waits for open connections: with a receiver for each test, this takes most of a suite's time."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_END_SECONDS)
        await self.lifespan.shutdown()

    def end(self) -> None:
        """End the server, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ending.set)


class _AsgiReceiver:
    def __init__(self, application: Callable[..., Any]) -> None:
        self._bound = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._bound.getsockname()[1]}"
        self._server = _AsgiServer(
            uvicorn.Config(application, log_level="error", access_log=False, date_header=False, interface="asgi3")
        )
        self._thread = threading.Thread(target=self._run, name="kalathi-receiver", daemon=True)
        self._thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            raise TimeoutError(f"The application {application!r} did not start within {_START_SECONDS} s.")
        if not self._server.started:
            raise RuntimeError(f"The application {application!r} did not start. Its lifespan has failed.")

    def _run(self) -> None:
        try:
            # uvicorn exits if the lifespan fails. The constructor reports that.
            with contextlib.suppress(SystemExit):
                self._server.run(sockets=[self._bound])
        finally:
            self._server.ready.set()
            self._bound.close()

    def stop(self) -> None:
        """End the server and its thread."""
        self._server.end()
        self._thread.join()


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name that the library uses)
        """Log nothing. The delivery log has every webhook."""


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _WsgiReceiver:
    def __init__(self, application: Callable[..., Any]) -> None:
        self._server = make_server("127.0.0.1", 0, application, _ThreadingServer, _QuietHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # By default it looks every 0.5 s whether to end.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="kalathi-receiver", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the server and its thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
