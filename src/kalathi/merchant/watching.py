"""What watches a connector: `/healthz` and `/metrics` on a port of their own, which nobody outside has to reach."""

import sqlite3
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


def with_watching(asgi: ASGIApp, port: int, metrics: Callable[[], bytes]) -> ASGIApp:
    """The application, and on this port what watches it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        if scope["type"] != "http" or server is None or server[1] != port:
            await asgi(scope, receive, send)
            return
        status, body = _answer(scope["path"], metrics)
        headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _answer(path: str, metrics: Callable[[], bytes]) -> tuple[int, bytes]:
    if path not in {"/healthz", "/metrics"}:
        return 404, b"There are /healthz and /metrics.\n"
    try:
        text = metrics()
    except sqlite3.Error as error:
        return 503, f"The inbox cannot be read: {error}\n".encode()
    return 200, b"ok\n" if path == "/healthz" else text
