"""Locks on files, which end with the process that holds them, in any way that it ends."""

import sys
from pathlib import Path
from typing import IO

from kalathi.system.files import open_lock_file

if sys.platform == "win32":
    import msvcrt

    def try_lock(handle: IO[str]) -> bool:
        """Lock an open file for this process until the handle is closed. Return False if another process has it."""
        try:
            # Windows locks bytes, which no process can then read. No process reads a lock file, which may be empty.
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def is_locked(path: Path) -> bool:
        """Whether a process holds the lock of this file now. A missing file is not locked."""
        try:
            handle = path.open("r", encoding="utf-8")
        except FileNotFoundError:
            return False
        with handle:
            if not try_lock(handle):
                return True
            msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)
            return False

else:
    import fcntl

    def try_lock(handle: IO[str]) -> bool:
        """Lock an open file for this process until the handle is closed. Return False if another process has it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def is_locked(path: Path) -> bool:
        """Whether a process holds the lock of this file now. A missing file is not locked."""
        try:
            with path.open("r", encoding="utf-8") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def lock_file(path: Path) -> IO[str] | None:
    """Open and lock a file, and create it if it is missing. Return None if another process has the lock. The lock ends
    when the returned file is closed. Raises OSError."""
    handle = open_lock_file(path)
    if try_lock(handle):
        return handle
    handle.close()
    return None
