"""The request log of one process: it records calls as they are answered, and reads those of all processes."""

import asyncio
import secrets
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from kalathi.contract.errors import ErrorEnvelope
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.request_log.files import CallFiles, read_all
from kalathi.marketplace.request_log.model import (
    SECRET_HEADERS,
    CallFilter,
    LoggedCall,
    StoredCall,
    mask_query,
    mask_secret,
    show_call,
)

_log = structlog.get_logger("kalathi.requests")

# Keys of an ASGI scope, under which the front leaves what it has read.
REQUEST_ID: Final = "kalathi.request_id"
SHOP_ID: Final = "kalathi.shop_id"
BODY: Final = "kalathi.body"
_MOST_CALLS: Final = 20_000
# Of a longer body or answer, only the beginning is stored.
_LONGEST_BODY: Final = 100_000

# Answers that are compared with later ones: at most so many, and none that is longer.
_MOST_ANSWERS: Final = 1_000
_LONGEST_REPEATED: Final = 20_000

Scope = MutableMapping[str, Any]
# A call until it is written: its scope, begin and end (`time.perf_counter_ns`), status and answer.
_Waiting = tuple[Scope, int, int, int, bytes]


class FoundCalls(NamedTuple):
    """A page of the log, newest call first, and the total number of calls that match."""

    calls: list[LoggedCall]
    total: int


class _Follower(NamedTuple):
    wanted: CallFilter
    arrived: asyncio.Event


class RequestIds:
    """Ids of requests, unique among all runs of all processes: a random word of this run, and a counter."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(4).encode()
        self._count = 0

    def make(self) -> bytes:
        """Return a new id, such as `9f86d081-2a`."""
        self._count += 1
        return b"%s-%x" % (self._run, self._count)


class RequestLog:
    """The log of the calls of the merchants' API."""

    def __init__(
        self,
        folder: Path,
        *,
        megabytes: int,
        has_bodies: bool,
        clock: BusinessClock,
        real: Callable[[], int],
        name_call: Callable[[str, str], str],
    ) -> None:
        """`real` returns real time in milliseconds since 1970, `name_call` the name of a method and path. The files are
        opened for the first call, because a worker has no calls."""
        self._folder = folder
        self._files: CallFiles | None = None
        self._most_bytes = megabytes * 1_000_000
        self.has_bodies = has_bodies
        self._clock, self._real = clock, real
        self.name_call = name_call
        self._waiting: list[_Waiting] = []
        # The headers of the last call in the file, and recent answers by their identity: a client sends the same
        # headers each time, and an order that has not changed has the same answer (docs/decisions/0057).
        self._last_headers: Any = None
        self._answers: dict[int, tuple[bytes, bytes]] = {}
        self._followers: set[_Follower] = set()
        self._fails = False

    def record(self, scope: Scope, started_nanos: int, status: int, answer: bytes) -> None:
        """Record an answered call; status 0 stands for a connection that was cut. `started_nanos` is of
        `time.perf_counter_ns`.

        The calls of one turn of the event loop are written together at its end, because each write is a system call.
        """
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append((scope, started_nanos, time.perf_counter_ns(), status, answer))

    async def read(self, wanted: CallFilter, per: int, offset: int) -> FoundCalls:
        """Return a page of the calls that match, from the files of all processes."""
        self._write()
        return await asyncio.to_thread(self._read, wanted, per, offset)

    async def find(self, request_id: str) -> LoggedCall | None:
        """Return the call with this id; None if the log has none."""
        self._write()
        return await asyncio.to_thread(self._find, request_id.encode())

    async def read_stored(self, wanted: CallFilter, most: int) -> list[StoredCall]:
        """Return the latest calls that match, oldest first, as they are stored."""
        self._write()
        return await asyncio.to_thread(lambda: self._select(wanted)[-most:])

    def _select(self, wanted: CallFilter) -> list[StoredCall]:
        return [call for call in read_all(self._folder) if wanted.allows(call, self.name_call)]

    def _read(self, wanted: CallFilter, per: int, offset: int) -> FoundCalls:
        stored = self._select(wanted)[::-1]
        if wanted.after:
            place = next((at for at, call in enumerate(stored) if call.id == wanted.after.encode()), len(stored))
            stored = stored[:place]
        return FoundCalls([show_call(call, self.name_call) for call in stored[offset : offset + per]], len(stored))

    def _find(self, request_id: bytes) -> LoggedCall | None:
        found = next((call for call in read_all(self._folder) if call.id == request_id), None)
        return None if found is None else show_call(found, self.name_call)

    def follow(self, wanted: CallFilter) -> "Following":
        """Return a context in which `arrived` is set by the next call of this process that matches."""
        return Following(self._followers, _Follower(wanted, asyncio.Event()))

    def drop_before(self, real_millis: int) -> None:
        """Delete the calls before a real time (milliseconds since 1970)."""
        try:
            if self._files is not None:
                self._files.drop_before(real_millis)
        except OSError as error:
            self._report(error)

    def close(self) -> None:
        """Write the last calls, and close the files."""
        self._write()
        if self._files is not None:
            self._files.close()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        rows = []
        try:
            files = self._open()
            rows = self._make_rows(waiting)
            files.append(rows)
        except (OSError, UnicodeError) as error:  # For example a path with half of a surrogate pair.
            self._report(error)
            self._forget_repeated()
        else:
            self._fails = False
        for follower in self._followers:
            if any(follower.wanted.allows(StoredCall(*row), self.name_call) for row in rows):
                follower.arrived.set()

    def _make_rows(self, waiting: list[_Waiting]) -> list[tuple[Any, ...]]:
        """Return the calls as tuples in the order of the fields of `StoredCall`."""
        at, real_at = self._clock.now_millis(), self._real()
        has_bodies, last_headers, answers = self.has_bodies, self._last_headers, self._answers
        rows = []
        for scope, started, ended, status, answer in waiting:
            request_id, headers, query = scope[REQUEST_ID], scope["headers"], scope["query_string"]
            if headers == last_headers:
                masked = None
            else:
                last_headers = headers
                masked = [(name, mask_secret(value) if name in SECRET_HEADERS else value) for name, value in headers]
            body = scope.get(BODY, b"")
            same = answers.get(id(answer))
            if same is None and len(answer) <= _LONGEST_REPEATED:
                # The answer is kept, so that no other bytes get its identity.
                answers[id(answer)] = (request_id, answer)
            rows.append(
                (
                    request_id,
                    at,
                    real_at,
                    (ended - started) // 1000,
                    scope.get(SHOP_ID, ""),
                    scope["method"],
                    scope["path"],
                    mask_query(query) if query else query,
                    masked,
                    body[:_LONGEST_BODY] if has_bodies else b"",
                    len(body),
                    status,
                    None if same is not None else answer[:_LONGEST_BODY] if has_bodies else b"",
                    len(answer),
                    "" if status < 400 else _error_code(answer),
                    b"" if same is None else same[0],
                )
            )
        self._last_headers = last_headers
        if len(answers) > _MOST_ANSWERS:
            answers.clear()
        return rows

    def _open(self) -> CallFiles:
        """Return the files, with room in the current one."""
        if self._files is None:
            self._files = CallFiles(self._folder, self._most_bytes, _MOST_CALLS)
            self._forget_repeated()
        elif self._files.is_full:
            self._files.change_files()
            self._forget_repeated()
        return self._files

    def _forget_repeated(self) -> None:
        """Write headers and answers whole again. A file refers to no other."""
        self._last_headers = None
        self._answers.clear()

    def _report(self, error: Exception) -> None:
        """Log the first of several failures. A call is answered even if it cannot be logged."""
        if not self._fails:
            _log.warning("request_log_not_written", error=str(error))
        self._fails = True


class Following:
    """A subscription to calls, as a context manager."""

    def __init__(self, followers: set[_Follower], follower: _Follower) -> None:
        self._followers = followers
        self._follower = follower

    def __enter__(self) -> asyncio.Event:
        self._followers.add(self._follower)
        return self._follower.arrived

    def __exit__(self, *_error: object) -> None:
        self._followers.discard(self._follower)


def _error_code(answer: bytes) -> str:
    try:
        errors = msgspec.json.decode(answer, type=ErrorEnvelope).errors
    except msgspec.MsgspecError:
        return ""
    return errors[0].code if errors else ""
