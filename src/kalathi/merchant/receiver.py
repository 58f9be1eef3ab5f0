"""The webhook receiver: an ASGI app that writes the body to the inbox before it answers 200 (contract, section 4)."""

from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from kalathi.merchant.inbox import Inbox

_log = structlog.get_logger("kalathi.merchant")

_LARGEST_BODY_BYTES: Final = 5_000_000


class Receiver:
    """Takes POSTs on one path. What it cannot write down it answers with 500, so that it is sent again."""

    def __init__(self, inbox: Inbox, path: str, received: Callable[[], None]) -> None:
        """`received` is called after a new event is on disk. The path may carry a secret."""
        self._inbox = inbox
        self._path = path
        self._received = received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        status = await self._status(scope, receive)
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _status(self, scope: Scope, receive: Receive) -> int:
        if scope["path"] != self._path:
            return 404
        if scope["method"] != "POST":
            return 405
        parts = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return 400  # The sender has gone before the body was whole; it will send it again.
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > _LARGEST_BODY_BYTES:
                return 413
            more = message.get("more_body", False)
        try:
            # Inline: the write takes a millisecond, and nothing may be answered before it has ended.
            new = self._inbox.put(b"".join(parts))
        except Exception:  # noqa: BLE001  (whatever keeps it off the disk: not 200, so it comes again)
            _log.exception("inbox_failed")
            return 500
        if new:
            self._received()
        return 200
