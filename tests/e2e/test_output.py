"""Output problems stop no work: terminals other than UTF-8, closed or stalled readers, full disks."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kalathi.merchant.inbox import Inbox
from tests.e2e.processes import Caller, calling, endpoint, running, serve
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio


async def _run(*arguments: str | bytes, stdout: int = -1, **variables: str) -> tuple[int, bytes, bytes]:
    process = await _start(*arguments, stdout=stdout, stderr=-1, **variables)
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    return process.returncode or 0, out or b"", error


async def _start(*arguments: str | bytes, stdout: int, stderr: int, **variables: str) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")} | variables
    command = (sys.executable, "-m", "kalathi.cli", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdout=stdout, stderr=stderr, env=environment)


def _full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def _left() -> int:
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "iso8859-7", "cp1253", "latin-1", "utf-8"])
async def test_both_streams_escape_what_they_cannot_encode(tmp_path: Path, encoding: str) -> None:
    inbox = Inbox(tmp_path / "merchant.db")
    inbox.events.put(b"{}")
    [event] = inbox.events.unread()
    inbox.events.put_aside(event, "Θήκη® ™ 😀")
    inbox.close()
    name = encoding.partition(":")[0]
    escaped = "Θήκη® ™ 😀".encode(name, "backslashreplace")
    code, out, error = await _run("merchant", "--data", str(tmp_path), "status", PYTHONIOENCODING=encoding)
    assert (code, error) == (0, b"")
    assert escaped in out
    code, out, error = await _run("merchant", "--data", "Θήκη® ™ 😀", "status", PYTHONIOENCODING=encoding)
    assert (code, out) == (1, b"")
    assert escaped in error
    # A machine reads JSON in UTF-8 whatever the terminal is.
    code, out, error = await _run("merchant", "--data", str(tmp_path), "status", "--json", PYTHONIOENCODING=encoding)
    assert (code, error) == (0, b"")
    assert "Θήκη® ™ 😀" in str(json.loads(out.decode("utf-8")))
    # Help is written before any command runs.
    code, out, error = await _run("shop", "add", "--help", PYTHONIOENCODING=encoding)
    assert (code, error) == (0, b"")
    assert "Αττική".encode(name, "backslashreplace") in out


async def test_a_full_output_is_an_error_and_a_closed_reader_is_not() -> None:
    assert await _run("openapi", stdout=_full()) == (
        1,
        b"",
        b"kalathi: the output is not complete: No space left on device.\n",
    )
    assert await _run("openapi", stdout=_left()) == (0, b"", b"")
    assert await _run("openapi", "--help", stdout=_full()) == (0, b"", b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_streams_closed_at_the_start_are_no_error(closed: str) -> None:
    process = await asyncio.create_subprocess_shell(f"exec {sys.executable} -m kalathi.cli openapi {closed} | wc -c")
    assert await process.wait() == 0


@asynccontextmanager
async def _connector(folder: Path, market: str, token: str, out: int) -> AsyncIterator[str]:
    """The address of a connector of which both streams are `out`; it must end well."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    address = f"http://127.0.0.1:{port}/smart_cart_orders"
    (folder / "stock.csv").write_text("shop_uid,quantity\nA,5000\n", "utf-8")
    more = ("--stock", str(folder / "stock.csv"), "--print-to", str(folder / "out"), "--data", str(folder))
    command = ("merchant", "--url", market, "--token", token, "--port", str(port), *more)
    process = await _start(*command, stdout=out, stderr=out)
    try:
        async with asyncio.timeout(20):
            while await _post(address) != 200:
                await asyncio.sleep(0.05)
        yield address
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):  # It may have ended by itself.
            process.kill()


async def _post(address: str) -> int:
    """The status of an event's answer; 0 while nothing listens."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(address, data=b'{"event_type": "x"}') as answer:
                return answer.status
        except aiohttp.ClientConnectorError:
            return 0


@pytest.mark.parametrize("where", ["full", "left", "still"])
async def test_a_connector_works_when_its_output_cannot_be_written(tmp_path: Path, where: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):  # The pipe is full then.
        while where == "still":
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    out = writing if where == "still" else _full() if where == "full" else _left()
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(None)
        async with _connector(tmp_path, market.address, token, out) as address:
            hook = {"webhook_url": address, "webhook_enabled": True}
            await caller.operate("PATCH", f"/marketplace/shops/{shop_id}", hook)
            codes = [await caller.cart(shop_id) for _ in range(5)]
            async with asyncio.timeout(20):
                for code in codes:
                    while (await caller.merchant(token, "GET", code))[1]["order"]["state"] != "accepted":
                        await asyncio.sleep(0.05)
    os.close(reading)
    os.close(writing)


async def test_a_listener_answers_the_webhook_and_ends_when_its_reader_leaves(tmp_path: Path) -> None:
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        command = ("listen", "--shop", shop_id, "--url", market.address, "--token", OPERATOR_TOKEN)
        process = await _start(*command, stdout=_left(), stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            assert b"Listening in place" in await process.stderr.readline()
            code = await caller.cart(shop_id)
            assert await process.wait() == 0
            while not (attempts := await _attempts(caller, code)):
                await asyncio.sleep(0.02)
        assert [attempt["status"] for attempt in attempts] == [200]


async def _attempts(caller: Caller, code: str) -> list[dict[str, Any]]:
    shown = await caller.operate("GET", f"/marketplace/orders/{code}")
    attempts: list[dict[str, Any]] = shown["deliveries"][0]["attempts"]
    return attempts


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-7", "utf-8"])
async def test_json_is_utf_8_whatever_the_terminal_is(tmp_path: Path, encoding: str) -> None:
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market:
        operator = ("--url", market.address, "--token", OPERATOR_TOKEN)
        name = "Θήκη® ™"
        code, _, error = await _run(
            "shop", "add", name, "--domain", "shop.example", *operator, PYTHONIOENCODING=encoding
        )
        assert (code, error) == (0, b"")
        code, out, error = await _run("shop", "list", "--json", *operator, PYTHONIOENCODING=encoding)
        assert (code, error) == (0, b"")
        assert [shop["name"] for shop in json.loads(out.decode("utf-8"))] == [name]
        code, out, error = await _run("shop", "list", *operator, PYTHONIOENCODING=encoding)
        assert (code, error) == (0, b"")
        assert name.encode(encoding, "backslashreplace") in out


async def test_a_forwarding_listener_needs_no_reader(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "market", *serve(tmp_path / "market")) as market,
        calling(market.address) as caller,
        endpoint() as shop,
    ):
        shop_id, _ = await caller.shop(None)
        command = ("listen", "--shop", shop_id, "--url", market.address, "--token", OPERATOR_TOKEN)
        process = await _start(*command, "--forward", shop.address, stdout=_left(), stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            await process.stderr.readline()
            for number in range(1, 6):
                await caller.cart(shop_id)
                while len(shop.bodies) < number:
                    await asyncio.sleep(0.02)
            process.terminate()
            assert await process.wait() == 0
