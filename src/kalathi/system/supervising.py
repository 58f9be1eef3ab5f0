"""Run several processes behind one listening socket: start and end them together, and replace a process that dies.

Only for Linux: Windows cannot fork, and libraries of macOS may fail after a fork.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final

if sys.platform != "linux":
    raise ImportError("several processes behind one socket need Linux")

_PAUSE_SECONDS: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
_READY: Final = b"r"
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


def supervise(count: int, serve: Callable[[Callable[[], None]], None], ready: Callable[[], None]) -> None:
    """Fork `count` processes that run `serve`, and call `ready` when all of them accept requests.

    `serve` gets a function to call once it accepts requests. Return when all processes have ended after SIGTERM or
    SIGINT. Call this before the process starts any thread or event loop. If a process ends before it was ready, end
    all of them and exit with status 1; that process has printed the reason.
    """
    children: set[int] = set()
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    for number in _ENDING:
        signal.signal(number, end)
    waited_for = [_start_process(serve, children) for _ in range(count)]
    # A process that died has closed its end of the pipe.
    ready_ones = [_is_ready(reading) for reading in waited_for]
    all_ready = all(ready_ones)
    if all_ready and not ending:
        ready()
    failed = not (all_ready or ending)
    if failed:
        end()
    while children:
        child, status = os.wait()
        if child not in children:
            continue  # An orphan of another program: in a container, the first process inherits them.
        children.discard(child)
        if not ending:
            print(f"kalathi: a process ended with status {status}; another is started.", file=sys.stderr, flush=True)
            time.sleep(_PAUSE_SECONDS)
            if not ending:
                os.close(_start_process(serve, children))
    if failed:
        sys.exit(1)


def _is_ready(reading: int) -> bool:
    """Wait until the process at the other end of the pipe is ready or has died. Return whether it is ready."""
    try:
        return os.read(reading, 1) == _READY
    finally:
        os.close(reading)


def _end_with_the_parent() -> None:
    """Let the kernel end this process if its parent is killed (prctl, PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _start_process(serve: Callable[[Callable[[], None]], None], children: set[int]) -> int:
    """Start one more process. Return the end of a pipe that becomes readable when it is ready.

    Block signals until the child is in `children`, because `end` signals only those.
    """
    reading, writing = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    child = os.fork()
    if child:
        os.close(writing)
        children.add(child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        return reading

    def tell() -> None:
        # A restarted process has no reader for its message.
        with contextlib.suppress(BrokenPipeError):
            os.write(writing, _READY)

    status = 1
    try:
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        _end_with_the_parent()
        serve(tell)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001  (a process that ends here must say why)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
