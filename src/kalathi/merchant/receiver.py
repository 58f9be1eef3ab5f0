"""The webhook receiver (docs/contract.md#section-4): write each event to disk, then answer 200.

`WebhookHandler.handle` is a plain method for any framework; `Receiver` is an ASGI application that uses it. Both accept
webhooks of orders and returns, which the connector distinguishes later by `event_type`. Both report refusals to one
callback (`refusals.py`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import structlog
from starlette.types import Receive, Scope, Send

from kalathi.contract.signatures import NotSignedError, SignatureError, SignatureTimeError, sign_headers, verify
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.refusals import Refusal, RefusalLog, RefusalReason, clock_words, looks_like_webhook
from kalathi.merchant.sources import SourceRanges
from kalathi.merchant.webhook_path import WebhookPath, show_path
from kalathi.trusted_proxies import TrustedProxies, read_address, source_of

_log = structlog.get_logger("kalathi.merchant")

LARGEST_BODY_BYTES: Final = 5_000_000


class Answer(NamedTuple):
    """The answer to the marketplace. Only 200 is success; after any other the marketplace sends the event again."""

    status: int
    body: bytes = b""


class WebhookHandler:
    """Store the bodies of webhooks in the inbox.

    With `secrets`, accept only bodies that are signed with one of them (Standard Webhooks). With `ranges`, accept only
    calls from one of these networks. The marketplace signs nothing unless signing is switched on. Two events with the
    same bytes are one event; headers do not count. An unreadable event is stored and reported to a person.
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
        refused: Callable[[Refusal], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`received` is called after a new event is on disk, `answered` with the status of each answer, `refused` for
        each refused call. `clock` returns seconds since 1970. A dry run stores webhooks in its own inbox, and with
        `copy_to` in the real one first. Raises ValueError for a malformed secret."""
        sign_headers(secrets, "", 0, b"")
        self._inbox = inbox
        self._copy_to = copy_to
        self._secrets = list(secrets)
        self.ranges = ranges
        self._received = received
        self._answered = answered
        self._refused = refused
        self._refusal_log = RefusalLog(clock)
        self._clock = clock

    def handle(self, body: bytes, headers: Mapping[str, str], source: str | None = None) -> Answer:
        """Handle one webhook: its whole body, its headers with names in any case, and the caller's address, which is
        only needed with `ranges`. Never raises."""
        answer = self._answer(body, headers, source)
        self._answered(answer.status)
        return answer

    def refuse(self, refusal: Refusal, error: Exception | None = None) -> Answer:
        """Count and log a refused call, and return its answer. Never raises."""
        self._refusal_log.note(refusal, error)
        try:
            self._refused(refusal)
        except Exception:  # noqa: BLE001  (to count a refusal must not change the answer)
            _log.exception("refusal_not_counted")
        return Answer(refusal.status)

    def _answer(self, body: bytes, headers: Mapping[str, str], source: str | None) -> Answer:
        if self.ranges is not None and (source is None or source not in self.ranges):
            refusal = Refusal(403, RefusalReason.UNKNOWN_SOURCE, _source_words(source), looks_like_webhook(body))
            return self.refuse(refusal)
        if len(body) > LARGEST_BODY_BYTES:
            return self.refuse(_too_large())
        refused = self._signature_refusal(body, headers) if self._secrets else None
        if refused is not None:
            return self.refuse(refused)
        try:
            # Write on this thread: it takes a millisecond, and the answer must wait for it.
            if self._copy_to is not None:
                self._copy_to.events.put(body, self._clock())
            is_verified = bool(self._secrets) or self.ranges is not None
            is_new = self._inbox.events.put(body, self._clock(), is_verified=is_verified)
        except Exception as error:  # noqa: BLE001  (any failure to store it: not 200, so the marketplace retries)
            detail = f"The webhook could not be written to the inbox file: {error}"
            return self.refuse(Refusal(500, RefusalReason.INBOX_FAILED, detail, looks_like_webhook(body)), error)
        if is_new:
            self._received()
        return Answer(200)

    def _signature_refusal(self, body: bytes, headers: Mapping[str, str]) -> Refusal | None:
        lower = {name.lower(): value for name, value in headers.items()}
        ahead_seconds = None
        try:
            verify(self._secrets, lower, body, int(self._clock()))
        except NotSignedError:
            reason = RefusalReason.NOT_SIGNED
            detail = "The call carries no signature, and --secrets accepts only signed calls."
        except SignatureTimeError as error:
            reason, ahead_seconds = RefusalReason.SIGNATURE_TOO_OLD, error.ahead_seconds
            detail = clock_words(ahead_seconds)
        except SignatureError:
            reason = RefusalReason.BAD_SIGNATURE
            detail = "The signature matches none of the secrets of --secrets, or the webhook was changed in transit."
        else:
            return None
        return Refusal(401, reason, detail, looks_like_webhook(body), ahead_seconds)


class Receiver:
    """An ASGI application that accepts POSTs on one path, which may contain a secret. Mount it, or serve it alone."""

    def __init__(
        self,
        handler: WebhookHandler,
        path: str,
        *,
        trusts_forwarded: bool = False,
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        """`path` may have a query (`webhook_path.py`). With `trusted_proxies`, read the source from X-Forwarded-For
        (`trusted_proxies.py`); `trusts_forwarded` means exactly one proxy. Raises ValueError for a path that no call
        can reach."""
        self._handler = handler
        self.path = WebhookPath(path)
        self._trusted_proxies = TrustedProxies(hops=1) if trusts_forwarded else trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return  # A mounted application may also receive lifespan messages.
        answer = await self._answer(scope, receive)
        length = str(len(answer.body)).encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
        if answer.status == 405:
            headers.append((b"allow", b"POST"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        is_here = self.path.matches(scope)
        # Read the body even for another path: it shows whether the marketplace has a wrong address.
        body = await _whole_body(receive)
        if isinstance(body, Refusal):
            body = body._replace(is_webhook=scope["method"] == "POST")
            return self._handler.refuse(body if is_here else self._wrong_path(scope, b""))
        if not is_here:
            return self._handler.refuse(self._wrong_path(scope, body))
        if scope["method"] != "POST":
            detail = f"{scope['method'][:20]} instead of POST. A redirect turns a POST into a GET."
            return self._handler.refuse(Refusal(405, RefusalReason.WRONG_METHOD, detail, looks_like_webhook(body)))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return self._handler.handle(body, headers, self._source(scope))

    def _wrong_path(self, scope: Scope, body: bytes) -> Refusal:
        path = show_path(scope["path"])
        here = f"this connector listens on {show_path(scope.get('root_path', ''))}{self.path.mask_query}"
        is_webhook = scope["method"] == "POST" and looks_like_webhook(body)
        if not is_webhook:
            detail = f"{scope['method'][:20]} {path} is not a call of the marketplace."
        elif self.path.matches_path(scope):
            detail = f"The marketplace posts to {path} without the right query: {here}."
        else:
            detail = (
                f"The marketplace posts to {path}, {here}. Give the marketplace the other address, or change --path."
            )
        return Refusal(404, RefusalReason.WRONG_PATH, detail, is_webhook)

    def _source(self, scope: Scope) -> str | None:
        client = scope.get("client")
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
        return source_of(client[0] if client else None, lines, self._trusted_proxies)


async def _whole_body(receive: Receive) -> bytes | Refusal:
    parts = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            detail = "The sender closed the connection before the end of the webhook. It will send it again."
            return Refusal(400, RefusalReason.INCOMPLETE, detail)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY_BYTES:
            return _too_large()
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large() -> Refusal:
    return Refusal(413, RefusalReason.TOO_LARGE, f"The body has more than {LARGEST_BODY_BYTES} bytes.")


def _source_words(source: str | None) -> str:
    if source is None:
        return "X-Forwarded-For contains no trustworthy source. Does --trusted-proxies match your proxies?"
    address = read_address(source)
    if address is None:
        return "The source of the call is not an address."
    if address.is_private:
        hint = " It is a private address: if it is your proxy's, name it with --trusted-proxies."
        return f"The call comes from {address}, which is not in the published ranges.{hint}"
    return f"The call comes from {address}, which is not in the published ranges."
