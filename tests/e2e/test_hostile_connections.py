"""Hostile connections without a token, against every server of Kalathi in its own process."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.processes import Process, calling, running, serve
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio

ENDLESS = {
    "url": (b"GET /", b"a"),
    "header": (b"GET / HTTP/1.1\r\nhost: x\r\nx: ", b"a"),
    "headers": (b"GET / HTTP/1.1\r\nhost: x\r\n", b"x: 1\r\n"),
    "trailer": (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", b"a"),
}
PIECE_BYTES = 60_000
MOST_BYTES = 50_000_000


@asynccontextmanager
async def _connector(folder: Path) -> AsyncIterator[Process]:
    folder.mkdir()
    (folder / "stock.csv").write_text("shop_uid,quantity\nA,1\n", "utf-8")
    options = {"url": "http://127.0.0.1:1", "token": "t", "port": 0, "watch-port": 0, "data": folder}
    options |= {"stock": folder / "stock.csv", "print-to": folder / "printed"}
    async with running(folder, "merchant", *(f"--{name}={value}" for name, value in options.items())) as process:
        yield process


async def _send_without_end(address: str, kind: str) -> bytes:
    """Send without end; return the answer before the connection is closed."""
    host, _, port = address.removeprefix("http://").partition("/")[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    begin, more = ENDLESS[kind]
    writer.write(begin)
    piece = more * (PIECE_BYTES // len(more))
    sent = 0
    with contextlib.suppress(ConnectionError):  # The server may close the connection first.
        while sent < MOST_BYTES:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    assert sent < MOST_BYTES, "it is read without end"
    answer = b""
    with contextlib.suppress(ConnectionError):  # The server may close the connection first.
        answer = await reader.read()
    writer.transport.abort()
    return answer


@pytest.mark.parametrize("kind", ENDLESS)
async def test_every_server_limits_the_size_of_a_head(tmp_path: Path, kind: str) -> None:
    async with (
        running(tmp_path / "m", *serve(tmp_path / "m")) as market,
        _connector(tmp_path / "c") as connector,
        calling(market.address) as caller,
    ):
        async with asyncio.timeout(5):
            watched = (await connector.process.stdout.readline()).decode().split()[-1]
        for address in (market.address, connector.address, watched):
            answer = await _send_without_end(address, kind)
            # The end may come as a reset, before the answer is read.
            assert answer == b"" or b" 431 " in answer.partition(b"\r\n")[0] or b"transfer" in ENDLESS[kind][0]
        assert await caller.status("/healthz") == 200


async def test_incomplete_requests_do_not_shut_out_other_callers(tmp_path: Path) -> None:
    command = ('ulimit -n 300; exec "$@"', "sh", sys.executable, "-m", "kalathi.cli", *serve(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "KALATHI_OPERATOR_TOKEN": OPERATOR_TOKEN},
    )
    assert process.stdout is not None
    writers: list[asyncio.StreamWriter] = []
    try:
        address = (await process.stdout.readline()).decode().split()[-1]
        host, _, port = address.removeprefix("http://").rpartition(":")
        for _ in range(400):
            with contextlib.suppress(ConnectionError):  # The server may close the connection first.
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET / HTTP/1.1\r\nhost:")
                writers.append(writer)
        # Long before the seconds of a head are over, connections that have waited for one make room.
        async with asyncio.timeout(8), calling(address) as caller:
            while True:
                with contextlib.suppress(aiohttp.ClientError):  # It may be refused; the test counts the served ones.
                    if await caller.status("/healthz") == 200:
                        break
                await asyncio.sleep(0.1)
    finally:
        for writer in writers:
            writer.transport.abort()
        process.terminate()
        _, error = await process.communicate()
    lines = [json.loads(line) for line in error.decode().splitlines()]
    assert [line["event"] for line in lines if line["level"] == "warning"] == ["too_many_connections"]


async def test_log_lines_caused_by_invalid_requests_are_json_and_limited(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market:
        host, _, port = market.address.removeprefix("http://").rpartition(":")
        for _ in range(50):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"NOT HTTP\r\n\r\n")
            assert b" 400 " in await reader.read()
            writer.close()
        assert await market.terminate() == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    assert len([line for line in lines if line["event"] == "server"]) == 10
