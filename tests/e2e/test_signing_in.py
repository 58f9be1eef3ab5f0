"""What `kalathi serve` and `kalathi open` say about signing in to the pages."""

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.processes import find_line, kalathi, running, serve
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio


async def _status(link: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(link, allow_redirects=False) as response:
        return response.status


async def test_a_sandbox_prints_a_link_that_works_once_and_open_makes_another(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market:
        link = (await find_line(market.process.stdout, "/sign-in/")).split()[-1]
        assert link.startswith(f"{market.address}/sign-in/")
        await find_line(market.process.stdout, "kalathi open")
        assert [await _status(link) for _ in range(2)] == [303, 401]
        to = ("--url", market.address, "--token", OPERATOR_TOKEN)
        status, out, error = await kalathi("open", *to, "--print")
        assert (status, error) == (0, "")
        assert [await _status(out.strip()) for _ in range(2)] == [303, 401]
        # Without a desktop the link is still printed, and the message says what to do.
        status, out, error = await kalathi("open", *to, DISPLAY="", WAYLAND_DISPLAY="", BROWSER="")
        assert status == 0
        assert await _status(out.strip()) == 303
        assert "Open the link in a browser yourself" in error


async def test_open_passes_the_link_to_the_browser_in_a_private_file(tmp_path: Path) -> None:
    """Other users of the machine can read the command line of a browser."""
    async with running(tmp_path, *serve(tmp_path)) as market:
        (tmp_path / "operator-token").write_text(OPERATOR_TOKEN, "utf-8")
        opened = tmp_path / "opened"
        browser = tmp_path / "browser"
        browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n', "utf-8")
        browser.chmod(0o700)
        status, out, error = await kalathi("open", "--data", str(tmp_path), BROWSER=f"{browser} %s")
        assert (status, error) == (0, "")
        page = tmp_path / "open.html"
        assert opened.read_text("utf-8").strip() == page.as_uri()
        assert page.stat().st_mode & 0o777 == 0o600
        found = re.search(r"url=(http[^\"]+)", page.read_text("utf-8"))
        assert found is not None
        assert found[1] == out.strip()
        assert found[1].startswith(market.address)


async def test_an_open_console_warns_at_startup_and_requires_loopback(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path, "--open-console")) as market:
        await find_line(market.process.stdout, "--open-console: every user of this machine")
        assert await _status(f"{market.address}/") == 200
    for more, words in (
        (("--host", "0.0.0.0"), "would listen on 0.0.0.0"),
        (("--public-url", "https://market.example"), "--public-url"),
    ):
        status, _, error = await kalathi("serve", "--port", "0", "--data", str(tmp_path), "--open-console", *more)
        assert (status, words in error) == (1, True), error


async def test_production_prints_no_link(tmp_path: Path) -> None:
    more = ("--mode", "production", "--public-url", "https://market.example", "--ip-ranges", "203.0.113.0/28")
    async with running(tmp_path, *serve(tmp_path, *more)) as market:
        printed = [(await market.process.stdout.readline()).decode() for _ in range(2)]
        assert "sign-in/" not in "".join(printed)
        assert "with their tokens" in printed[1]
    status, _, error = await kalathi("serve", "--port", "0", "--data", str(tmp_path), *more, "--open")
    assert (status, "--open is for a sandbox" in error) == (1, True)


async def test_a_token_or_password_by_flag_does_not_stay_in_the_process_list(tmp_path: Path) -> None:
    """A process of its own, since its command line is looked at."""
    secret = "s3cret-token-of-the-operator-of-tests"
    flags = ("--operator-token", secret, "--webhook-proxy", "http://u:s3cret@127.0.0.1:1", "--watch-port", "0")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kalathi.cli", *serve(tmp_path), *flags), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        address = (await find_line(process.stdout, "is ready on")).split()[-1]
        watched = (await find_line(process.stdout, "/metrics")).split()[-1]
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"kalathi.cli" in command
        assert b"s3cret" not in command
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {secret}"}
            async with session.get(f"{address}/marketplace/shops", headers=headers) as answer:
                assert answer.status == 200
            async with session.get(watched) as answer:
                assert answer.status == 200
    finally:
        process.terminate()
        await process.wait()
