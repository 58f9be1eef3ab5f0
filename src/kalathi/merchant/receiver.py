"""The webhook receiver (contract, section 4): the event is on disk before 200 is answered.

`WebhookHandler.handle` is a plain function for any framework; `Receiver` is the same as an ASGI application. Both take
orders' and returns' webhooks, which are told apart by their `event_type` when they are worked on.
"""

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import structlog
from starlette.types import Receive, Scope, Send

from kalathi.contract.signatures import SignatureError, signed_headers, verify
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.sources import SourceRanges

_log = structlog.get_logger("kalathi.merchant")

LARGEST_BODY_BYTES: Final = 5_000_000


class Answer(NamedTuple):
    """What the marketplace is to be answered. Only 200 is success; anything else makes it send the event again."""

    status: int
    body: bytes = b""


class WebhookHandler:
    """Takes the bodies of webhooks into the inbox.

    With `secrets`, only what is signed with one of them is taken (Standard Webhooks); with `ranges`, only what comes
    from one of them. The marketplace itself signs nothing unless it is told to. An event that comes twice is one event,
    known by its bytes whatever its headers say; one that cannot be read is kept all the same, and told to a person.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        secrets: Sequence[str] = (),
        ranges: SourceRanges | None = None,
        copy_to: Inbox | None = None,
        received: Callable[[], None] = lambda: None,
        answered: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`received` is called after a new event is on disk, `answered` with the status of each answer; `clock` gives
        seconds since 1970. What a rehearsal receives goes into its own inbox, and with `copy_to` into the real one
        first. Raises ValueError for a secret that is none."""
        signed_headers(secrets, "", 0, b"")
        self._inbox = inbox
        self._copy_to = copy_to
        self._secrets = list(secrets)
        self.ranges = ranges
        self._received = received
        self._answered = answered
        self._clock = clock

    def handle(self, body: bytes, headers: Mapping[str, str], source: str | None = None) -> Answer:
        """One webhook: its whole body, its headers under any case, and the address that it came from, if that is to
        be looked at. Never raises."""
        answer = self._answer(body, headers, source)
        self._answered(answer.status)
        return answer

    def _answer(self, body: bytes, headers: Mapping[str, str], source: str | None) -> Answer:
        if self.ranges is not None and (source is None or source not in self.ranges):
            _log.warning("webhook_from_elsewhere", source=source)
            return Answer(403)
        if len(body) > LARGEST_BODY_BYTES:
            return Answer(413)
        if self._secrets:
            lower = {name.lower(): value for name, value in headers.items()}
            try:
                verify(self._secrets, lower, body, int(self._clock()))
            except SignatureError as error:
                _log.warning("webhook_not_signed", error=str(error))
                return Answer(401)
        try:
            # Inline: the write takes a millisecond, and nothing may be answered before it has ended.
            if self._copy_to is not None:
                self._copy_to.put(body, self._clock())
            is_new = self._inbox.put(body, self._clock())
        except Exception:  # noqa: BLE001  (whatever keeps it off the disk: not 200, so it comes again)
            _log.exception("inbox_failed")
            return Answer(500)
        if is_new:
            self._received()
        return Answer(200)


class Receiver:
    """An ASGI application that takes POSTs on one path, which may carry a secret; to mount, or to serve as it is."""

    def __init__(self, handler: WebhookHandler, path: str, *, trusts_forwarded: bool = False) -> None:
        """`trusts_forwarded`: the source is the last address of X-Forwarded-For, which the proxy in front has added."""
        self._handler = handler
        self._path = path.encode()
        self._trusts_forwarded = trusts_forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # A mounted application is told of the server's life as well.
        answer = await self._answer(scope, receive)
        length = str(len(answer.body)).encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        # In full each time: how long it takes tells nothing of a secret in the path.
        path: str = scope["path"][len(scope.get("root_path", "")) :] or scope["path"]
        if not (
            hmac.compare_digest(path.encode(), self._path) or hmac.compare_digest(scope["path"].encode(), self._path)
        ):
            return Answer(404)
        if scope["method"] != "POST":
            return Answer(405)
        parts = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return Answer(400)  # The sender has gone before the body was whole; it will send it again.
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > LARGEST_BODY_BYTES:
                return Answer(413)
            more = message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return self._handler.handle(b"".join(parts), headers, self._source(scope, headers))

    def _source(self, scope: Scope, headers: Mapping[str, str]) -> str | None:
        if self._trusts_forwarded:
            return headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or None
        client = scope.get("client")
        return client[0] if client else None
