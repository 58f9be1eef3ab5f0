"""One POST to a shop's endpoint: headers, time limit, redirects. A bad endpoint never raises."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast
from urllib.parse import urljoin

from kalathi.marketplace.kernel.targets import BadUrl, Target, parse_target
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.marketplace.webhooks.guard import Allowed
from kalathi.marketplace.webhooks.http1.connections import Connection, Pool, RequestBatch
from kalathi.marketplace.webhooks.http1.dialing import Dialer, explain_failure
from kalathi.marketplace.webhooks.http1.responses import AnswerReader
from kalathi.marketplace.webhooks.names import Names, PooledNames

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 3
_LONGEST_WAIT_SECONDS: Final = 86_400


def webhook_headers(user_agent: str) -> dict[str, str]:
    """The headers of every webhook (docs/contract.md#section-4)."""
    return {"Content-Type": "application/json; charset=utf-8", "User-Agent": user_agent}


class _TimeLimit:
    """One time limit for many tasks. asyncio's own makes a timer for each task, which costs a tenth of a request. This
    one checks all tasks a few times a second."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._look_again_seconds = min(seconds / 10, 0.25)
        self._loop = asyncio.get_running_loop()
        self._ends_at: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Start the time limit of a task. At its end the task is cancelled."""
        self._ends_at[task] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_again_seconds, self._look)

    def end(self, task: asyncio.Task[Any]) -> None:
        """Stop the time limit of a task that has finished."""
        self._ends_at.pop(task, None)
        self._expired.discard(task)

    def has_expired(self, task: asyncio.Task[Any]) -> bool:
        """Whether the time limit alone has cancelled the task. If so, the cancellation is undone."""
        return task in self._expired and task.uncancel() == 0

    def stop(self) -> None:
        """Stop the timer, because nothing is sent any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        for task, ends_at in self._ends_at.items():
            if ends_at <= now and task not in self._expired:
                self._expired.add(task)
                task.cancel()
        self._timer = self._loop.call_later(self._look_again_seconds, self._look) if self._ends_at else None


class _Attempt:
    """The state of a running attempt, which is still readable when the time limit ends it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection: Connection | None = None
        self.reader: AnswerReader | None = None
        self.error = SendError.NONE

    def note_expired(self) -> None:
        """Apply the time limit. If the status line has arrived, the status decides."""
        if self.connection is not None:
            self.reader = self.connection.reader
            self.reader.end()
        if self.reader is None:
            self.error = SendError.CONNECT_TIMEOUT
        elif self.reader.status is None:
            self.error = SendError.TIMEOUT

    def answer(self, duration_millis: int) -> Answer:
        reader = self.reader
        if reader is None:
            return Answer(self.url, None, self.error, b"", duration_millis)
        wait = 0.0 if reader.status == 200 else seconds_of(reader.header(b"retry-after"))
        return Answer(self.url, reader.status, self.error, reader.beginning, duration_millis, 0.0, wait)


class WebhookSender:
    """Post webhooks over one pool of connections."""

    def __init__(
        self,
        *,
        user_agent: str,
        timeout_seconds: float,
        connections: int,
        https_only: bool = False,
        allowed: Allowed | None = None,
        names: Names | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: Target | None = None,
    ) -> None:
        """With `https_only`, neither a URL nor a redirect may be plain http. `allowed` decides which addresses may be
        dialled; None allows all. Up to `connections` idle connections are kept for later requests. `tls` replaces the
        system's certificates, and `proxy` is an egress proxy. Create the sender on a running event loop, and call
        `close` at the end."""
        self._https_only = https_only
        self._limit = _TimeLimit(timeout_seconds)
        self._dialer = Dialer(names or PooledNames(), allowed, tls, proxy=proxy)
        self._pool = Pool(connections)
        self._batch = RequestBatch()
        self._loop = asyncio.get_running_loop()
        self._fixed = _lines(webhook_headers(user_agent) | {"Accept": "*/*", "Accept-Encoding": "identity"})

    async def close(self) -> None:
        """Close the connections."""
        self._limit.stop()
        self._pool.close()
        await self._dialer.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """POST the bytes and return the outcome. A redirect keeps the method and the bytes. One time limit covers the
        request and its redirects."""
        task = cast("asyncio.Task[Any]", asyncio.current_task(self._loop))
        started = time.perf_counter()
        attempt = _Attempt(url)
        rest = _rest_of_request(self._fixed, body, headers)
        self._limit.begin(task)
        try:
            await self._follow(attempt, rest)
        except asyncio.CancelledError:
            if not self._limit.has_expired(task):
                raise
            attempt.note_expired()
        except OSError as error:
            attempt.error = explain_failure(error)
        finally:
            self._limit.end(task)
        return attempt.answer(int((time.perf_counter() - started) * 1000))

    async def _follow(self, attempt: _Attempt, rest: bytes) -> None:
        """Send the request and follow its redirects. `attempt` has the URL of the last request."""
        for _ in range(_MOST_REDIRECTS + 1):
            target = parse_target(attempt.url)
            if isinstance(target, BadUrl) or (self._https_only and not target.is_tls):
                attempt.error = SendError.INVALID_URL
                return
            reader = await self._exchange(attempt, target, rest)
            if reader.status is None:
                attempt.error = _name_protocol(reader)
                return
            location = reader.header(b"location") if reader.status in _REDIRECTS else ""
            if not location:
                return
            following = _join(attempt.url, location)
            if isinstance(parse_target(following), BadUrl):
                attempt.error = SendError.INVALID_URL
                return
            attempt.url = following
        attempt.error = SendError.TOO_MANY_REDIRECTS

    async def _exchange(self, attempt: _Attempt, target: Target, rest: bytes) -> AnswerReader:
        request = _request_line(target) + rest
        place = (target.is_tls, target.host, target.port)
        kept = self._pool.take(place)
        if kept is not None:
            attempt.connection = kept
            try:
                return self._finish(attempt, place, await kept.exchange(request, self._batch))
            except OSError:
                # The server closed the idle connection. No byte arrived, so it has most likely not received the
                # request.
                pass
        attempt.connection = attempt.reader = None
        attempt.connection = await self._dialer.dial(target)
        return self._finish(attempt, place, await attempt.connection.exchange(request, self._batch))

    def _finish(self, attempt: _Attempt, place: object, reader: AnswerReader) -> AnswerReader:
        attempt.reader = reader
        if attempt.connection is not None:
            self._pool.keep(place, attempt.connection)
        return reader


def seconds_of(retry_after: str) -> float:
    """Return the wait in seconds that a `Retry-After` requests, at most a day. Its value is seconds or a date (RFC
    9110, 10.2.3); 0 for any other value."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(min(int(retry_after[:9]), _LONGEST_WAIT_SECONDS))
    try:
        until = parsedate_to_datetime(retry_after)
        return min(max(until.timestamp() - time.time(), 0.0), _LONGEST_WAIT_SECONDS)
    except (ValueError, OverflowError, OSError):
        return 0.0


def _name_protocol(reader: AnswerReader) -> SendError:
    """Return the word for an answer of another protocol."""
    # A record of TLS: an alert (21) or a handshake (22), of version 3.x.
    is_tls = reader.first_bytes[:2] in {b"\x15\x03", b"\x16\x03"}
    return SendError.TLS_EXPECTED if is_tls else SendError.UNREADABLE_ANSWER


def _join(url: str, location: str) -> str:
    """Return the absolute URL of a redirect, or an empty text. The caller checks whether it is valid."""
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")


def _rest_of_request(fixed: bytes, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return everything after the `Host` header: the same for every redirect."""
    own = _lines(headers) if headers else b""
    return b"%bContent-Length: %d\r\n%b\r\n%b" % (fixed, len(body), own, body)


def _request_line(target: Target) -> bytes:
    # The path goes out as the shop wrote it: a receiver may compare its secret byte by byte.
    authorization = f"Authorization: {target.authorization}\r\n" if target.authorization else ""
    return f"POST {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n{authorization}".encode()
