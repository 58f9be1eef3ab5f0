"""The health check of the container image."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.processes import running

pytestmark = pytest.mark.anyio


def _ask(port: int) -> int:
    command = [sys.executable, "-m", "kalathi.healthy", "PORT"]
    return subprocess.run(command, env={**os.environ, "PORT": str(port)}, check=False).returncode


async def test_a_serving_marketplace_is_healthy_until_it_ends(tmp_path: Path) -> None:
    async with running(tmp_path, "serve", "--port", "0", "--data", str(tmp_path / "market")) as market:
        port = int(market.address.rpartition(":")[2])
        assert _ask(port) == 0
        await market.terminate()
        assert _ask(port) == 1


class _Unavailable(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_a_server_that_answers_with_an_error_is_not_healthy() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Unavailable) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            assert _ask(server.server_address[1]) == 1
        finally:
            server.shutdown()


def test_a_port_that_answers_nothing_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert _ask(silent.getsockname()[1]) == 1


async def test_a_marketplace_on_every_interface_says_where_its_links_lead(tmp_path: Path) -> None:
    for more, says in (((), True), (("--public-url", "http://market.test:9000"), False)):
        folder = tmp_path / str(says)
        options = ("serve", "--host", "0.0.0.0", "--port", "0", "--data", str(folder), *more)
        async with running(folder, *options) as market:
            lines = ""
            while "operator-token" not in lines and "Links" not in lines:
                lines += (await market.process.stdout.readline()).decode()
                if "kalathi open" in lines:
                    break
            following = (await market.process.stdout.readline()).decode() if says else ""
            assert ("Links and vouchers lead to http://127.0.0.1:" in lines + following) == says
