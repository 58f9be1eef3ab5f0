"""Run a shop's command: a print command, `lp` and `cancel`, a hand-over.

Two rules.

1. A command is finished when its process ends. Its input, output and errors are files, not pipes. A background process
   would keep a pipe open, and a command that does not read its input would block the writer.
2. A command never overlaps with its retry. Each one runs in its own process group. If it reaches its time limit, fails
   or is cancelled, the whole group is ended: SIGTERM, a grace period, SIGKILL. After a success, background processes
   (`something &`) continue. A process that leaves the group (`setsid`) cannot be ended.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from tempfile import TemporaryFile
from typing import IO, Final

from msgspec import Struct

from kalathi.system.files import read_tail
from kalathi.system.groups import GROUP_OPTIONS, Group

_GRACE_SECONDS: Final = 2.0
_KILL_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.05
# The end of each stream that is kept, and the part of it that a message shows.
_TAIL_BYTES: Final = 4096
_SHOWN_CHARACTERS: Final = 200


class Limit(Struct, frozen=True):
    """The time limit of a command, and the flag that sets it."""

    seconds: float
    setting: str

    def __str__(self) -> str:
        return f"{self.seconds:g} s ({self.setting})"


PRINTING: Final = Limit(60.0, "--print-seconds")
HANDING_OVER: Final = Limit(60.0, "--hand-over-seconds")


class Ended(Struct, frozen=True):
    """The command ended by itself. If a signal ended it, `status` is the negative number of the signal."""

    status: int
    output: str
    errors: str


class LimitMet(Struct, frozen=True):
    """The command reached its time limit. `is_running`: the process could not be ended, for example because it belongs
    to another user."""

    limit: Limit
    output: str
    errors: str
    is_running: bool


class NotStarted(Struct, frozen=True):
    """The command cannot be started. `reason` is the operating system's message."""

    reason: str


Outcome = Ended | LimitMet | NotStarted


class Command:
    """A command with its time limit, and variables in addition to this process's own."""

    def __init__(self, words: Sequence[str], limit: Limit, *, variables: Mapping[str, str] | None = None) -> None:
        self._words = list(words)
        self._limit = limit
        self._variables = dict(variables or {})

    def run(self, *arguments: str, body: bytes = b"") -> Outcome:
        """Run the command with `body` on its standard input, and block this thread until it ends."""
        with contextlib.ExitStack() as stack:
            try:
                running = self._start(stack, arguments, body)
            except (OSError, ValueError) as error:
                return _not_started(error)
            # The operating system cannot wait for the end of a whole group, so poll with growing pauses. This code
            # runs on a printing thread, never on the event loop.
            for pause_seconds in running.until_end(self._limit.seconds):
                time.sleep(pause_seconds)
            for pause_seconds in running.end_group():
                time.sleep(pause_seconds)
            return running.outcome(self._limit)

    async def run_beside(self, *arguments: str, body: bytes = b"") -> Outcome:
        """Run the command as `run` does, but on the event loop. If the task is cancelled, end the command's group
        first."""
        with contextlib.ExitStack() as stack:
            try:
                running = self._start(stack, arguments, body)
            except (OSError, ValueError) as error:
                return _not_started(error)
            try:
                for pause_seconds in running.until_end(self._limit.seconds):
                    await asyncio.sleep(pause_seconds)
            finally:
                for pause_seconds in running.end_group():
                    await asyncio.sleep(pause_seconds)
            return running.outcome(self._limit)

    def describe(self, outcome: Outcome) -> str:
        """Return a sentence for a person, without the full stop: `lp did not end within 60 s (--print-seconds)`."""
        name = self._words[0]
        match outcome:
            case NotStarted(reason):
                return f"{name} cannot be started: {reason}"
            case LimitMet():
                still = ", and its process cannot be ended" if outcome.is_running else ""
                return f"{name} did not end within {outcome.limit}{still}{_quote_output(outcome)}"
            case Ended(status) if status < 0:
                return f"{name} was ended by {_signal_name(-status)}{_quote_output(outcome)}"
            case Ended(status):
                return f"{name} ended with status {status}{_quote_output(outcome)}"

    def _start(self, stack: contextlib.ExitStack, arguments: Sequence[str], body: bytes) -> "_Running":
        given, output, errors = (
            stack.enter_context(TemporaryFile())  # noqa: SIM115  (the stack closes it)
            for _ in range(3)
        )
        given.write(body)
        given.seek(0)
        process = subprocess.Popen(  # noqa: S603  (the shop's own command)
            [*self._words, *arguments],
            stdin=given,
            stdout=output,
            stderr=errors,
            env={**os.environ, **self._variables},
            **GROUP_OPTIONS,
        )
        running = _Running(process, output, errors)
        stack.callback(running.kill)
        return running


class _Running:
    """A started command. Its waits yield pauses in seconds, so that a thread and an event loop share one code."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: IO[bytes], errors: IO[bytes]) -> None:
        self._process = process
        self._output = output
        self._errors = errors
        # The command's exit status; None if it reached its time limit.
        self._status: int | None = None
        self._tails = ("", "")
        self._group = Group(process)

    def until_end(self, limit_seconds: float) -> Iterator[float]:
        """Yield pauses until the process has ended or its time limit is reached."""
        yield from self._wait(lambda: self._process.poll() is not None, limit_seconds)
        self._status = self._process.poll()
        # Read before any signal: a shell's "Terminated" would hide the reason.
        self._tails = _tail(self._output), _tail(self._errors)

    def end_group(self) -> Iterator[float]:
        """End the process group of a command that did not succeed. Yield pauses until the group has ended."""
        if self._status == 0:
            return
        for end, seconds in ((self._group.ask_to_end, _GRACE_SECONDS), (self._group.kill, _KILL_SECONDS)):
            end()
            yield from self._wait(self._group.is_gone, seconds)

    def kill(self) -> None:
        """After an interrupted wait, end the group with SIGKILL if it still runs."""
        if self._status == 0 or self._group.is_gone():
            return
        self._group.kill()
        # This blocks even the event loop, which is ending: after a second cancellation, no process may stay behind.
        for pause_seconds in self._wait(self._group.is_gone, _KILL_SECONDS):
            time.sleep(pause_seconds)

    def outcome(self, limit: Limit) -> Outcome:
        """Return the outcome, after both waits."""
        output, errors = self._tails
        if self._status is None:
            return LimitMet(limit, output, errors, self._process.poll() is None)
        return Ended(self._status, output, errors)

    def _wait(self, is_over: Callable[[], bool], seconds: float) -> Iterator[float]:
        until = time.monotonic() + seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while not is_over() and (left_seconds := until - time.monotonic()) > 0:
            yield min(pause_seconds, left_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)


def _tail(stream: IO[bytes]) -> str:
    return read_tail(stream, _TAIL_BYTES).decode("utf-8", "replace")


def _quote_output(outcome: Ended | LimitMet) -> str:
    said = " ".join((outcome.errors.strip() or outcome.output).split())
    return f": {said[-_SHOWN_CHARACTERS:]}" if said else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _not_started(error: OSError | ValueError) -> NotStarted:
    return NotStarted((error.strerror if isinstance(error, OSError) else None) or str(error))
