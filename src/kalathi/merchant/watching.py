"""Monitoring of a connector: `/healthz` and `/metrics` on a separate port, which only the monitoring system needs to
reach."""

import sqlite3
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

# Every wait in a round of the connector has a time limit below this.
_LONGEST_ROUND_SECONDS: Final = 300.0


def with_watching(
    asgi: ASGIApp,
    port: int,
    metrics: Callable[[], bytes],
    seconds_since_round: Callable[[], float],
    needs: Callable[[], list[str]] = list,
) -> ASGIApp:
    """Add /healthz and /metrics to the application, on this port only.

    /healthz answers 503 if the inbox is unreadable or the connector has stopped working. `needs` returns a sentence for
    each open problem. /healthz lists these with status 200, because a restart does not solve them.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        if scope["type"] != "http" or server is None or server[1] != port:
            await asgi(scope, receive, send)
            return
        status, body = _answer(scope["path"], metrics, seconds_since_round(), needs)
        headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _answer(
    path: str, metrics: Callable[[], bytes], since_round_seconds: float, needs: Callable[[], list[str]]
) -> tuple[int, bytes]:
    if path not in {"/healthz", "/metrics"}:
        return 404, b"This port serves only /healthz and /metrics.\n"
    try:
        text = metrics()
        waiting = "".join(f"needs a person: {sentence}\n" for sentence in needs())
    except (sqlite3.Error, ValueError, OverflowError) as error:
        return 503, f"The inbox cannot be read: {error}\n".encode()
    if path == "/metrics":
        return 200, text
    if since_round_seconds > _LONGEST_ROUND_SECONDS:
        return 503, f"The connector has not gone its round for {since_round_seconds:.0f} s.\n".encode()
    return 200, f"ok\n{waiting}".encode(errors="replace")
