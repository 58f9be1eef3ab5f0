"""The request core, without any input or output: requests, retries, and the meaning of answers.

A call is a generator. It yields an effect (`Send` or `Pause`) and receives its outcome. So the same code serves clients
with and without an event loop.
"""

import random
import time
from collections.abc import Callable, Generator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, TypeVar

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode
from kalathi.contract.reading import Reading, read
from kalathi.contract.words import BASE_PATH
from kalathi.merchant.client.error_bodies import read_entries
from kalathi.merchant.client.failures import (
    CallError,
    MarketplaceError,
    RateLimitedError,
    RedirectedError,
    UnreachableError,
    UnreadableAnswerError,
    marketplace_error,
)
from kalathi.merchant.client.redirects import new_base, show_address
from kalathi.merchant.client.transport import HttpAnswer

T = TypeVar("T")

_JSON: Final = "application/json; charset=utf-8"
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Send(NamedTuple):
    """An effect: send this request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class Pause(NamedTuple):
    """An effect: wait."""

    seconds: float


Came = HttpAnswer | UnreachableError | RedirectedError | None
Flow = Generator[Send | Pause, Came, T]


class Retries(NamedTuple):
    """The retry schedule of calls that are safe to repeat.

    The pause doubles after each attempt, up to `longest_pause_seconds`; the actual pause is random, between half of it
    and all of it. A longer `Retry-After` is respected, but the call fails if it exceeds `longest_pause_seconds`.
    """

    attempts: int = 4
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0


class Call(NamedTuple):
    """One call. `repeats`: it is safe to repeat. Examples are a read, and a call that the marketplace refuses after it
    has succeeded once; `done_says` is the sentence of that refusal."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = _NO_HEADERS
    repeats: bool = False
    done_says: str = ""


class RequestCore:
    """The common part of all calls of one shop: headers, retries, and the interpretation of answers."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        vendor: str,
        retries: Retries,
        api_path: str = BASE_PATH,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.base = self.base_url + api_path
        self._api_path = api_path
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Accept": f"application/vnd.{vendor}+json; version=3.0",
            "Content-Type": _JSON,
        }
        self._retries = retries
        self._chance = chance
        self._clock = clock
        # The `Date` header of the newest answer, in seconds since 1970; None if the answer had none.
        self.marketplace_time: float | None = None

    def call(self, call: Call, wanted: type[T]) -> Flow[T]:
        """Make the call, with retries if they are safe, and read as much of the answer as possible
        (docs/contract.md#section-11). Raises MarketplaceError, UnreachableError, RedirectedError."""
        return (yield from self.call_reading(call, wanted)).value

    def call_reading(self, call: Call, wanted: type[T]) -> Flow[Reading[T]]:
        """Make the call as `call` does, and return the unreadable places of the answer too."""
        send = Send(call.method, self.base + call.path, {**self._headers, **call.headers}, call.body)
        may_have_happened = False
        for attempt in range(1, self._retries.attempts + 1):
            came = yield send
            # Downloads from links do not set this time, because another server may answer them.
            self.marketplace_time = (
                _seconds_of_date(came.headers.get("date", "")) if isinstance(came, HttpAnswer) else None
            )
            failure = self._failure(came)
            if isinstance(failure, RedirectedError):
                raise self._name_new_address(failure, call)
            if failure is None and isinstance(came, HttpAnswer):
                found = _read(came, wanted)
                if not isinstance(found, UnreachableError):
                    return found
                failure = found
            if failure is None:
                raise AssertionError("a request has an answer or an error")
            if may_have_happened and _has_message(failure, call.done_says):
                return Reading(decode(b'{"success": true}', wanted))
            may_have_happened |= isinstance(failure, UnreachableError) or _is_of_the_server(failure)
            seconds = self._pause_seconds(call, failure, attempt)
            if seconds is None:
                raise failure
            yield Pause(seconds)
        raise AssertionError("the last attempt returns or raises")

    def plain(self, url: str) -> Flow[HttpAnswer]:
        """GET a link without the token. Links need no token, and other hosts must not receive it."""
        call = Call("GET", url, repeats=True)
        for attempt in range(1, self._retries.attempts + 1):
            came = yield Send("GET", url, _NO_HEADERS, None)
            failure = self._failure(came)
            if failure is None and isinstance(came, HttpAnswer):
                return came
            if failure is None:
                raise AssertionError("a request has an answer or an error")
            seconds = self._pause_seconds(call, failure, attempt)
            if seconds is None:
                raise failure
            yield Pause(seconds)
        raise AssertionError("the last attempt returns or raises")

    def _pause_seconds(self, call: Call, failure: CallError, attempt: int) -> float | None:
        """Return the pause before the next attempt, or None if the call must not be repeated."""
        if attempt >= self._retries.attempts or not failure.may_pass:
            return None
        # The server did not process a request that it answered with 429, so even a call that must not happen twice can
        # be repeated.
        if not (call.repeats or isinstance(failure, RateLimitedError)):
            return None
        if isinstance(failure, MarketplaceError) and failure.status in {401, 403, 406}:
            return None  # A retry cannot help until a person corrects the set-up.
        longest = self._retries.longest_pause_seconds
        asked = failure.retry_after_seconds if isinstance(failure, MarketplaceError) else None
        if asked is not None and asked > longest:
            return None
        pause = min(self._retries.first_pause_seconds * (1 << (attempt - 1)), longest)
        return max(pause * (0.5 + self._chance() / 2), asked or 0.0)

    def _failure(self, came: Came) -> CallError | None:
        if not isinstance(came, HttpAnswer):
            return came
        if 200 <= came.status < 300:
            return None
        return marketplace_error(came.status, read_entries(came.body), _retry_after(came.headers, self._clock))

    def _name_new_address(self, error: RedirectedError, call: Call) -> RedirectedError:
        """Return the error with the marketplace's new address, if the redirect changes only the server and keeps the
        path of the call."""
        new_base_url = new_base(error.refused, self._api_path + call.path)
        return RedirectedError(error.refused, base_url=show_address(self.base_url), new_base_url=new_base_url)


def _retry_after(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    """Return the `Retry-After` header in seconds. The header is a number or an HTTP date. A date is compared with the
    `Date` of the answer, so that a wrong clock of this machine does not matter."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    until = _seconds_of_date(text)
    if until is None:
        return None
    now = _seconds_of_date(headers.get("date", ""))
    return max(until - (clock() if now is None else now), 0.0)


def _seconds_of_date(text: str) -> float | None:
    """Return seconds since 1970, or None if the text is not a date."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError):
        return None


def _read(answer: HttpAnswer, wanted: type[T]) -> Reading[T] | UnreachableError:
    try:
        return read(answer.body, wanted)
    except UnreadableBodyError as error:
        return UnreachableError(f"the answer could not be read: {error}")
    except UnexpectedShapeError as error:
        return UnreadableAnswerError(f"the answer is not what the contract says: {error}", answer.body)


def _is_of_the_server(failure: CallError) -> bool:
    return isinstance(failure, MarketplaceError) and failure.status >= 500


def _has_message(failure: CallError, sentence: str) -> bool:
    return bool(sentence) and isinstance(failure, MarketplaceError) and sentence in failure.messages
