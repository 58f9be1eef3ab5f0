"""Files and folders that only their owner can open, and reading of files that another process writes.

If another user of the machine could open a lock file, that user could hold its lock, and no process could start.
Windows has no modes: there, Python gives a new folder to its owner and to administrators, and files inherit that.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, Final

if sys.platform == "win32":
    # Without O_BINARY, Windows writes each newline as two bytes. Python's descriptors are never inherited.
    _FLAGS: Final = os.O_BINARY
else:
    _FLAGS: Final = os.O_CLOEXEC


def make_private_folder(path: Path) -> None:
    """Create a folder with mode 700, and its parents. A folder that is already there keeps its mode. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_lock_file(path: Path) -> IO[str]:
    """Open a lock file with mode 600 and create it if it is missing. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    if sys.platform != "win32":
        # An earlier version created the file with permission for every user to read it.
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "r+", encoding="utf-8")


def open_for_appending(path: Path) -> int:
    """Return a descriptor that writes bytes at the end of a file. Create it with mode 600 if it is missing. Raises
    OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600)


def open_new(path: Path) -> IO[bytes]:
    """Create a file with mode 600, open for writing. Raises FileExistsError, OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600), "wb")


def read_tail(file: IO[bytes], most_bytes: int) -> bytes:
    """Return the last bytes of an open file that another process may still write. Raises OSError."""
    start = max(os.fstat(file.fileno()).st_size - most_bytes, 0)
    if sys.platform == "win32":
        file.seek(start)
        return file.read(most_bytes)
    # The other process shares the position, so it must not move.
    return os.pread(file.fileno(), most_bytes, start)
