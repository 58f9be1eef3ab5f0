"""Several processes behind one listening socket: started and ended together, each started again when it dies."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

_PAUSE_SECONDS: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
_READY: Final = b"r"
_FAILED: Final = b"f"


def supervise(count: int, serve: Callable[[Callable[[], None]], None], ready: Callable[[], None]) -> None:
    """Forks `count` processes that each run `serve`, which calls back once it takes requests; then calls `ready`.

    Returns when all have ended after SIGTERM or SIGINT. Call it before any thread or event loop is there. A process
    that fails before it was ever ready ends all of them: its message says why.
    """
    reading, writing = os.pipe()
    children = {_started(serve, writing) for _ in range(count)}
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        os.write(writing, _FAILED)  # Whoever waits for readiness waits in vain.
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    waited_for = count
    while waited_for and os.read(reading, 1) == _READY:
        waited_for -= 1
    if waited_for == 0:
        ready()
    failed = waited_for > 0 and not ending
    if failed:
        end()
    while children:
        child, status = os.wait()
        children.discard(child)
        if not ending:
            print(f"kalathi: a process ended with status {status}; another is started.", file=sys.stderr, flush=True)
            time.sleep(_PAUSE_SECONDS)
            if not ending:
                children.add(_started(serve, writing))
    if failed:
        sys.exit(1)


def _end_with_the_parent() -> None:
    """A parent that is killed cannot tell its children to end; the kernel does (prctl, PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _started(serve: Callable[[Callable[[], None]], None], writing: int) -> int:
    child = os.fork()
    if child:
        return child

    def tell() -> None:
        os.write(writing, _READY)

    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _end_with_the_parent()
        serve(tell)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
        os.write(writing, _FAILED)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
