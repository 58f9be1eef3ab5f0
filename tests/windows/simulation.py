"""Take from this process the parts that Windows lacks, and add the ones that `kalathi.system` uses there.

The modules of `kalathi.system` are imported as on Windows. Everything else, Python's own library among it, stays as it
is on Linux. So this shows that our code needs nothing that Windows lacks, and that the code for Windows keeps its
promises. It does not show how Windows itself behaves.

- These cannot be imported: fcntl, resource, pwd, grp, termios, tty, pty, uvloop.
- The functions in `_MISSING` are gone, and an event loop takes no signal handlers.
- An open file can be neither renamed, replaced nor deleted.
- `msvcrt` has locks. Ctrl-Break is SIGUSR1. `taskkill.exe` is a script in the folder `System32`.
"""

import asyncio
import contextlib
import getpass  # noqa: F401  (it imports modules that are about to be missing)
import importlib.abc
import importlib.machinery
import os
import select
import shutil  # noqa: F401  (as above)
import signal
import subprocess
import sys
import tempfile  # noqa: F401  (as above)
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

UNIMPORTABLE = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "uvloop")
_MISSING = {
    os: ("fork", "killpg", "pread", "fchmod", "wait", "setsid", "geteuid", "O_CLOEXEC"),
    signal: ("pthread_sigmask", "SIG_BLOCK", "SIG_UNBLOCK"),
    select: ("poll",),
}
_NEW_GROUP = 0x200


def simulate() -> None:
    """Change this process, once. Import no module of Kalathi before."""
    if "msvcrt" in sys.modules:
        return
    if loaded := [name for name in sys.modules if name.startswith("kalathi")]:
        raise RuntimeError(f"imported too early: {loaded}")
    _add_locks()
    _add_signals()
    _start_groups()
    _keep_open_files()
    sys.meta_path.insert(0, _Finder())
    for name in UNIMPORTABLE:
        sys.modules[name] = None  # type: ignore[assignment]  # The documented way to make an import fail.
    for module, names in _MISSING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


class _Finder(importlib.abc.MetaPathFinder):
    """Imports `kalathi.system` with the name of Windows as the platform."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find only the modules of `kalathi.system`."""
        if not fullname.startswith("kalathi.system."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes a module as on Windows."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Execute the module. Its functions see Windows too when they are called later."""
        module.__dict__["sys"] = _as_windows
        real, sys.platform = sys.platform, "win32"
        try:
            super().exec_module(module)
        finally:
            sys.platform = real
        # `import sys` has put the real module there.
        module.__dict__["sys"] = _as_windows


_as_windows = types.SimpleNamespace(**{name: getattr(sys, name) for name in dir(sys)} | {"platform": "win32"})


def _add_locks() -> None:
    import fcntl  # noqa: PLC0415  (it is missing once the simulation has begun)

    def locking(descriptor: int, mode: int, count: int) -> None:
        # As on Windows, such a lock belongs to the open file, not to the process.
        del count
        fcntl.flock(descriptor, mode)

    module = types.ModuleType("msvcrt")
    module.__dict__.update(LK_NBLCK=fcntl.LOCK_EX | fcntl.LOCK_NB, LK_UNLCK=fcntl.LOCK_UN, locking=locking)
    sys.modules["msvcrt"] = module


def _add_signals() -> None:
    signal.SIGBREAK = signal.CTRL_BREAK_EVENT = signal.SIGUSR1  # type: ignore[attr-defined]  # Only Windows has them.
    os.O_BINARY = 0  # type: ignore[attr-defined]  # As above.
    subprocess.CREATE_NEW_PROCESS_GROUP, subprocess.CREATE_NO_WINDOW = _NEW_GROUP, 0  # type: ignore[attr-defined]  # As above.
    os.environ["SYSTEMROOT"] = str(Path(__file__).parent)

    def refuse(*_: object) -> None:
        raise NotImplementedError

    asyncio.SelectorEventLoop.add_signal_handler = refuse  # type: ignore[method-assign, assignment]  # As on Windows.


def _start_groups() -> None:
    start = subprocess.Popen.__init__

    def start_with_flags(self: Any, *arguments: Any, creationflags: int = 0, **options: Any) -> None:
        if options.get("start_new_session"):
            raise ValueError("Windows has no sessions of processes")
        start(self, *arguments, start_new_session=creationflags == _NEW_GROUP, **options)

    subprocess.Popen.__init__ = start_with_flags  # type: ignore[method-assign]  # As above.


def _keep_open_files() -> None:
    for name in ("replace", "rename", "unlink", "remove"):
        setattr(os, name, _refuse_if_open(getattr(os, name)))


def _refuse_if_open(change: Callable[..., None]) -> Callable[..., None]:
    def changed(*paths: Any, **options: Any) -> None:
        if not options:  # With dir_fd, it is part of the deletion of a whole folder.
            for path in paths:
                if _is_open(path):
                    raise PermissionError(
                        13, "The process cannot access the file because it is in use", os.fspath(path)
                    )
        change(*paths, **options)

    return changed


def _is_open(path: Any) -> bool:
    for opened in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # The path is missing, or the file was closed meanwhile.
            if opened.samefile(path):
                return True
    return False
