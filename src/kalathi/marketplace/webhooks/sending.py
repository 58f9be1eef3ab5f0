"""One POST to a shop's endpoint: headers, time limit, redirects. A bad endpoint never raises."""

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver

from kalathi.marketplace.webhooks.guard import Allowed, ForbiddenAddressError, GuardedResolver, is_written_out

NO_HEADERS: Final[Mapping[str, str]] = {}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 3
_ANSWER_BYTES: Final = 500
_LONGEST_WAIT_SECONDS: Final = 86_400


class SendError(StrEnum):
    """Why there is no status to show."""

    NONE = ""
    NO_URL = "no_url"
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


def webhook_headers(user_agent: str) -> dict[str, str]:
    """The headers of every webhook (contract, section 4)."""
    return {"Content-Type": "application/json; charset=utf-8", "User-Agent": user_agent}


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
        self._timeout_seconds = timeout_seconds
        # aiohttp's own limit of 100 connections would make the slots of a large pool wait for each other.
        guarded = None if allowed is None else GuardedResolver(allowed, resolver)
        connector = aiohttp.TCPConnector(limit=connections, resolver=guarded)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=webhook_headers(user_agent) | {"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """POSTs the bytes; on a redirect the method and the bytes stay, and one time limit holds for all of it."""
        started = time.perf_counter()
        current = url
        try:
            async with asyncio.timeout(self._timeout_seconds):
                for _ in range(_MOST_REDIRECTS + 1):
                    if self._https_only and not current.lower().startswith("https://"):
                        return Answer(current, None, SendError.INVALID_URL, b"", _millis_since(started))
                    status, answered, beginning = await self._once(current, body, headers)
                    location = answered.get("Location", "")
                    if status not in _REDIRECTS or not location:
                        wait = 0.0 if status == 200 else seconds_of(answered.get("Retry-After", ""))
                        taken = _millis_since(started)
                        return Answer(current, status, SendError.NONE, beginning, taken, retry_after_seconds=wait)
                    following = urljoin(current, location)
                    if not _is_address(following):
                        return Answer(current, status, SendError.INVALID_URL, b"", _millis_since(started))
                    current = following
                return Answer(current, None, SendError.TOO_MANY_REDIRECTS, b"", _millis_since(started))
        except TimeoutError:
            return Answer(current, None, SendError.TIMEOUT, b"", _millis_since(started))
        except (aiohttp.InvalidURL, ValueError):
            return Answer(current, None, SendError.INVALID_URL, b"", _millis_since(started))
        except aiohttp.ClientConnectorError as error:
            forbidden = isinstance(error.os_error, ForbiddenAddressError)
            why = SendError.FORBIDDEN_ADDRESS if forbidden else SendError.CONNECTION
            return Answer(current, None, why, b"", _millis_since(started))
        except ForbiddenAddressError:
            return Answer(current, None, SendError.FORBIDDEN_ADDRESS, b"", _millis_since(started))
        except (aiohttp.ClientError, OSError):
            return Answer(current, None, SendError.CONNECTION, b"", _millis_since(started))

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


def _millis_since(started: float) -> int:
    return int((time.perf_counter() - started) * 1000)
