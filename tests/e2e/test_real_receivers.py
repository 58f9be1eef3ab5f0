"""Real web servers as receivers of webhooks, each where it is installed."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from kalathi.marketplace.webhooks.answer import SendError
from kalathi.marketplace.webhooks.sending import WebhookSender

pytestmark = pytest.mark.anyio

# Where systems install servers.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin:/usr/sbin:/usr/bin:/bin"
BODY: Final = '{"event_type":"new_order","order":{"code":"1","customer":"Ελένη"}}'.encode() * 40
WAVES, IN_FLIGHT = 5, 40


class Program(NamedTuple):
    """A server that is being started, and the most connections that it may need: None if it closes each one."""

    command: list[str]
    most_connections: int | None = IN_FLIGHT


def _uvicorn(folder: Path, port: int) -> Program:
    (folder / "receiver.py").write_text(
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http': return\n"
        "    while (await receive())['more_body']: pass\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'ok ' * 300})\n"
    )
    options = ["--port", str(port), "--app-dir", str(folder), "--log-level", "error"]
    return Program([sys.executable, "-m", "uvicorn", "receiver:app", *options])


def _node(folder: Path, port: int) -> Program:
    # It closes idle connections after 30 ms, often while the next webhook is on its way.
    (folder / "receiver.js").write_text(
        "const server = require('http').createServer((request, answer) => {\n"
        "  request.resume().on('end', () => answer.end('received'));\n"
        "});\n"
        f"server.keepAliveTimeout = 30;\nserver.listen({port}, '127.0.0.1');\n"
    )
    return Program(["node", str(folder / "receiver.js")], None)


def _php(folder: Path, port: int) -> Program:
    (folder / "receiver.php").write_text("<?php file_get_contents('php://input'); echo 'ok';")
    return Program(["php", "-S", f"127.0.0.1:{port}", str(folder / "receiver.php")], None)


def _nginx(folder: Path, port: int) -> Program:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    # Its workers give up the rights of root, and could not read the folder of a test that root runs.
    user = "user root; " if os.geteuid() == 0 else ""
    head = f"{user}daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}"
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 'ok'; }} }}"
    (folder / "nginx.conf").write_text(f"{head}\nhttp {{ access_log off; {temporary} {server} }}")
    return Program(["nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])


SERVERS: Final[dict[str, Callable[[Path, int], Program]]] = {
    "uvicorn": _uvicorn,
    "node": _node,
    "php": _php,
    "nginx": _nginx,
}


class Receiver(NamedTuple):
    """A running server."""

    url: str
    program: Program


async def _until_it_listens(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, "the server has ended"
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.02)  # Poll the port, because a program does not report that it listens.


@pytest.fixture(params=SERVERS)
async def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Receiver]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
    program = SERVERS[request.param](tmp_path, port)
    if shutil.which(program.command[0], path=f"{_PATH}:{os.environ['PATH']}") is None:
        pytest.skip(f"{request.param} is not installed")
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *program.command, stdout=quiet, stderr=quiet, env=os.environ | {"PATH": f"{_PATH}:{os.environ['PATH']}"}
    )
    try:
        await _until_it_listens(process, port)
        yield Receiver(f"http://127.0.0.1:{port}/hook.php", program)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_a_real_server_receives_every_webhook_at_the_first_attempt(receiver: Receiver) -> None:
    sender = WebhookSender(user_agent="test", timeout_seconds=10, connections=IN_FLIGHT)
    try:
        for wave in range(WAVES):
            answers = await asyncio.gather(*(sender.post(receiver.url, BODY) for _ in range(IN_FLIGHT)))
            assert {(answer.status, answer.error) for answer in answers} == {(200, SendError.NONE)}
            # About as long as the shortest time for which a server here keeps a connection.
            await asyncio.sleep(0.01 * wave)
        if receiver.program.most_connections is not None:
            assert 0 < len(sender._pool._idle) <= receiver.program.most_connections, "connections are kept"
    finally:
        await sender.close()
