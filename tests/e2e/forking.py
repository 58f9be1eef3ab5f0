"""Commands of Kalathi in processes of their own, without a start of Python for each.

One server per test process imports everything once and forks for each command: a start of Python and its imports are
two thirds of the time that a command takes. A forked command is a process like any other: it has its own memory, files
and signals, and dies alone. Tests of the start itself (test_output.py, test_demo.py, test_docs.py) start Python.
"""

import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from functools import cache
from typing import Any, Final

from kalathi.cli import main

_LARGEST_REQUEST_BYTES: Final = 200_000
# In this order: standard output, standard error, and the pipe that tells the process's number and its exit status.
_FILES: Final = 3


class _Output(asyncio.StreamReaderProtocol):
    """The reading end of a pipe, which is closed with the process even if a grandchild holds the writing end."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)
        self.ended = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.ended.done():
            self.ended.set_result(None)


class Forked:
    """A command that runs, with the interface of asyncio's processes as far as tests need it."""

    def __init__(self, pid: int, status: _Output, stdout: _Output, stderr: _Output | None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = stdout.reader
        self.stderr = stderr.reader if stderr else None
        self._outputs = [status, stdout, *([stderr] if stderr else [])]
        self._waiting = asyncio.create_task(self._wait(status.reader))

    async def _wait(self, status: asyncio.StreamReader) -> int:
        self.returncode = int(await status.readline())
        return self.returncode

    async def wait(self) -> int:
        """Return the exit status, which is negative after a signal."""
        code = await asyncio.shield(self._waiting)
        # What it has written comes before the end of its pipes.
        await asyncio.wait([output.ended for output in self._outputs], timeout=0.5)
        for output in self._outputs:
            if transport := output._transport:  # type: ignore[attr-defined]
                transport.close()
        await asyncio.wait([output.ended for output in self._outputs])
        return code

    async def communicate(self) -> tuple[bytes, bytes]:
        """Return all output and all error output, after the end."""
        readers = [self.stdout, *([self.stderr] if self.stderr else [])]
        read = await asyncio.gather(*(reader.read() for reader in readers))
        await self.wait()
        return read[0], read[1] if self.stderr else b""

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError if it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


async def fork(*arguments: str, environment: dict[str, str], stderr: int | None = None) -> Forked:
    """Run `kalathi ARGUMENTS`. Its error output is to be read, or goes to the file `stderr`."""
    outputs = [_Output(), _Output(), *([_Output()] if stderr is None else [])]
    pipes = [os.pipe() for _ in outputs]
    files = [pipes[1][1], pipes[2][1] if stderr is None else stderr, pipes[0][1]]
    request = {"arguments": arguments, "environment": environment, "folder": os.getcwd()}  # noqa: PTH109  (a text goes into JSON)
    socket.send_fds(_server(), [json.dumps(request).encode()], files)
    loop = asyncio.get_running_loop()
    for output, (reading, writing) in zip(outputs, pipes, strict=True):
        os.close(writing)
        await loop.connect_read_pipe(lambda output=output: output, os.fdopen(reading, "rb", 0))  # type: ignore[misc]
    pid = int(await outputs[0].reader.readline())
    return Forked(pid, outputs[0], outputs[1], outputs[2] if stderr is None else None)


@cache
def _server() -> socket.socket:
    """Start the server of this process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = subprocess.Popen([sys.executable, "-m", __name__], stdin=theirs.fileno())
    theirs.close()

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


# The server


def _import_everything() -> None:
    for package in ("kalathi.cli", "kalathi.marketplace", "kalathi.merchant"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            # Steps of migrations are run, never imported; the module beside them starts a command.
            if ".migrations" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    gc.freeze()


def _serve(requests: socket.socket) -> None:
    _import_everything()
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is requests:
                    content, files, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST_BYTES, _FILES)
                    if not content:
                        return
                    _fork(json.loads(content), files, selector, requests)
                else:
                    pid, status = key.data
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    _tell(status, code)
                    os.close(status)
                    selector.unregister(key.fileobj)
                    os.close(key.fd)


def _fork(request: dict[str, Any], files: list[int], selector: selectors.BaseSelector, requests: socket.socket) -> None:
    stdout, stderr, status = files
    pid = os.fork()
    if pid == 0:
        held = [requests.fileno(), status, *(key.fd for key in selector.get_map().values() if key.data)]
        held += [key.data[1] for key in selector.get_map().values() if key.data]
        _run(request, stdout, stderr, held)
    _tell(status, pid)
    os.close(stdout)
    os.close(stderr)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _tell(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # The parent may have ended.
        os.write(status, b"%d\n" % number)


def _run(request: dict[str, Any], stdout: int, stderr: int, held: list[int]) -> None:
    """Run the command in this process and exit with its status."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
        for file in {*held, null, stdout, stderr} - {0, 1, 2}:
            os.close(file)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  (open until the process ends)
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115  (the same)
        main(args=request["arguments"], prog_name="python -m kalathi.cli")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  (whatever it is, this process ends here)
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):  # The parent may have closed it.
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=os.dup(0)) as connection:
        _serve(connection)
