"""The answer of a call with injected faults, and the unread body of a refused call, for the request log."""

import asyncio
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.web.bodies import read_body

# A refused call with a longer body, or one that arrives more slowly, is logged without it.
_MOST_REFUSED_BYTES: Final = 65_536
_MOST_SECONDS: Final = 1.0


class CapturedAnswer:
    """A `send` that keeps a copy of the answer. `status` is 0 until an answer begins."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.body = b""

    async def __call__(self, message: Message) -> None:
        """Pass a message of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        await self._send(message)


async def read_refused_body(scope: Scope, receive: Receive) -> bytes:
    """Read the body of a call that was refused before its body was read; empty if it is long or arrives slowly."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if not length.isdigit() or not 0 < int(length[:20]) <= _MOST_REFUSED_BYTES:
        return b""
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            return await read_body(receive, length, _MOST_REFUSED_BYTES)
    except (DomainError, TimeoutError):
        return b""
