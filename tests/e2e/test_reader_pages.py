"""The commands of the pages for each reader are run with the built wheel, in an environment of their own."""

import asyncio
import fcntl
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest

from kalathi.cli import main
from tests.e2e.processes import Process, calling, running
from tests.e2e.test_docs import in_a_shell

pytestmark = [pytest.mark.anyio, in_a_shell]

ROOT = Path(__file__).parents[2]
# Waiting for a line that never comes would wait for the limit of the test.
SECONDS = 120


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built package and the pinned libraries, made once for all workers of the run."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder = shared / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    with (shared / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
            subprocess.run([*pip, *build], check=True)
            libraries = ["download", "--no-deps", "--require-hashes", "--requirement", str(ROOT / "requirements.txt")]
            subprocess.run([*pip, *libraries, "--dest", str(folder)], check=True)
            (folder / "made").touch()
    return folder


async def _run(page: str, folder: Path, wheels: Path, **replaced: str) -> str:
    """Run all commands of a page as one script, without the checkout on any path. Return their output."""
    script = "\n".join(_in_background(block) for block in _blocks(page, "bash"))
    for old, new in replaced.items():
        text = {"token": "YOUR-TOKEN", "url": "https://api.skroutz.gr", "port": "9321", "watch": "9322"}[old]
        assert text in script
        script = script.replace(text, new)
    hidden = ("PYTHON", "KALATHI_", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    # `python3` of the page is the one that runs the tests; `kalathi` is only in the environment that the page makes.
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    environment |= {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        # Until the first release, no index has this package.
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + script,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, error = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)
    assert process.returncode == 0, error.decode() + out.decode()
    return out.decode()


async def test_a_plugins_author_sees_the_first_webhook_within_a_minute(tmp_path: Path, wheels: Path) -> None:
    begun = time.monotonic()
    out = await _run("write-a-plugin.md", tmp_path, wheels)
    assert time.monotonic() - begun < 60
    assert "from a checkout" not in out
    assert re.search(r"^\d\d:\d\d:\d\d +new_order +[\d-]+ +open$", out, re.MULTILINE)
    assert '"orders"' in (tmp_path / "orders.json").read_text("utf-8")


def _in_background(block: str) -> str:
    """A connector runs until Ctrl-C. Here it ends once it has answered."""
    awaited = "would" if "--dry-run" in block else "printed" if "--watch-port" in block else ""
    if not awaited:
        return block
    return (
        f"{block.rstrip()} > {awaited}.txt &\nCONNECTOR=$!\n"
        f"until grep -q '^{awaited}' {awaited}.txt; do sleep 0.1; done\ncat {awaited}.txt\nkill $CONNECTOR\n"
    )


@asynccontextmanager
async def _marketplace(folder: Path) -> AsyncIterator[Process]:
    async with running(folder, "serve", "--port", "0", "--data", str(folder / "market")) as market:
        yield market


async def test_a_shop_answers_its_orders_and_prints_the_vouchers(tmp_path: Path, wheels: Path) -> None:
    place = tmp_path / "shop"
    place.mkdir()
    async with _marketplace(tmp_path) as market, calling(market.address) as caller:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        shop_id, token = await caller.shop(f"http://127.0.0.1:{port}/orders/change-me")
        listing = {"shop_uid": "MEM-64", "product_name": "USB", "unit_price": 10.4, "quantity": 9}
        await caller.operate("PUT", f"/marketplace/shops/{shop_id}/listings", [listing])
        item = {"shop_id": shop_id, "shop_uid": "MEM-64", "quantity": 1}
        cart = caller.one(shop_id) | {"items": [item]}
        await caller.operate("POST", "/marketplace/carts", cart)
        out = await _run("run-a-shop.md", place, wheels, token=token, url=market.address, port=str(port), watch="0")
        assert "would accept" in out
        [order] = (await caller.operate("GET", "/marketplace/orders"))["orders"]
        assert order["state"] == "accepted"
    assert (place / "token").stat().st_mode & 0o077 == 0
    assert (place / "status.json").read_text("utf-8").startswith("{")


async def test_an_operator_gets_to_production_mode(tmp_path: Path, wheels: Path) -> None:
    out = await _run("run-a-marketplace.md", tmp_path, wheels)
    assert "ok    accept" in out
    assert re.search(r"sandbox.kalathi: 1 shops, 1 orders", out)
    assert "is up to date" in out
    assert "no  " not in out, "every finding of --check is good"


@pytest.mark.parametrize("page", ["write-a-plugin.md", "run-a-shop.md", "run-a-marketplace.md"])
def test_the_commands_for_windows_exist(page: str) -> None:
    """They cannot be run here. Their options are read by the command line itself."""
    for line in "\n".join(_blocks(page, "powershell")).splitlines():
        words = shlex.split(line.replace("\\", "/"))
        if not words:
            continue
        words[0] = words[0].removeprefix("kalathi-env/Scripts/")
        if words[0] == "kalathi" and words[1:] != ["--version"]:
            command = main.get_command(click.Context(main), words[1])
            assert command is not None, line
            known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
            assert {word for word in words[2:] if word.startswith("--")} <= known, line
        elif words[:3] == ["pip", "install", "--quiet"]:
            assert re.fullmatch(r"kalathi\[[a-z,]+\]", words[3]), line
    assert shutil.which("bash")


def test_the_settings_file_of_a_shop_is_read(tmp_path: Path) -> None:
    settings = "".join(_blocks("run-a-shop.md", "toml"))
    settings = settings.replace("https://api.skroutz.gr", "http://127.0.0.1:9").replace("9321", "0")
    (tmp_path / "kalathi.toml").write_text(settings, "utf-8")
    (tmp_path / "token").write_text("t", "utf-8")
    (tmp_path / "stock.csv").write_text("shop_uid,quantity\nMEM-64,5\n", "utf-8")
    command = [sys.executable, "-m", "kalathi", "merchant"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
    assert re.search(r"receives webhooks on http://\S+/orders/change-me$", line), line
    assert (tmp_path / "vouchers").is_dir()
