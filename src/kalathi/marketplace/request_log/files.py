"""The files of the request log. A call is appended with one write before the process does anything else, so the log
survives a killed process. It is not flushed to the disk: after a power failure the last seconds can be missing.

Each process has a pair of files, the current one and the one before. When the current file is full, it takes the place
of the other. A file is a mark, then frames: the length of a frame in four bytes, and a MessagePack array of calls.
"""

import contextlib
import errno
import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from msgspec.structs import replace

from kalathi.marketplace.request_log.model import RepeatedCalls, StoredCall
from kalathi.system.files import make_private_folder, open_for_appending, open_lock_file
from kalathi.system.locks import lock_file, try_lock

_MARK: Final = b"kalathi request log 1\n"
_LENGTH_BYTES: Final = 4
# As many processes as can serve one port.
_MOST_PAIRS: Final = 64
_Test = Callable[[StoredCall], bool]
_FRAMES = msgspec.msgpack.Decoder(list[StoredCall | RepeatedCalls])


class CallFiles:
    """The pair of files of this process, open for writing."""

    def __init__(self, folder: Path, most_bytes: int, most_calls: int) -> None:
        """Take the first pair that no other process has. Both limits are for the pair. Raises OSError."""
        make_private_folder(folder)
        self._folder = folder
        self._lock, number = _take_pair(folder)
        self._current, self._before = folder / f"{number}.calls", folder / f"{number}.before.calls"
        self._most_bytes, self._most_calls = most_bytes // 2, most_calls // 2
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()
        self._descriptor = -1
        self._size = self._count = 0
        self._open()

    @property
    def is_full(self) -> bool:
        """Whether the next calls need another file."""
        return self._size >= self._most_bytes or self._count >= self._most_calls

    def change_files(self) -> None:
        """Begin a new file. The current one takes the place of the one before. Raises OSError."""
        self._close()  # Windows moves no open file.
        try:
            self._current.replace(self._before)
        finally:
            self._open()

    def append(self, frame: Sequence[tuple[Any, ...]], count: int) -> None:
        """Write a frame of `count` calls. Its entries are tuples: the tag and the fields of `StoredCall` or of
        `RepeatedCalls`. Raises OSError."""
        buffer = self._buffer
        self._encoder.encode_into(frame, buffer, _LENGTH_BYTES)
        length = len(buffer)
        buffer[:_LENGTH_BYTES] = (length - _LENGTH_BYTES).to_bytes(_LENGTH_BYTES)
        written = os.write(self._descriptor, buffer)
        if written < length:
            # Remove the half frame, so that later frames can be read.
            os.ftruncate(self._descriptor, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._current))
        self._size += length
        self._count += count

    def drop_before(self, real_millis: int) -> None:
        """Delete the calls before a real time (milliseconds since 1970), of this process and of processes that have
        ended. Raises OSError."""
        self.drop(lambda call: call.real_at < real_millis, lambda first: first.real_at < real_millis)

    def drop(self, is_dropped: _Test, can_have: _Test = lambda _first: True) -> None:
        """Delete calls, of this process and of processes that have ended. `can_have` says by the first call of a file
        whether the file can have any of them. Raises OSError."""
        self._close()
        try:
            for path in (self._before, self._current):
                _rewrite(path, is_dropped, can_have)
        finally:
            self._open()
        for lock in self._folder.glob("*.lock"):
            _drop_of_ended(lock, is_dropped, can_have)

    def close(self) -> None:
        """Close the files, so that another process can take them."""
        self._close()
        self._lock.close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = open_for_appending(self._current)
        self._size, self._count = _measure(self._current)
        os.ftruncate(self._descriptor, self._size)
        if not self._size:
            self._size = os.write(self._descriptor, _MARK)


def _take_pair(folder: Path) -> tuple[IO[str], int]:
    for number in range(_MOST_PAIRS):
        lock = lock_file(folder / f"{number}.lock")
        if lock is not None:
            return lock, number
    raise OSError(None, f"{folder} has no free request log", str(folder))


def _drop_of_ended(lock: Path, is_dropped: _Test, can_have: _Test) -> None:
    """Delete calls of a pair that no process has."""
    with open_lock_file(lock) as handle:
        if not try_lock(handle):
            return
        for name in (".before.calls", ".calls"):
            _rewrite(lock.with_name(lock.stem + name), is_dropped, can_have)


def _rewrite(path: Path, is_dropped: _Test, can_have: _Test) -> None:
    """Write a file again without some of its calls."""
    frames = read_frames(path)
    first = next(frames, [])
    if not first or not can_have(first[0]):
        return
    kept = [[call for call in frame if not is_dropped(call)] for frame in (first, *frames)]
    parts = [msgspec.msgpack.encode(calls) for calls in kept if calls]
    framed = [len(part).to_bytes(_LENGTH_BYTES) + part for part in parts]
    unfinished = path.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(b"".join([_MARK, *framed]))
    unfinished.replace(path)


def read_all(folder: Path) -> Iterator[StoredCall]:
    """Yield the calls of all processes that use this folder, oldest first."""
    pairs = [
        (call for path in (folder / f"{name}.before.calls", current) for frame in read_frames(path) for call in frame)
        for current in folder.glob("*.calls")
        if "." not in (name := current.name.removesuffix(".calls"))
    ]
    return heapq.merge(*pairs, key=lambda call: call.real_at)


def read_frames(path: Path) -> Iterator[list[StoredCall]]:
    """Yield the frames of a file, with repeated headers and repeated calls filled in. Stop at an incomplete frame. A
    missing file has no frames."""
    headers: list[tuple[bytes, bytes]] = []
    known: dict[bytes, StoredCall] = {}
    for frame in _read_raw_frames(path):
        calls = []
        for entry in frame:
            if isinstance(entry, RepeatedCalls):
                calls += _repeat(entry, known.get(entry.like))
                continue
            headers = headers if entry.headers is None else entry.headers
            same = known.get(entry.same_answer_as)
            answer = entry.answer if same is None else same.answer
            known[entry.id] = replace(entry, headers=headers, answer=answer, same_answer_as=b"")
            calls.append(known[entry.id])
        # The ids of one process are in the order of its calls.
        yield sorted(calls, key=_place_of) if len(calls) > 1 else calls


def _repeat(repeated: RepeatedCalls, first: StoredCall | None) -> list[StoredCall]:
    if first is None:  # Its frame was lost with the power of the machine.
        return []
    times = {"at": repeated.at, "real_at": repeated.real_at}
    pairs = zip(repeated.ids, repeated.durations_nanos, strict=True)
    return [replace(first, id=name, duration_micros=nanos // 1000, **times) for name, nanos in pairs]


def _place_of(call: StoredCall) -> tuple[int, bytes]:
    return len(call.id), call.id


def _read_raw_frames(path: Path) -> Iterator[list[StoredCall | RepeatedCalls]]:
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return
    at = len(_MARK)
    if bytes(content[:at]) != _MARK:
        return
    while len(content) - at > _LENGTH_BYTES:
        begin = at + _LENGTH_BYTES
        end = begin + int.from_bytes(content[at:begin])
        if end > len(content):
            return
        try:
            yield _FRAMES.decode(content[begin:end])
        except msgspec.DecodeError:
            return  # The machine lost its power while the frame was written.
        at = end


def _measure(path: Path) -> tuple[int, int]:
    """Return the number of good bytes at the beginning of a file, and the number of its calls."""
    size = count = 0
    with contextlib.suppress(OSError):  # A file that cannot be read has no good bytes.
        content = path.read_bytes()
        if content.startswith(_MARK):
            size = len(_MARK)
            for frame in _read_raw_frames(path):
                size += _LENGTH_BYTES + int.from_bytes(content[size : size + _LENGTH_BYTES])
                count += sum(len(entry.ids) if isinstance(entry, RepeatedCalls) else 1 for entry in frame)
    return size, count
