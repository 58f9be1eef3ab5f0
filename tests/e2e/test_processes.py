"""The commands as processes: ready, ended, restarted, refused."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from kalathi.merchant.inbox import Inbox
from tests.databases import drop_postgres, fresh_postgres
from tests.e2e.processes import calling, endpoint, kalathi, running, serve, start
from tests.market import until

pytestmark = pytest.mark.anyio


async def test_sigterm_stops_the_marketplace_cleanly_and_it_starts_again(tmp_path: Path) -> None:
    async with endpoint() as shop:
        async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
            shop_id, token = await caller.shop(f"{shop.address}/")
            code = await caller.cart(shop_id)
            moved = (await caller.operate("POST", "/marketplace/clock", {"advance_seconds": 3600}))["now"]
            assert await market.terminate() == 0
        async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
            assert (await caller.operate("GET", "/marketplace/clock"))["now"] >= moved, "the clock survives"
            assert (await caller.merchant(token, "GET", code))[0] == 200


async def test_the_operators_token_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    code, out, error = await kalathi("shop", "list", "--data", str(tmp_path))
    assert code == 1
    assert "kalathi serve" in error
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kalathi.cli",
        *serve(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        token_file = tmp_path / "operator-token"
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        code, out, error = await kalathi(
            "shop", "add", "Δοκιμή", "--domain", "shop.example", "--data", str(tmp_path), "--json"
        )
        assert code == 0, error
        added = json.loads(out)
        assert len(added["api_token"]) > 60
        code, out, _ = await kalathi("shop", "list", "--data", str(tmp_path))
        assert "Δοκιμή" in out
        code, out, _ = await kalathi("shop", "token", added["id"], "--data", str(tmp_path), "--json")
        assert json.loads(out)["api_token"] != added["api_token"]
        code, _, error = await kalathi("shop", "token", "unknown", "--data", str(tmp_path))
        assert (code, error) == (1, "kalathi: Shop not found\n")
    finally:
        process.kill()
        await process.wait()


async def test_a_failed_start_names_its_cause_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, error = await kalathi("serve", "--port", port, "--data", str(tmp_path / "a"))
        assert (code, port in error, "Traceback" in error) == (1, True, False)
    async with running(tmp_path, *serve(tmp_path)):
        code, _, error = await kalathi(*serve(tmp_path))
        assert (code, "one process" in error, "Traceback" in error) == (1, True, False)
    for wrong in ("many", "99999"):
        code, _, error = await kalathi("serve", KALATHI_PORT=wrong)
        assert (code, "port" in error, "Traceback" in error) == (1, True, False)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "kalathi.db").write_bytes(b"this is no database" * 100)
    code, _, error = await kalathi(*serve(tmp_path / "c"))
    assert (code, "cannot be used" in error, "Traceback" in error) == (1, True, False)
    merchant = ["merchant", "--url", "http://127.0.0.1:1", "--token", "t", "--port", "0", "--data", str(tmp_path / "d")]
    (tmp_path / "no.csv").write_text("sku;pieces\nA;5\n", "utf-8")
    merchant += ["--print-to", str(tmp_path / "out"), "--stock", str(tmp_path / "no.csv")]
    for more, told in (
        ([], "must name the columns shop_uid and quantity"),
        (["--path", "hook"], "slash"),
        (["--port", "99999"], "port"),
    ):
        code, _, error = await kalathi(*merchant, *more)
        assert (code != 0, told in error, "Traceback" in error) == (True, True, False), error
    code, _, error = await kalathi("serve", KALATHI_PORT="many")
    assert (code, "port" in error, "--help" in error, "Traceback" in error) == (1, True, True, False)
    code, _, error = await kalathi("serve", "--port", "0", "--pickup-hours", "noon", "--data", str(tmp_path / "b"))
    assert (code, "pickup_hours" in error, "Traceback" in error) == (1, True, False)


@pytest.mark.parametrize("command", [[], ["serve"], ["merchant"], ["demo"], ["shop"], ["shop", "add"]])
async def test_every_command_has_help(command: list[str]) -> None:
    code, out, _ = await kalathi(*command, "--help")
    assert code == 0
    assert "Usage: " in out


async def test_an_event_that_the_connector_answered_with_200_is_on_disk_when_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text("shop_uid,quantity\nA,5\n", "utf-8")
    arguments = ["merchant", "--port", "0", "--url", "http://127.0.0.1:1", "--token", "t"]
    arguments += ["--stock", str(tmp_path / "stock.csv"), "--print-to", str(tmp_path / "out"), "--data", str(tmp_path)]
    connector = await start(tmp_path, *arguments)
    bodies = [f'{{"event_type": "new_order", "n": {number}}}'.encode() for number in range(20)]
    async with calling(connector.address) as caller:
        for body in bodies + bodies:
            async with caller.session.post(connector.address, data=body) as response:
                assert response.status == 200
        async with caller.session.get(connector.address) as response:
            assert response.status == 405
        async with caller.session.post(connector.address.replace("smart_cart_orders", "elsewhere")) as response:
            assert response.status == 404
    await connector.kill()
    inbox = Inbox(tmp_path / "merchant.db")
    kept = {event.body for event in inbox.events.unread()} | {body for body, _ in inbox.aside()}
    inbox.close()
    assert kept == set(bodies)


async def test_a_connector_starts_without_its_stock_file_and_answers_later(
    tmp_path: Path,
) -> None:
    stock = tmp_path / "stock.csv"
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(None)
        code = await caller.cart(shop_id)
        arguments = ["merchant", "--port", "0", "--url", market.address, "--token", token, "--stock", str(stock)]
        arguments += ["--print-to", str(tmp_path / "out"), "--data", str(tmp_path)]
        async with running(tmp_path, *arguments) as connector, asyncio.timeout(60):
            assert connector.process.stdout is not None
            event = f'{{"event_type": "new_order", "n": "{code}"}}'.encode()
            async with caller.session.post(connector.address, data=event) as response:
                assert response.status == 200
            said = ""
            while "needs a person: the stock cannot be read" not in said:
                said = (await connector.process.stdout.readline()).decode()
            assert f"{stock}: No such file or directory" in said
            assert connector.process.returncode is None
            stock.write_text("shop_uid,quantity\nA,5\n", "utf-8")
            while f"accepted {code}" not in said:
                said = (await connector.process.stdout.readline()).decode()


async def test_a_bug_answers_500_without_its_text_and_is_logged(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path, "--no-worker")) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(None)
        code = await caller.cart(shop_id)
        assert await market.terminate() == 0
    with sqlite3.connect(tmp_path / "kalathi.db") as database:
        database.execute("UPDATE orders SET document = ?", (b"secret rubbish",))
    database.close()
    async with running(tmp_path, *serve(tmp_path, "--no-worker")) as market, calling(market.address) as caller:
        for status, answer in (
            await caller.merchant(token, "GET", code),
            await caller.merchant(token, "POST", f"{code}/accept", {}),
        ):
            assert status == 500
            assert answer["errors"][0]["code"] == "internal_error"
            assert "rubbish" not in json.dumps(answer)
            assert "Unreadable" not in json.dumps(answer)
        await until(lambda: "internal_error" in market.log.read_text("utf-8"))
        assert token not in market.log.read_text("utf-8")


PRODUCTION = ("serve", "--mode", "production")
GOOD = ("--public-url", "https://market.example", "--ip-ranges", "203.0.113.0/28")


async def test_production_does_not_start_without_a_real_address_and_a_long_token(tmp_path: Path) -> None:
    folder = ("--port", "0", "--data", str(tmp_path / "d"))
    code, _, error = await kalathi(*PRODUCTION, *folder)
    assert code == 1
    for sentence in ("--public-url is missing", "127.0.0.1/32 is not public", "::1/128 is not public"):
        assert sentence in error
    code, out, _ = await kalathi(*PRODUCTION, *folder, *GOOD[:2], "--ip-ranges", "10.0.0.0/8", "--check")
    assert (code, "no  --ip-ranges: 10.0.0.0/8 is not public" in out) == (1, True)
    assert not (tmp_path / "d").exists()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "operator-token").write_text("short\n", "utf-8")
    code, _, error = await kalathi(*PRODUCTION, *folder, *GOOD)
    assert (code, "has fewer than 32 characters. Remove the file" in error, "short" in error) == (1, True, False)
    code, _, error = await kalathi(*PRODUCTION, *folder, *GOOD, KALATHI_OPERATOR_TOKEN="short")
    assert (code, "--operator-token has fewer than 32 characters" in error) == (1, True)


async def test_check_reports_startup_problems_and_changes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "d"
    arguments = ("--data", str(data), "--check")
    code, out, error = await kalathi(*PRODUCTION, *GOOD, "--port", "0", *arguments)
    assert (code, error) == (0, "")
    assert [line[:2] for line in out.splitlines()] == ["ok"] * 4
    assert "(it will be made)" in out
    assert not data.exists()
    async with running(data, *serve(data)) as market:
        port = market.address.rsplit(":", 1)[1]
        code, out, _ = await kalathi("serve", "--port", port, *arguments)
        assert code == 1
        assert f"no  --host 127.0.0.1 --port {port}: Address already in use" in out
        assert "no  database: Another process serves this database" in out
    code, out, _ = await kalathi("serve", "--port", "0", *arguments, "--ip-ranges-modified", "garbage")
    assert (code, "no  --ip-ranges-modified: ip_ranges_modified: 'garbage' is no time" in out) == (1, True)
    code, out, _ = await kalathi("serve", "--port", "0", *arguments, "--webhook-proxy", "socks5://x")
    assert (code, "no  --webhook-proxy: " in out) == (1, True)
    code, out, _ = await kalathi("serve", "--port", "0", *arguments)
    assert (code, f"ok  database: {data / 'kalathi.db'}\n" in out) == (0, True)
    (data / "kalathi.db").write_bytes(b"not a database" * 100)
    for suffix in ("-wal", "-shm"):
        (data / f"kalathi.db{suffix}").unlink(missing_ok=True)
    code, out, _ = await kalathi("serve", "--port", "0", *arguments)
    assert (code, "no  database: " in out) == (1, True)
    secret = "postgresql://u:SECRET@127.0.0.1:1/x"
    code, out, error = await kalathi("serve", "--port", "0", "--database", secret, *arguments)
    assert (code, "cannot be used" in out, "SECRET" in out + error) == (1, True, False)
    url = fresh_postgres()
    code, out, _ = await kalathi("serve", "--port", "0", "--database", url, *arguments)
    assert (code, "Traceback" in out) == (0, False)
    drop_postgres(url)


async def test_a_separate_worker_names_its_missing_settings() -> None:
    code, _, error = await kalathi("worker", "--data", "/nonexistent")
    assert (code, "needs PostgreSQL" in error, "Traceback" in error) == (1, True, False)
    code, _, error = await kalathi("worker", "--database", "postgresql://nobody@127.0.0.1:1/kalathi")
    assert (code, "--public-url" in error, "Traceback" in error) == (1, True, False)
    secret = "postgresql://kalathi:TOP:SECRET@127.0.0.1:1/kalathi"
    code, out, error = await kalathi("worker", "--database", secret, "--public-url", "http://x")
    assert (code, "127.0.0.1:1" in error, "SECRET" in error + out, "Traceback" in error) == (1, True, False, False)
    code, _, error = await kalathi("serve", "--processes", "2")
    assert (code, "PostgreSQL" in error, "Traceback" in error) == (1, True, False)


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()}


@pytest.mark.parametrize(
    "death", ["os._exit(3)", "raise RuntimeError('a bug')", "os.kill(os.getpid(), 9)", "raise SystemExit(4)"]
)
async def test_a_process_that_dies_before_it_is_ready_stops_all(death: str) -> None:
    program = f"""
import os, signal
from kalathi.system.supervising import supervise
first = os.getpid()
def serve(ready):
    if os.getpid() % 2:
        {death}
    ready()
    signal.pause()
supervise(4, serve, lambda: print("ready"))
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        out, error = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert (b"a bug" in error) == ("a bug" in death)


async def test_the_end_of_an_orphan_starts_no_process(tmp_path: Path) -> None:
    """In a container the first process inherits the orphans of all others (prctl, PR_SET_CHILD_SUBREAPER)."""
    program = f"""
import ctypes, os, signal, subprocess
from pathlib import Path
from kalathi.system.supervising import supervise
ctypes.CDLL(None).prctl(36, 1)
def serve(ready):
    Path({str(tmp_path)!r}, str(os.getpid())).touch()
    ready()
    signal.pause()
def orphan():
    subprocess.run(["sh", "-c", "(exit 0) & (sleep 0.2; touch {tmp_path}/orphan) &"])
    print("ready", flush=True)
supervise(2, serve, orphan)
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    await until(lambda: (tmp_path / "orphan").exists() and len(_children(process.pid)) == 2)
    process.terminate()
    _, error = await process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert len(list(tmp_path.iterdir())) == 3


async def test_several_processes_serve_one_port_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    url = fresh_postgres()
    arguments = serve(tmp_path, "--database", url, "--processes", "3")
    async with endpoint() as shop, running(tmp_path, *arguments) as market, calling(market.address) as caller:
        first = _children(market.process.pid)
        assert len(first) == 3
        shop_id, _ = await caller.shop(f"{shop.address}/")
        dies = first.copy().pop()
        os.kill(dies, signal.SIGKILL)
        await until(lambda: len(_children(market.process.pid) - {dies}) == 3)
        codes = [await caller.cart(shop_id) for _ in range(20)]
        await until(lambda: all(shop.by_order[code] for code in codes))
        assert await market.terminate() == 0
    drop_postgres(url)


async def test_a_separate_worker_serves_monitoring_only(tmp_path: Path) -> None:
    url = fresh_postgres()
    arguments = ["worker", "--database", url, "--public-url", "http://market", "--watch-port", "0"]
    async with running(tmp_path, *arguments) as worker, calling(worker.address) as caller:
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/openapi.json", 404)):
            async with caller.session.get(worker.address + path) as response:
                assert response.status == status, path
                if path == "/readyz":
                    assert await response.json() == {"database": "ok", "migrations": "ok", "worker": "ok"}
        assert await worker.terminate() == 0
    drop_postgres(url)


@pytest.mark.parametrize(
    "malformed", [b"NOT HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
)
async def test_invalid_http_is_answered_with_the_envelope(tmp_path: Path, malformed: bytes) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market:
        host, port = market.address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(malformed)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/json" in head
        assert json.loads(body)["errors"][0]["code"] == "unreadable_body"
