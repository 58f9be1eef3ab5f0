"""Start `kalathi` commands as processes and read their output."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kalathi.system.signals import START_OPTIONS, ask_to_end

_READY_SECONDS: Final = 20
_END_SECONDS: Final = 10


class ProcessFailedError(Exception):
    """A process did not start. The text names its log file."""


class KalathiProcess:
    """A running command. Its first output line contains its address. `heard` receives later lines; its log is a
    file."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, reading: "asyncio.Task[None]") -> None:
        self._process = process
        self._reading = reading
        self.address = address

    @classmethod
    async def start(cls, arguments: list[str], log: Path, heard: Callable[[str], None]) -> "KalathiProcess":
        """Start a command and wait until it is ready, at most 20 seconds. Raises ProcessFailedError."""
        # The user's settings for another marketplace must not reach this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")}
        environment["PYTHONIOENCODING"] = "utf-8"  # By default it is the one of the user's language on Windows.
        with log.open("ab") as log_file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kalathi.cli",
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_file,
                env=environment,
                **START_OPTIONS,
            )
        if process.stdout is None:
            raise ProcessFailedError("The process has no output.")
        line = b""
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _READY_SECONDS)
        except TimeoutError:
            pass  # Handled below, like a process that has ended.
        except asyncio.CancelledError:
            process.kill()
            raise
        address = next((word for word in line.decode().split() if word.startswith("http")), "")
        if not address:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise ProcessFailedError(f"kalathi {arguments[0]} did not start; its log is {log}")
        return cls(process, address, asyncio.create_task(_read_lines(process.stdout, heard)))

    async def stop(self) -> None:
        """Ask the process to end, and kill it if it still runs after ten seconds."""
        with contextlib.suppress(ProcessLookupError):
            ask_to_end(self._process)
        try:
            await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading


async def _read_lines(stream: asyncio.StreamReader, heard: Callable[[str], None]) -> None:
    while line := await stream.readline():
        heard(line.decode("utf-8", "replace").rstrip())
