"""A marketplace as a separate process, for the tests of one session."""

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

from kalathi.system.groups import GROUP_OPTIONS

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
def run_server(options: Sequence[str] = (), *, declared: str = "") -> Iterator[Server]:
    """Run `kalathi serve` with an empty database on a free port, and end it afterwards. `options` are further options
    of the command, such as `--rough`. `declared` is the text of a settings file, for example with declared shops.
    Raises ServerFailedError.

    The marketplace ends and deletes its data when this process ends in any way, because its standard input is then
    closed."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    folder = parent / f"kalathi-{secrets.token_hex(8)}"
    # The user's settings for another marketplace must not reach this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")}
    environment["PYTHONIOENCODING"] = "utf-8"  # By default it is the one of the user's language on Windows.
    if declared:
        environment["KALATHI_CONFIG_TEXT"] = declared
    command = [sys.executable, "-m", "kalathi.cli", "serve", "--ephemeral", "--port", "0", "--data", str(folder)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  (our own command, and options that the test's author writes)
            [*command, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            env=environment,
            # There a kalathi.toml of the project under test is not read.
            cwd=folder.anchor,
            # Ctrl-C reaches the tests first, and they end the marketplace after their last calls.
            **GROUP_OPTIONS,
        )
        try:
            yield _read_server(process, folder, log)
        finally:
            _end(process)


def _read_server(process: "subprocess.Popen[str]", folder: Path, log: IO[bytes]) -> Server:
    line = process.stdout.readline() if process.stdout is not None else ""
    url = next((word for word in line.split() if word.startswith("http")), "")
    if url:
        return Server(url, (folder / "operator-token").read_text("utf-8").strip())
    process.wait(_END_SECONDS)
    log.seek(0)
    raise ServerFailedError(f"kalathi serve did not start: {log.read().decode('utf-8', 'replace').strip()}")


def _end(process: "subprocess.Popen[str]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
