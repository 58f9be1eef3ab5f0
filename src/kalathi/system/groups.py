"""A command with the processes that it has started, which are ended together.

On Linux and macOS they are a process group. Windows knows only which process has started which: there, background
processes that a failed command leaves behind are not ended.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

if sys.platform == "win32":
    # By its whole path: Windows would look in the current folder first.
    _TASKKILL: Final = str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe"))
    # Options of `subprocess.Popen` for a command that is a group.
    GROUP_OPTIONS: Final[Mapping[str, Any]] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    class Group:
        """The group of a command that was started with `GROUP_OPTIONS`."""

        def __init__(self, process: "subprocess.Popen[bytes]") -> None:
            self._process = process

        def ask_to_end(self) -> None:
            """End all its processes at once: few programs of Windows can be asked. A process is found only while the
            one that has started it runs, so this comes too late after the command's own end."""
            self.kill()

        def kill(self) -> None:
            """End all its processes at once."""
            if self._process.poll() is None:
                subprocess.run(  # noqa: S603  (a program of Windows, and a number)
                    [_TASKKILL, "/F", "/T", "/PID", str(self._process.pid)],
                    capture_output=True,
                    check=False,
                    creationflags=subprocess.CREATE_NO_WINDOW,
                )

        def is_gone(self) -> bool:
            """Whether the command has ended."""
            return self._process.poll() is not None

else:
    import contextlib
    import signal

    GROUP_OPTIONS: Final[Mapping[str, Any]] = {"start_new_session": True}
    _PROCESSES: Final = Path("/proc")

    class Group:
        """The group of a command that was started with `GROUP_OPTIONS`."""

        def __init__(self, process: "subprocess.Popen[bytes]") -> None:
            self._process = process
            self._has_members = True

        def ask_to_end(self) -> None:
            """Send SIGTERM to all its processes."""
            self._send(signal.SIGTERM)

        def kill(self) -> None:
            """Send SIGKILL to all its processes."""
            self._send(signal.SIGKILL)

        def is_gone(self) -> bool:
            """Whether all its processes have ended."""
            # Reap the command first, because a zombie still belongs to its group.
            if self._process.poll() is None:
                return False
            self._has_members = self._send(0) and _has_living_member(self._process.pid)
            return not self._has_members

        def _send(self, number: int) -> bool:
            """Send a signal to the group, or only check it with 0. Return False if the group has no members. After
            that, never send again, because the operating system may assign the number to another process."""
            if self._has_members:
                try:
                    os.killpg(self._process.pid, number)
                except ProcessLookupError:
                    self._has_members = False
                except PermissionError:
                    pass  # All members of the group belong to another user.
            return self._has_members

    def _has_living_member(group: int) -> bool:
        """Whether an existing process group has a member that is not a zombie. In a container whose first process reaps
        no children, zombies stay for ever. Without /proc, a zombie counts as living."""
        if not _PROCESSES.exists():
            return True
        for stat in _PROCESSES.glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # The process has ended meanwhile.
                # After the name, which is in parentheses: state, parent, group.
                state, _, its_group = stat.read_bytes().rpartition(b")")[2].split()[:3]
                if int(its_group) == group and state not in {b"Z", b"X"}:
                    return True
        return False
