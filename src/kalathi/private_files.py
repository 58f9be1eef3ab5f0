"""Folders and lock files that only their owner can open, on both sides of the wire.

If another user of the machine could open a lock file, that user could hold its lock, and no process could start.
"""

import contextlib
import os
from pathlib import Path
from typing import IO


def make_private_folder(path: Path) -> None:
    """Create a folder with mode 700, and its parents. A folder that is already there keeps its mode. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_lock_file(path: Path) -> IO[str]:
    """Open a lock file with mode 600 and create it if it is missing. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # An earlier version created the file with permission for every user to read it.
    with contextlib.suppress(PermissionError):
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "r+", encoding="utf-8")
