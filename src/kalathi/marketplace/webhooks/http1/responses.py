"""Read the answer to a webhook, without any I/O (RFC 9112).

The status line decides whether the delivery succeeded. Headers and body are read for the log, for `Location` and for
`Retry-After`, within limits. Nothing after the status line can undo the status: not too many headers, not a body that
is shorter or longer than announced, not a line that is no header. Anything odd only means that the connection is closed
instead of kept.
"""

import re
from enum import Enum, auto
from typing import Final

# Of one answer, interim answers (100 to 199) included.
MOST_HEAD_BYTES: Final = 65_536
_MOST_INTERIM: Final = 8
# The beginning of the body, for the log.
_BEGINNING_BYTES: Final = 500
# A longer body is not read to its end. Its connection is closed instead of kept.
_MOST_BODY_BYTES: Final = 65_536
_WITHOUT_BODY: Final = frozenset({204, 304})
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_LONGEST_SIZE: Final = 16
# Some receivers leave out the reason, or the space before it.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) +([1-9][0-9][0-9])(?![0-9])")


class Part(Enum):
    """The part of the answer that comes next."""

    STATUS = auto()
    HEADERS = auto()
    # A body of known length, a chunked body, and a body that lasts until the connection ends.
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()
    DONE = auto()


class AnswerReader:
    """Reads one answer from the bytes of its connection, in pieces of any size."""

    __slots__ = ("_body_bytes", "_buffer", "_head_bytes", "_interim", "_is_odd", "_left", "beginning",
                 "first_bytes", "headers", "is_unreadable", "part", "status")  # fmt: skip

    def __init__(self) -> None:
        self.part = Part.STATUS
        # None until the final status line was read.
        self.status: int | None = None
        # By lower-case name. Of a name that comes twice, the last value.
        self.headers: dict[bytes, bytes] = {}
        self.beginning = b""
        # Used to recognise other protocols, such as TLS.
        self.first_bytes = b""
        # The bytes are not an HTTP/1 answer.
        self.is_unreadable = False
        self._buffer = b""
        self._head_bytes = 0
        self._interim = 0
        self._is_odd = False
        self._left = 0
        self._body_bytes = 0

    @property
    def may_be_kept(self) -> bool:
        """Whether the connection may carry another request: the answer was complete, and nothing about it was odd."""
        return self.part is Part.DONE and not self._is_odd and not self.is_unreadable

    @property
    def has_begun(self) -> bool:
        """Whether any byte has arrived."""
        return bool(self.first_bytes)

    @property
    def is_done(self) -> bool:
        """Whether no more bytes are needed."""
        return self.part is Part.DONE

    def header(self, name: bytes) -> str:
        """Return a header's value, or an empty text. Bytes that are not ASCII stay as they were, one character each."""
        return self.headers.get(name, b"").decode("latin-1")

    def feed(self, data: bytes) -> None:
        """Process the next bytes."""
        if not self.first_bytes:
            self.first_bytes = data[:7]
        if self.part is Part.DONE:
            self._is_odd = True
            return
        self._buffer = self._buffer + data if self._buffer else data
        while self._step():
            pass
        if self.is_done and self._buffer:
            self._is_odd = True  # Surplus bytes: nothing that follows can be trusted.

    def end(self) -> None:
        """Finish the answer, because the connection has ended."""
        if self.part is Part.HEADERS and self.status is not None:
            self._take_lines(self._buffer.split(b"\n"))
        self._finish(is_odd=True)

    def _step(self) -> bool:
        """Read one part as far as the buffer goes. Return whether another may follow at once."""
        match self.part:
            case Part.STATUS:
                return self._read_status()
            case Part.HEADERS:
                return self._read_headers()
            case Part.LENGTH | Part.CHUNK:
                return self._read_length()
            case Part.UNTIL_CLOSE:
                self._keep(self._buffer)
                self._buffer = b""
                if len(self.beginning) >= _BEGINNING_BYTES:
                    self._finish(is_odd=True)
                return False
            case Part.CHUNK_SIZE:
                return self._read_chunk_size()
            case Part.CHUNK_END:
                line = self._take_line()
                if line:
                    self._finish(is_odd=True)
                self.part = self.part if line is None or self.is_done else Part.CHUNK_SIZE
                return line == b""
            case Part.TRAILERS:
                line = self._take_line()
                if line == b"":
                    self._finish(is_odd=False)
                return bool(line)
            case Part.DONE:
                return False

    def _take_line(self) -> bytes | None:
        """Return the next line without its end, or None until it is there. A lone LF ends a line too."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if self._head_bytes + len(self._buffer) > MOST_HEAD_BYTES:
                self._finish(is_odd=True)
            return None
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        self._head_bytes += end + 1
        if self._head_bytes > MOST_HEAD_BYTES:
            self._finish(is_odd=True)
            return None
        return line[:-1] if line.endswith(b"\r") else line

    def _read_status(self) -> bool:
        line = self._take_line()
        if line is None:
            # Another protocol, such as a TLS alert, is recognised by its first bytes.
            if not b"HTTP/1.".startswith(self._buffer[:7]) and self._buffer.strip():
                self._finish(is_odd=True)
            return False
        if not line and not self._interim:
            return True  # An empty line before the answer (RFC 9112, 2.2).
        match = _STATUS_LINE.match(line)
        if match is None:
            self._finish(is_odd=True)
            return False
        status = int(match[2])
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                self._finish(is_odd=True)
                return False
        else:
            self.status = status
            self._is_odd |= match[1] == b"0"
        self.part = Part.HEADERS
        return True

    def _read_headers(self) -> bool:
        end, width = self._end_of_head()
        if end < 0:
            if self._head_bytes + len(self._buffer) > MOST_HEAD_BYTES:
                self.end()
            return False
        block, self._buffer = self._buffer[:end], self._buffer[end + width :]
        self._head_bytes += end + width
        if self.status is None:
            self.part = Part.STATUS  # After an interim answer.
            return self._head_bytes <= MOST_HEAD_BYTES or self._give_up()
        self._take_lines(block.split(b"\n"))
        self._begin_body()
        return True

    def _give_up(self) -> bool:
        self._finish(is_odd=True)
        return False

    def _end_of_head(self) -> tuple[int, int]:
        """Return where the empty line begins and how long it is, its own line end included; -1 if it is not there."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n"):
            return 0, 2
        if buffer.startswith(b"\n"):
            return 0, 1
        ends = ((buffer.find(b"\n\r\n"), 3), (buffer.find(b"\n\n"), 2))
        return min(((at, width) for at, width in ends if at >= 0), default=(-1, 0))

    def _take_lines(self, lines: list[bytes]) -> None:
        lengths = set()
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or not _TOKEN.issuperset(name):
                self._is_odd |= bool(line.strip())
                continue
            name, value = name.lower(), value.strip()
            self.headers[name] = value
            if name == b"content-length":
                lengths.add(value)
        if len(lengths) > 1:
            self.headers[b"content-length"] = b"?"

    def _begin_body(self) -> None:
        headers = self.headers
        connection = headers.get(b"connection")
        if connection is not None and b"close" in connection.lower():
            self._is_odd = True
        length = headers.get(b"content-length")
        coding = headers.get(b"transfer-encoding")
        if self.status in _WITHOUT_BODY:
            self._finish(is_odd=False)
        elif coding is not None:
            self._is_odd |= length is not None
            self.part = Part.CHUNK_SIZE if coding.lower() == b"chunked" else Part.UNTIL_CLOSE
        elif length is None or not length.isdigit() or len(length) > _LONGEST_SIZE:
            self._is_odd = True
            self.part = Part.UNTIL_CLOSE
        else:
            self._left = int(length)
            self.part = Part.LENGTH
            if not self._left:
                self._finish(is_odd=False)

    def _read_length(self) -> bool:
        """Read a body, or a chunk, of known length."""
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(piece)
        self._keep(piece)
        is_too_long = self._body_bytes + self._left > _MOST_BODY_BYTES
        if is_too_long and len(self.beginning) >= _BEGINNING_BYTES:
            self._finish(is_odd=True)
        elif self._left:
            return False
        elif self.part is Part.CHUNK:
            self.part = Part.CHUNK_END
        else:
            self._finish(is_odd=False)
        return not self.is_done

    def _read_chunk_size(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        try:
            size = int(digits, 16) if digits.isalnum() and len(digits) <= _LONGEST_SIZE else -1
        except ValueError:
            size = -1
        if size < 0:
            self._finish(is_odd=True)
            return False
        self._left = size
        self.part = Part.CHUNK if size else Part.TRAILERS
        return True

    def _keep(self, piece: bytes) -> None:
        self._body_bytes += len(piece)
        missing = _BEGINNING_BYTES - len(self.beginning)
        if missing > 0:
            self.beginning += piece[:missing]

    def _finish(self, *, is_odd: bool) -> None:
        self._is_odd |= is_odd
        self.is_unreadable |= self.status is None
        self.part = Part.DONE
