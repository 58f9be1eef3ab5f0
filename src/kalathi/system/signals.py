"""The end of a process: SIGTERM and SIGINT; on Windows Ctrl-C and Ctrl-Break.

Windows has no SIGTERM from outside: `terminate()` ends a process at once, as SIGKILL does, and so do a closed console
and the end of the session. A process that was started with `START_OPTIONS` is asked to end with Ctrl-Break.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

if sys.platform == "win32":
    import subprocess

    # Options of `subprocess.Popen` for a process of ours that `ask_to_end` ends. Ctrl-C does not reach it.
    START_OPTIONS: Final[Mapping[str, Any]] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    _ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK)
    _QUESTION: Final = signal.CTRL_BREAK_EVENT
else:
    START_OPTIONS: Final[Mapping[str, Any]] = {}
    _ENDINGS: Final = (signal.SIGTERM, signal.SIGINT)
    _QUESTION: Final = signal.SIGTERM


class _Process(Protocol):
    """A process of `subprocess` or of asyncio."""

    def send_signal(self, signal: int) -> None: ...

    def terminate(self) -> None: ...


def call_at_end(end: Callable[[], object]) -> None:
    """Call `end` on the running event loop each time this process is asked to end."""
    loop = asyncio.get_running_loop()
    for number in _ENDINGS:
        if sys.platform == "win32":
            # Its event loop has no handlers for signals, but each signal wakes it.
            signal.signal(number, lambda *_: None if loop.is_closed() else loop.call_soon_threadsafe(end))
        else:
            loop.add_signal_handler(number, end)


def raise_interrupt_at_end() -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does, each time this process is asked to end."""
    for number in _ENDINGS:
        signal.signal(number, signal.default_int_handler)


def end_this_process() -> None:
    """Ask this process to end, from any of its threads."""
    signal.raise_signal(signal.SIGTERM)


def ask_to_end(process: _Process) -> None:
    """Ask a process of ours, started with `START_OPTIONS`, to end. Raises ProcessLookupError."""
    try:
        process.send_signal(_QUESTION)
    except OSError:
        if sys.platform != "win32":
            raise
        process.terminate()  # A service has no console, and so no Ctrl-Break.
