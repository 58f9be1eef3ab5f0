"""One POST to a shop's endpoint: headers, time limit, redirects. A bad endpoint never raises."""

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver

from kalathi.marketplace.webhooks.guard import Allowed, ForbiddenAddressError, GuardedResolver, is_written_out
from kalathi.marketplace.webhooks.names import PooledResolver

NO_HEADERS: Final[Mapping[str, str]] = {}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 3
_ANSWER_BYTES: Final = 500
_LONGEST_WAIT_SECONDS: Final = 86_400


class SendError(StrEnum):
    """Why there is no status to show."""

    NONE = ""
    NO_URL = "no_url"
    # No event that opens this subject has reached the present URL (contract, section 8).
    SILENCED = "silenced"
    INVALID_URL = "invalid_url"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    FORBIDDEN_ADDRESS = "forbidden_address"
    UNFORESEEN = "unforeseen"
    # Brought about by a sandbox; the endpoint was not asked, or its answer was thrown away.
    INJECTED_STATUS = "injected_status"
    INJECTED_DROP = "injected_drop"
    INJECTED_TIMEOUT = "injected_timeout"
    HELD_BACK = "held_back"


class Answer(NamedTuple):
    """How an attempt ended: the last URL asked, its status and the beginning of its body, real milliseconds taken."""

    url: str
    status: int | None
    error: SendError
    body: bytes
    duration_millis: int
    # How much later an event that was held back is tried again.
    hold_seconds: float = 0.0
    # How long the endpoint has asked to be left alone.
    retry_after_seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        """Success is exactly 200 (contract, section 4)."""
        return self.status == 200 and self.error is SendError.NONE


class _Ended(NamedTuple):
    """What came back at last."""

    status: int | None = None
    beginning: bytes = b""
    wait_seconds: float = 0.0
    error: SendError = SendError.NONE


_NOTHING: Final = _Ended()


def webhook_headers(user_agent: str) -> dict[str, str]:
    """The headers of every webhook (contract, section 4)."""
    return {"Content-Type": "application/json; charset=utf-8", "User-Agent": user_agent}


class _TimeLimit:
    """One limit for many tasks. asyncio's own makes a timer for each, which costs a tenth of a request; this one looks
    at all of them a few times a second."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._look_again_seconds = min(seconds / 10, 0.25)
        self._loop = asyncio.get_running_loop()
        self._ends_at: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[Any]) -> None:
        """The task has so long from now; when it is over, it is cancelled."""
        self._ends_at[task] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_again_seconds, self._look)

    def end(self, task: asyncio.Task[Any]) -> None:
        """The task has done it."""
        self._ends_at.pop(task, None)
        self._expired.discard(task)

    def has_expired(self, task: asyncio.Task[Any]) -> bool:
        """Whether a cancellation that the task has met is ours alone, and no longer counts."""
        return task in self._expired and task.uncancel() == 0

    def stop(self) -> None:
        """Nothing is sent any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        for task, ends_at in self._ends_at.items():
            if ends_at <= now and task not in self._expired:
                self._expired.add(task)
                task.cancel()
        self._timer = self._loop.call_later(self._look_again_seconds, self._look) if self._ends_at else None


class WebhookSender:
    """Posts webhooks over one pool of connections."""

    def __init__(
        self,
        *,
        user_agent: str,
        timeout_seconds: float,
        connections: int,
        https_only: bool = False,
        allowed: Allowed | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """With `https_only` neither a URL nor a redirect may be plain http. `allowed` says which addresses may be
        dialled; None lets everything through. Call `close` when done; must be made on a running event loop."""
        self._allowed = allowed
        self._https_only = https_only
        self._limit = _TimeLimit(timeout_seconds)
        # aiohttp's own limit of 100 connections would make the slots of a large pool wait for each other.
        names = resolver or PooledResolver()
        connector = aiohttp.TCPConnector(
            limit=connections, resolver=names if allowed is None else GuardedResolver(allowed, names)
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=webhook_headers(user_agent) | {"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Closes the connections."""
        self._limit.stop()
        await self._session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """POSTs the bytes; on a redirect the method and the bytes stay, and one time limit holds for all of it."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        started = time.perf_counter()
        asked = [url]
        ended = _NOTHING
        self._limit.begin(task)
        try:
            ended = await self._follow(asked, body, headers)
        except asyncio.CancelledError:
            if not self._limit.has_expired(task):
                raise
            error = SendError.TIMEOUT
        except aiohttp.ClientConnectorCertificateError:  # Which is a ValueError too.
            error = SendError.CONNECTION
        except (aiohttp.InvalidURL, ValueError):
            error = SendError.INVALID_URL
        except aiohttp.ClientConnectorError as refused:
            forbidden = isinstance(refused.os_error, ForbiddenAddressError)
            error = SendError.FORBIDDEN_ADDRESS if forbidden else SendError.CONNECTION
        except ForbiddenAddressError:
            error = SendError.FORBIDDEN_ADDRESS
        except TimeoutError:
            error = SendError.TIMEOUT
        except (aiohttp.ClientError, OSError):
            error = SendError.CONNECTION
        else:
            error = ended.error
        finally:
            self._limit.end(task)
        duration_millis = int((time.perf_counter() - started) * 1000)
        return Answer(asked[-1], ended.status, error, ended.beginning, duration_millis, 0.0, ended.wait_seconds)

    async def _follow(self, asked: list[str], body: bytes, headers: Mapping[str, str]) -> _Ended:
        """From redirect to redirect; the URLs that were asked are noted."""
        for _ in range(_MOST_REDIRECTS + 1):
            url = asked[-1]
            if self._https_only and not url.lower().startswith("https://"):
                return _Ended(error=SendError.INVALID_URL)
            status, answered, beginning = await self._once(url, body, headers)
            location = answered.get("Location", "") if status in _REDIRECTS else ""
            if not location:
                wait = 0.0 if status == 200 else seconds_of(answered.get("Retry-After", ""))
                return _Ended(status, beginning, wait)
            following = urljoin(url, location)
            if not _is_address(following):
                return _Ended(status, error=SendError.INVALID_URL)
            asked.append(following)
        return _Ended(error=SendError.TOO_MANY_REDIRECTS)

    async def _once(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        # The URL goes out as the shop wrote it: a receiver may compare its secret byte by byte.
        target = _target(url)
        host = target.host or ""
        if self._allowed is not None and is_written_out(host) and not self._allowed(host):
            raise ForbiddenAddressError(host)
        async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as response:
            # A bounded read: what lies behind it is dropped with the connection.
            beginning = await response.content.read(_ANSWER_BYTES)
            return response.status, response.headers, beginning


def seconds_of(retry_after: str) -> float:
    """How long a `Retry-After` asks to wait: seconds, or until a date (RFC 9110, 10.2.3); 0 when it is neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(min(int(retry_after[:9]), _LONGEST_WAIT_SECONDS))
    try:
        until = parsedate_to_datetime(retry_after)
        return min(max(until.timestamp() - time.time(), 0.0), _LONGEST_WAIT_SECONDS)
    except (ValueError, OverflowError, OSError):
        return 0.0


@lru_cache(maxsize=4096)
def _target(url: str) -> yarl.URL:
    return yarl.URL(url, encoded=True)


def _is_address(url: str) -> bool:
    """Whether this can be asked and written down: a header may hold any bytes, and texts of a database may not."""
    return urlsplit(url).scheme in {"http", "https"} and url.isprintable() and url.isascii()
