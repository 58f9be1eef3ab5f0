"""Listens in a shop's place: shows each webhook as it comes and passes it on unchanged."""

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin

import niquests
from starlette.types import Receive, Scope, Send

from kalathi.merchant.client.transport import environment

_LARGEST_BODY_BYTES: Final = 10_000_000
_FORWARD_SECONDS: Final = 9.0  # Within the marketplace's own limit of ten.
# What belongs to one connection and not to the message.
_OF_THE_CONNECTION: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive"})


class Heard(NamedTuple):
    """A webhook that came: its bytes, what they say if they can be read, and what the shop's system answered."""

    body: bytes
    content: dict[str, Any]
    status: int

    def line(self) -> str:
        """For a person: event, order, state or changes, the answer."""
        about = self.content.get("order") or self.content.get("return") or {}
        code = about.get("code") or about.get("return_code") or "?"
        changes = self.content.get("changes") or {}
        shown = ", ".join(f"{name}: {_short(change)}" for name, change in changes.items())
        line = f"{self.content.get('event_type', 'unreadable'):14} {code}  {shown or about.get('state', '')}"
        return f"{line}  -> {self.status}"

    def record(self) -> str:
        """For a machine: one JSON object a line."""
        return json.dumps({"status": self.status, "webhook": self.content}, ensure_ascii=False)


class Listener:
    """An ASGI application that takes every POST. Without an address to pass it on to, it answers 200."""

    def __init__(self, forward: str, heard: Callable[[Heard], None]) -> None:
        self._forward = forward
        self._heard = heard
        self._session = niquests.AsyncSession(disable_http3=True)
        self._session.trust_env = False  # It is what reads `.netrc`.

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what the shop's system answers; 502 when it does not."""
        body = b""
        more = True
        while more and len(body) <= _LARGEST_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message["type"] == "http.request" and message.get("more_body", False)
        status, answer, headers = await self._passed_on(scope, body) if self._forward else (200, b"", [])
        try:
            content = json.loads(body)
        except ValueError:
            content = {}
        self._heard(Heard(body, content if isinstance(content, dict) else {}, status))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _passed_on(self, scope: Scope, body: bytes) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name.decode("latin-1") not in _OF_THE_CONNECTION
        }
        try:
            response = await self._session.request(
                "POST",
                self._forward,
                headers=headers,
                data=body,
                timeout=_FORWARD_SECONDS,
                allow_redirects=False,
                **environment(self._forward, uses_proxy=False),
            )
        except (niquests.RequestException, ValueError):
            return 502, b"", []
        location = response.headers.get("Location")
        # Where a redirect leads is seen from the shop's system, and not from here.
        told = (
            []
            if location is None
            else [(b"location", urljoin(self._forward, str(location)).encode("latin-1", "replace"))]
        )
        retry_after = response.headers.get("Retry-After")
        told += [] if retry_after is None else [(b"retry-after", str(retry_after).encode("latin-1", "replace"))]
        return response.status_code or 502, response.content or b"", told


def _short(change: Any) -> str:
    if not isinstance(change, dict):
        return str(change)
    old, new = (json.dumps(change.get(name), ensure_ascii=False) for name in ("old", "new"))
    return f"{old} → {new}"
