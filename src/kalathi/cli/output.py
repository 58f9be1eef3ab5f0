"""Standard output and standard error of every command: a failed write never ends the work.

A character that a stream cannot encode is escaped (`\\xae`). Lines that cannot be written are dropped, for example if
the reader has ended (`kalathi merchant | head -1`), the disk is full, or the terminal is closed. A command that only
prints a result then ends with status 1 and a message, unless its reader has ended. A long-running command, such as a
connector, continues. It does not wait for a stopped reader either (`| less`, Ctrl-S).
"""

import codecs
import io
import json
import os
import re
import sys
from typing import Any, Final, TextIO, cast

import click

from kalathi.system.signals import end_this_process
from kalathi.system.streams import CONSOLE_WRITES_ITSELF, has_reader_left, has_room
from kalathi.terminal import EscapingText

# click assumes that an ASCII stream is a mistake, and writes UTF-8 to it.
_ESCAPED_ASCII: Final = "kalathi-ascii"
_READER_SECONDS: Final = 1.0
# A writable pipe accepts this many bytes without waiting (PIPE_BUF).
_PIECE_BYTES: Final = 4096
# JSON escapes the control characters below the space only.
_CONTROL_IN_JSON: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class _Stream(io.RawIOBase):
    """A file descriptor on which no write fails; `error` is the reason of the last lost output."""

    def __init__(self, file: TextIO) -> None:
        self._descriptor = file.fileno()
        self._is_terminal = file.isatty()
        self._is_stalled = False
        self.error: OSError | None = None
        # False for a long-running command, which must not wait for a stopped reader.
        self.may_wait = True
        self.ends_with_reader = False

    def write(self, content: Any, /) -> int:
        """Write a piece of the content, or drop all of it. Return the number of bytes written or dropped."""
        if not self.may_wait and not self._has_room():
            return len(content)
        try:
            return os.write(self._descriptor, content[:_PIECE_BYTES])
        except OSError as error:
            is_first = self.error is None
            self.error = error
            if is_first and self.ends_with_reader and has_reader_left(error):
                end_this_process()
            return len(content)

    def _has_room(self) -> bool:
        # Wait for the reader once. After that, drop lines until it reads again.
        self._is_stalled = not has_room(self._descriptor, 0 if self._is_stalled else _READER_SECONDS)
        return not self._is_stalled

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return self._is_terminal


class Output:
    """Both streams of this process."""

    def __init__(self) -> None:
        self._stays = False
        self._streams: dict[str, _Stream] = {}

    def take_over(self) -> None:
        """Replace both streams as described above. A stream that is not the process's own, as in a test, only gets
        escaping."""
        self._stays = False
        codecs.register(_find_escaping_codec)
        # The caller may have closed these streams. Files must not get their numbers, because output would be printed
        # into them.
        sys.stdin = sys.stdin or _nowhere("r")
        sys.stdout = sys.stdout or _nowhere("w")
        sys.stderr = sys.stderr or _nowhere("w")
        is_plain = bool(os.environ.get("NO_COLOR"))  # https://no-color.org
        out = self._lenient(sys.stdout, "stdout", sys.__stdout__)
        error = self._lenient(sys.stderr, "stderr", sys.__stderr__)
        sys.stdout = cast(TextIO, EscapingText(out, is_plain=is_plain))
        sys.stderr = cast(TextIO, EscapingText(error, is_plain=is_plain))

    def stay(self, *, until_reader_leaves: bool = False) -> None:
        """Mark the command as long-running: its work continues without its output. With `until_reader_leaves` it ends
        as by SIGTERM when the reader of its standard output has ended."""
        self._stays = True
        for name, stream in self._streams.items():
            stream.may_wait = False
            stream.ends_with_reader = until_reader_leaves and name == "stdout"

    def problem(self) -> str:
        """Return a sentence that says why the result of the command is incomplete; empty if it is complete or not
        needed."""
        sys.stdout.flush()
        out = self._streams.get("stdout")
        if out is None or out.error is None or self._stays or has_reader_left(out.error):
            return ""
        return f"the output is not complete: {out.error.strerror}."

    def _lenient(self, stream: TextIO, name: str, original: TextIO | None) -> TextIO:
        if stream is not original or (CONSOLE_WRITES_ITSELF and stream.isatty()):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
            return stream
        stream.flush()
        self._streams[name] = _Stream(stream)
        buffered = io.BufferedWriter(self._streams[name])
        return io.TextIOWrapper(buffered, _encoding(stream), "backslashreplace", line_buffering=True)


OUTPUT: Final = Output()


def echo_json(value: object, *, indent: int | None = None, err: bool = False) -> None:
    """Print JSON in UTF-8, also on a stream of another encoding. Control characters are escaped as JSON has them. With
    `err`, print it on standard error."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    escaped = _CONTROL_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    click.echo(escaped.encode("utf-8", "backslashreplace"), err=err)


def _nowhere(mode: str) -> TextIO:
    return cast(TextIO, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123  (for the whole run)


def _encoding(stream: TextIO) -> str:
    is_ascii = codecs.lookup(stream.encoding).name == "ascii"
    return _ESCAPED_ASCII if is_ascii else stream.encoding


def _find_escaping_codec(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != _ESCAPED_ASCII:
        return None
    ascii_codec = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii_codec.encode,
        ascii_codec.decode,
        incrementalencoder=ascii_codec.incrementalencoder,
        incrementaldecoder=ascii_codec.incrementaldecoder,
        name=_ESCAPED_ASCII,
    )
