"""Monitoring of a connector: `/healthz` and `/metrics` on a port of their own, which only the monitoring has to
reach."""

import sqlite3
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

# Everything that a round of the connector waits for has a limit below this.
_LONGEST_ROUND_SECONDS: Final = 300.0


def with_watching(
    asgi: ASGIApp,
    port: int,
    metrics: Callable[[], bytes],
    seconds_since_round: Callable[[], float],
    needs: Callable[[], list[str]] = list,
) -> ASGIApp:
    """The application, and on this port what watches it: the inbox can be read, and the connector goes its rounds.
    `needs` returns a sentence for each open problem. /healthz lists them and stays 200: a restart solves none."""

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
        return 404, b"There are /healthz and /metrics.\n"
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
