"""`kalathi serve --ephemeral`, for test suites: the marketplace ends with the process that started it, without a trace.

The starting process holds the other end of our standard input. If it ends in any way, also by `kill -9`, the input is
closed.
"""

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kalathi.cli.operating import fail
from kalathi.system.signals import end_this_process


@contextmanager
def delete_afterwards(folder: Path) -> Iterator[None]:
    """Delete a data folder at the end. End with a message if it is there already, because its data could be wanted."""
    if folder.exists():
        fail(f"--ephemeral deletes its data at the end, but --data {folder} is there already. Give a new folder.")
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_with_input() -> None:
    """End this process as by SIGTERM when its standard input is closed."""
    threading.Thread(target=_wait_for_end, name="kalathi-input", daemon=True).start()


def _wait_for_end() -> None:
    while sys.stdin.buffer.read(4096):
        pass  # The parent only closes the pipe. Its content is ignored.
    end_this_process()
