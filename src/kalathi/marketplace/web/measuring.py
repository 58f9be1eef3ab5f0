"""Metrics of HTTP requests: the route, the status, and the time until the answer begins."""

import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Notes one request: its route, its status (0 without an answer), and the seconds until the answer began.
NoteRequest = Callable[[str, int, float], None]

_MEASURED: Final = "kalathi.measured"
# Paths that no route has are one label. Otherwise every scan of a robot would add metrics.
_NO_ROUTE: Final = "none"


class _Measured:
    """The request's route. One object is shared by the copies of a scope."""

    __slots__ = ("route",)

    def __init__(self) -> None:
        self.route = _NO_ROUTE


def with_measuring(asgi: ASGIApp, note: NoteRequest) -> ASGIApp:
    """Return the application with each HTTP request noted. A request whose caller leaves before the answer has the
    status 0."""

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await asgi(scope, receive, send)
            return
        request = scope[_MEASURED] = _Measured()
        status, seconds, started = 0, 0.0, time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                # Streams last for minutes, so only the time to their begin counts.
                status, seconds = message["status"], time.perf_counter() - started
            await send(message)

        try:
            await asgi(scope, receive, send_noted)
        finally:
            note(request.route, status, seconds if status else time.perf_counter() - started)

    return measured


def name_route(scope: Scope, route: str) -> None:
    """Name the request's route, such as `POST /shop/orders/{code}/{action}`."""
    request = scope.get(_MEASURED)
    if request is not None:
        request.route = route
