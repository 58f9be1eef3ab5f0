"""Calls that wait for a state: `wait=SECONDS` on lists, orders and returns of the operator's API.

A waiting call reads again whenever a commit adds rows to one of its tables, and at least twice a second: other
processes announce only some of their commits.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from starlette.types import Receive

from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.storage.database import Database

T = TypeVar("T")

LONGEST_WAIT_SECONDS: Final = 60
_AT_LEAST_EVERY_SECONDS: Final = 0.5
# Calls that wait at the same time in one process. Another one is answered at once, because each costs two readings a
# second.
_MOST_WAITING: Final = 500


class Waits:
    """The waiting calls of this process."""

    def __init__(self, database: Database, most: int = _MOST_WAITING) -> None:
        """`most` is the number of calls that may wait at the same time."""
        self._database = database
        self._most = most
        self._signals: set[asyncio.Event] = set()
        self._is_closed = False

    async def wait_until(
        self,
        read: Callable[[], Awaitable[T]],
        is_enough: Callable[[T], bool],
        seconds: float,
        tables: tuple[str, ...] = (),
        signal: asyncio.Event | None = None,
        *,
        polls: bool = True,
    ) -> T:
        """Return the first reading that is enough, or the last one when the seconds have passed.

        It reads again after each commit that adds rows to `tables`, and when `signal` is set; with `polls` also twice a
        second."""
        signal = signal or asyncio.Event()
        until = time.monotonic() + (seconds if len(self._signals) < self._most else 0)
        with self._listen(signal, tables):
            while True:
                signal.clear()
                found = await read()
                left = until - time.monotonic()
                if is_enough(found) or left <= 0 or self._is_closed:
                    return found
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(signal.wait(), min(left, _AT_LEAST_EVERY_SECONDS) if polls else left)

    def close(self) -> None:
        """Answer all waiting calls, because the process ends."""
        self._is_closed = True
        for signal in self._signals:
            signal.set()

    @contextlib.contextmanager
    def _listen(self, signal: asyncio.Event, tables: tuple[str, ...]) -> Iterator[None]:
        self._signals.add(signal)
        for table in tables:
            self._database.subscribe(table, signal.set)
        try:
            yield
        finally:
            self._signals.discard(signal)
            for table in tables:
                self._database.unsubscribe(table, signal.set)


async def run_until_left(receive: Receive, running: Coroutine[Any, Any, T]) -> T | None:
    """Run a call that may wait. Return None, and end it, if its caller closes the connection."""

    async def leave() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # The rest of a body that the call does not have.

    answering, leaving = asyncio.ensure_future(running), asyncio.ensure_future(leave())
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else None
    finally:
        answering.cancel()
        leaving.cancel()


def wait_of(query: Mapping[str, str]) -> float:
    """Return the parameter `wait` in seconds, 0 without it. Raises INVALID_PARAMETER."""
    text = query.get("wait", "0")
    try:
        seconds = float(text) if text.isascii() and len(text) <= 10 else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise invalid_parameter(f"wait: give a number of seconds from 0 to {LONGEST_WAIT_SECONDS}.")
    return seconds


def count_of(query: Mapping[str, str]) -> int:
    """Return the parameter `count`, the number of results to wait for; 1 without it. Raises INVALID_PARAMETER."""
    text = query.get("count", "1")
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) >= 1):
        raise invalid_parameter("count: give the number of results to wait for, from 1.")
    return int(text)


def states_of(query: Mapping[str, str], states: type[StrEnum]) -> frozenset[str]:
    """Return the states of the parameter `state`, which has commas between them; empty without it. Raises
    INVALID_PARAMETER."""
    given = {part.strip() for part in query.get("state", "").split(",") if part.strip()}
    unknown = sorted(given - set(states))
    if unknown:
        raise invalid_parameter(f"state: {unknown[0][:40]} is not valid; valid values: {', '.join(states)}.")
    return frozenset(given)
