"""A marketplace as a process of its own, for the tests of one session."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_END_SECONDS: Final = 10
# A folder in memory, where the system has one: a commit on a disk takes longer than most tests.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (the folder in it has a random name and mode 700)


class ServerFailedError(Exception):
    """The marketplace did not start. The text has the reason."""


class Server(NamedTuple):
    """A running marketplace: its address, and the operator's token."""

    url: str
    operator_token: str


@contextlib.contextmanager
def run_server(options: Sequence[str] = ()) -> Iterator[Server]:
    """Run `kalathi serve` with an empty database on a free port, and end it afterwards. `options` are further options
    of the command, such as `--rough`. Raises ServerFailedError."""
    folder = Path(tempfile.mkdtemp(prefix="kalathi-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    try:
        yield from _run_process(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_process(folder: Path, options: Sequence[str]) -> Iterator[Server]:
    # The user's settings for another marketplace must not reach this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")}
    command = [sys.executable, "-m", "kalathi.cli", "serve", "--port", "0", "--data", str(folder), *options]
    log = folder / "log"
    with log.open("wb") as log_file:
        # The process runs in the data folder, so that a kalathi.toml of the project under test is not read.
        process = subprocess.Popen(  # noqa: S603  (our own command, and options that the test's author writes)
            command, stdout=subprocess.PIPE, stderr=log_file, text=True, env=environment, cwd=folder
        )
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        url = next((word for word in line.split() if word.startswith("http")), "")
        if not url:
            process.wait(_END_SECONDS)
            raise ServerFailedError(f"kalathi serve did not start: {log.read_text('utf-8', 'replace').strip()}")
        yield Server(url, (folder / "operator-token").read_text("utf-8").strip())
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
