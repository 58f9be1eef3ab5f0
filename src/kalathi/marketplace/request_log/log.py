"""The request log of one process: it records calls as they are answered, and reads those of all processes."""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from kalathi.contract.errors import ErrorEnvelope
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.request_log.files import CallFiles, read_all
from kalathi.marketplace.request_log.model import (
    CallFilter,
    LoggedCall,
    StoredCall,
    mask_body,
    mask_header,
    mask_query,
    show_call,
)

_log = structlog.get_logger("kalathi.requests")

# Keys of an ASGI scope. The front stores values of the call under them, for the log.
REQUEST_ID: Final = "kalathi.request_id"
SHOP_ID: Final = "kalathi.shop_id"
BODY: Final = "kalathi.body"
# The size of a body that is not kept.
BODY_BYTES: Final = "kalathi.body_bytes"
_MOST_CALLS: Final = 20_000
# Of a longer body or answer, only the beginning is stored.
_LONGEST_BODY: Final = 100_000

# A reading of the files serves other readers for so long, unless this process has written since.
_LOADED_SECONDS: Final = 0.4
# Later than every business time that a filter can name.
_NO_TIME: Final = 1 << 60
_DAY_MILLIS: Final = 86_400_000
_TRIM_EVERY_MILLIS: Final = 3_600_000
# Calls that are compared with later ones: at most so many, and none with a longer answer.
_MOST_REPEATED: Final = 1_000
_LONGEST_REPEATED: Final = 20_000

Scope = MutableMapping[str, Any]
# A call until it is written: its scope, begin and end (`time.perf_counter_ns`), status and answer.
_Waiting = tuple[Scope, int, int, int, bytes]


class FoundCalls(NamedTuple):
    """A page of the log, newest call first, and the total number of calls that match."""

    calls: list[LoggedCall]
    total: int


class _Loaded(NamedTuple):
    """A reading of all files: the number of our own writes before it, and its time (`time.monotonic`)."""

    writes: int
    at: float
    calls: list[StoredCall]


class _Follower(NamedTuple):
    wanted: CallFilter
    arrived: asyncio.Event


class _Repeatable:
    """A GET in the current file, and its repetitions that are not written yet: calls of the same shop with the same
    path, headers and answer."""

    __slots__ = ("answer", "call_id", "durations_nanos", "headers", "ids", "path", "shop_id")

    def __init__(self, call_id: bytes, scope: Scope, answer: bytes) -> None:
        self.call_id = call_id
        # The answer is kept, so that no other bytes get its identity.
        self.answer = answer
        self.path, self.headers, self.shop_id = scope["path"], scope["headers"], scope[SHOP_ID]
        self.ids: list[bytes] = []
        self.durations_nanos: list[int] = []

    def as_call(self) -> StoredCall:
        """Return a call with the members that a filter compares. Its time is that of no filter."""
        none = b""
        return StoredCall(none, _NO_TIME, 0, 0, self.shop_id, "GET", self.path, none, None, none, 0, 200, none, 0, "")


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
        days: int,
        has_bodies: bool,
        clock: BusinessClock,
        real: Callable[[], int],
        name_call: Callable[[str, str], str],
        most_calls: int = _MOST_CALLS,
    ) -> None:
        """`real` returns real time in milliseconds since 1970, `name_call` the name of a method and path. The files are
        opened for the first call, because a worker has no calls."""
        self._folder = folder
        self._files: CallFiles | None = None
        self._most_bytes, self._most_calls = megabytes * 1_000_000, most_calls
        self._kept_millis = days * _DAY_MILLIS
        self._trimmed_at = 0
        self.has_bodies = has_bodies
        self._clock, self._real = clock, real
        self.name_call = name_call
        self._waiting: list[_Waiting] = []
        # The headers of the last call in the file: a client sends the same ones each time.
        self._last_headers: Any = None
        # The last call with each path and query, and its answer.
        self._answers: dict[tuple[str, bytes], tuple[bytes, bytes]] = {}
        # The calls that can be repeated, by the identity of their answer: an order that has not changed has the same
        # answer (docs/decisions/0057). `_repeated` are those with repetitions that are not written yet.
        self._repeatable: dict[int, _Repeatable] = {}
        self._repeated: list[_Repeatable] = []
        self._writes = 0
        self._loaded: _Loaded | None = None
        self._is_scheduled = False
        self._followers: set[_Follower] = set()
        self._fails = False

    def record(self, scope: Scope, started_nanos: int, status: int, answer: bytes) -> None:
        """Record an answered call; status 0 stands for a connection that was cut. `started_nanos` is of
        `time.perf_counter_ns`.

        The calls of one turn of the event loop are written together at its end, because each write is a system call.
        """
        ended = time.perf_counter_ns()
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._write)
        first = self._repeatable.get(id(answer))
        # Compared here and not in a separate method: this runs for each call, and a call takes 35 µs in all.
        if (
            first is not None
            and scope["headers"] == first.headers
            and scope["path"] == first.path
            and scope[SHOP_ID] == first.shop_id
            and not scope["query_string"]
        ):
            if not first.ids:
                self._repeated.append(first)
            first.ids.append(scope[REQUEST_ID])
            first.durations_nanos.append(ended - started_nanos)
        else:
            self._waiting.append((scope, started_nanos, ended, status, answer))

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

    def _load(self) -> list[StoredCall]:
        """Return all calls, oldest first. Callers that wait for the same log share a reading."""
        writes, now = self._writes, time.monotonic()
        if self._loaded is None or self._loaded.writes != writes or now - self._loaded.at > _LOADED_SECONDS:
            self._loaded = _Loaded(writes, now, list(read_all(self._folder)))
        return self._loaded.calls

    def _select(self, wanted: CallFilter) -> list[StoredCall]:
        calls = self._load()
        if wanted.after:
            name = wanted.after.encode()
            calls = calls[next((at + 1 for at, call in enumerate(calls) if call.id == name), 0) :]
        return [call for call in calls if wanted.allows(call, self.name_call)]

    def _read(self, wanted: CallFilter, per: int, offset: int) -> FoundCalls:
        stored = self._select(wanted)[::-1]
        return FoundCalls([show_call(call, self.name_call) for call in stored[offset : offset + per]], len(stored))

    def _find(self, request_id: bytes) -> LoggedCall | None:
        found = next((call for call in self._load() if call.id == request_id), None)
        return None if found is None else show_call(found, self.name_call)

    def follow(self, wanted: CallFilter) -> "Following":
        """Return a context in which `arrived` is set by the next call of this process that matches."""
        return Following(self._followers, _Follower(wanted, asyncio.Event()))

    def drop_old(self) -> None:
        """Delete the calls that are older than `days`."""
        self._write()
        if self._files is not None:
            self._trim(self._files, self._real())

    def forget_codes(self, codes: Collection[str]) -> None:
        """Delete the calls that name one of these orders or returns, of this process and of processes that have ended.
        Other running processes keep theirs for `request_log_days`."""
        marks = [code.encode() for code in codes]

        def is_named(call: StoredCall) -> bool:
            texts = (call.path.encode(errors="replace"), call.query, call.body, call.answer or b"")
            return any(mark in text for mark in marks for text in texts)

        self._drop(is_named)

    def forget_shop(self, shop_id: str) -> None:
        """Delete the calls of a shop, of this process and of processes that have ended."""
        self._drop(lambda call: call.shop_id == shop_id)

    def _drop(self, is_dropped: Callable[[StoredCall], bool]) -> None:
        self._write()
        files = self._files
        if files is None:
            return
        self._forget_repeatable()
        self._loaded = None
        try:
            files.drop(is_dropped)
        except OSError as error:
            self._report(error)

    def _trim(self, files: CallFiles, real_at: int) -> None:
        self._trimmed_at = real_at
        self._forget_repeatable()
        try:
            files.drop_before(real_at - self._kept_millis)
        except OSError as error:
            self._report(error)

    def close(self) -> None:
        """Write the last calls, and close the files."""
        self._write()
        if self._files is not None:
            self._files.close()

    def _write(self) -> None:
        """Write the calls that were answered since the last write, as one frame."""
        self._is_scheduled = False
        waiting, self._waiting = self._waiting, []
        repeated, self._repeated = self._repeated, []
        if not waiting and not repeated:
            return
        rows: list[tuple[Any, ...]] = []
        try:
            files = self._open()
            at, real_at = self._clock.now_millis(), self._real()
            # They refer to calls of earlier frames, so the new calls come after them.
            rows = [(1, first.call_id, at, real_at, first.ids, first.durations_nanos) for first in repeated]
            if waiting:
                rows += self._make_rows(waiting, at, real_at)
            files.append(rows, len(waiting) + sum(len(first.ids) for first in repeated))
            if files.is_full:
                files.change_files()
                self._forget_repeatable()
            if real_at - self._trimmed_at > _TRIM_EVERY_MILLIS:
                self._trim(files, real_at)
        except (OSError, UnicodeError) as error:  # For example a path with half of a surrogate pair.
            self._report(error)
            self._forget_repeatable()
        else:
            self._fails = False
        for first in repeated:
            first.ids, first.durations_nanos = [], []
        self._writes += 1
        if self._followers:
            self._wake_followers(rows, repeated)

    def _wake_followers(self, rows: list[tuple[Any, ...]], repeated: list["_Repeatable"]) -> None:
        calls = [StoredCall(*row[1:]) for row in rows if not row[0]] + [first.as_call() for first in repeated]
        for follower in self._followers:
            if any(follower.wanted.allows(call, self.name_call) for call in calls):
                follower.arrived.set()

    def _make_rows(self, waiting: list[_Waiting], at: int, real_at: int) -> list[tuple[Any, ...]]:
        """Return the calls as tuples: the tag and the fields of `StoredCall`."""
        has_bodies, last_headers = self.has_bodies, self._last_headers
        rows = []
        for scope, started, ended, status, answer in waiting:
            request_id, headers, query = scope[REQUEST_ID], scope["headers"], scope["query_string"]
            if headers == last_headers:
                masked = None
            else:
                last_headers = headers
                masked = [(name, mask_header(name, value)) for name, value in headers]
            body = scope.get(BODY, b"")
            same_as = self._find_same_answer(request_id, (scope["path"], query), answer)
            if status == 200 and scope["method"] == "GET" and not query:
                self._keep_repeatable(_Repeatable(request_id, scope, answer))
            rows.append(
                (
                    0,
                    request_id,
                    at,
                    real_at,
                    (ended - started) // 1000,
                    scope.get(SHOP_ID, ""),
                    scope["method"],
                    scope["path"],
                    mask_query(query) if query else query,
                    masked,
                    mask_body(body[:_LONGEST_BODY]) if has_bodies and body else b"",
                    scope.get(BODY_BYTES, len(body)),
                    status,
                    None if same_as else answer[:_LONGEST_BODY] if has_bodies else b"",
                    len(answer),
                    "" if status < 400 else _error_code(answer),
                    same_as,
                )
            )
        self._last_headers = last_headers
        return rows

    def _find_same_answer(self, request_id: bytes, place: tuple[str, bytes], answer: bytes) -> bytes:
        """Return the id of the last call with this path and query if it has the same answer, else empty bytes. A list
        that a client polls has the same answer most times."""
        earlier = self._answers.get(place)
        if earlier is not None and earlier[1] == answer:
            return earlier[0]
        if len(self._answers) >= _MOST_REPEATED:
            self._answers.clear()
        if len(answer) <= _LONGEST_REPEATED:
            self._answers[place] = (request_id, answer)
        return b""

    def _keep_repeatable(self, call: "_Repeatable") -> None:
        if len(call.answer) > _LONGEST_REPEATED:
            return
        if len(self._repeatable) >= _MOST_REPEATED:
            self._repeatable.clear()
        self._repeatable[id(call.answer)] = call

    def _open(self) -> CallFiles:
        if self._files is None:
            self._files = CallFiles(self._folder, self._most_bytes, self._most_calls)
        return self._files

    def _forget_repeatable(self) -> None:
        """Write calls and their headers whole again. A file refers to no other."""
        self._last_headers = None
        self._repeatable.clear()
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
