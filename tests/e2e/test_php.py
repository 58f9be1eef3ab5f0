"""The PHP examples and their page, with PHP's own web server."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from kalathi.checkup.evidence import ProbeAnswer
from kalathi.checkup.probes import read_answer
from kalathi.contract.signatures import secret_text, sign_headers
from tests.e2e.processes import Caller, calling, running, serve
from tests.e2e.test_docs import run_blocks
from tests.e2e.test_examples import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not shutil.which("php"), reason="this machine has no PHP"),
]

ROOT = Path(__file__).parents[2]
EVENT = (ROOT / "tests/data/examples/webhooks/orders/01-new-order.json").read_bytes()
UPDATE = (ROOT / "tests/data/examples/webhooks/orders/03-cancellation.json").read_bytes()
SECRET = secret_text(b"a secret of thirty-two bytes ...")


@asynccontextmanager
async def _receiver(folder: Path, port: int, marketplace: str, **variables: str) -> AsyncIterator[str]:
    """`php -S` with the receiver; gives the webhook URL."""
    environment = {
        "KALATHI_URL": marketplace,
        "KALATHI_TOKEN": "token-of-books",
        "RECEIVER_KEY": "change-me",
        "RECEIVER_FOLDER": str(folder / "events"),
        "PATH": os.environ["PATH"],
    }
    log = (folder / "php.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *("php", "-d", "display_errors=1", "-S", f"127.0.0.1:{port}", str(ROOT / "examples/receiver.php")),
        env=environment | variables,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=log,
    )
    try:
        yield f"http://127.0.0.1:{port}/?key=change-me"
    finally:
        process.terminate()
        await process.wait()
        log.close()


async def _post(url: str, body: bytes, headers: dict[str, str] | None = None) -> int:
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            try:
                async with session.post(url, data=body, headers=headers) as answer:
                    return answer.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)  # it is starting


def _events(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (folder / "events").iterdir())


async def test_a_receiver_in_php_stores_each_event_once(tmp_path: Path) -> None:
    async with _receiver(tmp_path, free_port(), "http://127.0.0.1:1") as url:
        assert await _post(url, UPDATE) == 200
        assert await asyncio.gather(*(_post(url, UPDATE) for _ in range(5))) == [200] * 5
        assert await _post(url, EVENT) == 503, "the marketplace cannot be reached, so the event must come again"
        assert _events(tmp_path) == sorted([UPDATE, EVENT])
        assert await _post(url, b"no event") == 400
        assert await _post(url.replace("change-me", "guessed"), UPDATE) == 404
        assert await _post(url.partition("?")[0], UPDATE) == 404
        assert len(_events(tmp_path)) == 2


async def test_arrays_in_place_of_texts_cause_no_php_warning(tmp_path: Path) -> None:
    async with _receiver(tmp_path, free_port(), "http://127.0.0.1:1") as url:
        body = b'{"event_type":"new_order","order":{"code":["a"]}}'
        assert await _post(url, body) == 200
        assert await _post(url, b'{"event_type":"new_order","order":"a"}') == 200
        assert await _post(url, b'{"event_type":["new_order"]}') == 200
        assert await _post(url.replace("key=", "key[]="), UPDATE) == 404
        assert await _post(f"{url}&key[]=x", UPDATE) == 404
    log = (tmp_path / "php.log").read_text()
    assert "Accepted" in log
    assert "Warning" not in log


async def test_a_receiver_in_php_that_cannot_store_an_event_answers_500(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("no folder", "utf-8")
    async with _receiver(tmp_path, free_port(), "http://127.0.0.1:1") as url:
        assert await _post(url, UPDATE) == 500


async def test_a_receiver_in_php_with_a_secret_takes_signed_events_only(tmp_path: Path) -> None:
    now = int(time.time())
    async with _receiver(tmp_path, free_port(), "http://127.0.0.1:1", RECEIVER_SECRETS=SECRET) as url:
        assert await _post(url, UPDATE) == 401
        for secret, stamp, body, status in (
            (SECRET, now, UPDATE, 200),
            (secret_text(b"another secret of 32 bytes ....."), now, UPDATE, 401),
            (SECRET, now - 3600, UPDATE, 401),
            (SECRET, now, b"{}", 401),
        ):
            assert await _post(url, body, sign_headers([secret], "an-id", stamp, UPDATE)) == status
        assert _events(tmp_path) == [UPDATE]


async def test_a_receiver_in_php_accepts_new_orders_also_after_a_failed_call(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "kalathi.toml"
    config.write_text(
        f'[[shops]]\nid = "books"\ntoken = "token-of-books"\nwebhook_url = "http://127.0.0.1:{port}/?key=change-me"\n'
        '[[shops.listings]]\nshop_uid = "A"\nproduct_name = "A"\nunit_price = 1\nquantity = 9\n',
        "utf-8",
    )
    async with (
        running(tmp_path, "--config", str(config), *serve(tmp_path / "data")) as market,
        calling(market.address) as caller,
        _receiver(tmp_path, port, market.address) as url,
    ):
        assert await _post(url, b"") == 400, "it runs"
        code = await caller.cart("books")
        assert await _state(caller, code) == "accepted"
        await caller.operate(
            "PUT", "/marketplace/faults", {"rules": [{"on": "api", "kind": "error", "call": "accept"}]}
        )
        code = await caller.cart("books")
        refused = "/marketplace/requests?call=accept&status=503&wait=10"
        assert len((await caller.operate("GET", refused))["requests"]) == 1
        assert (await caller.operate("GET", f"/marketplace/orders/{code}"))["order"]["state"] == "open"
        await caller.operate("PUT", "/marketplace/faults", {"rules": []})
        await caller.operate("POST", "/marketplace/clock", {"advance_seconds": 90})
        assert await _state(caller, code) == "accepted"


async def _state(caller: Caller, code: str) -> str:
    shown = await caller.operate("GET", f"/marketplace/orders/{code}?state=accepted&wait=10")
    state: str = shown["order"]["state"]
    return state


def test_the_probe_of_the_php_page_answers_as_a_checkup_reads_it(tmp_path: Path) -> None:
    [block] = re.findall(
        r"```php\n(<\?php\n// probe\.php .*?)```", (ROOT / "docs/php.md").read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "probe.php").write_text(block, "utf-8")
    shop = {"orders": {"261130-1": {"state": "accepted", "total": 20.8}}, "stock": {"A+1": 3}}

    def ask(query: str) -> ProbeAnswer:
        # The command line has no query, so it is set as a web server sets it.
        start = "parse_str($_SERVER['QUERY_STRING'] = $argv[1], $_GET); require 'probe.php';"
        done = subprocess.run(["php", "-r", start, "--", query], cwd=tmp_path, capture_output=True, check=True)
        return read_answer(done.stdout, "probe.php")

    assert ask("order=261130-1") == ProbeAnswer(orders=0, stock={})
    (tmp_path / "shop.json").write_text(json.dumps(shop), "utf-8")
    found = ProbeAnswer(orders=1, state="accepted", total=20.8, stock={"A+1": 3, "B": 0})
    assert ask("order=261130-1&sku=A%2B1&sku=B") == found
    assert ask("sku=B") == ProbeAnswer(orders=0, stock={"B": 0})


async def test_the_blocks_of_the_php_page_work(tmp_path: Path) -> None:
    text = (ROOT / "docs/php.md").read_text("utf-8")
    market, receiver = str(free_port()), str(free_port())
    text = text.replace("8090", market).replace("9000", receiver)
    script = ["export KALATHI_PORT=" + market]
    for name in ("smart_cart.php", "receiver.php"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    for number, (language, block) in enumerate(re.findall(r"```(toml|bash|php)\n(.*?)```", text, re.DOTALL)):
        if language == "toml":
            (tmp_path / "kalathi.toml").write_text(block, "utf-8")
        elif language == "bash":
            script.append(block)
        elif named := re.match(r"<\?php\n// (\w+\.php) ", block):
            (tmp_path / named[1]).write_text(block, "utf-8")
        else:
            (tmp_path / f"block{number}.php").write_text(block, "utf-8")
            script.append(f"php block{number}.php")
    out = await run_blocks(script, tmp_path)
    assert "waits until" in out
    assert "422 order_status: Order already accepted." in out
    assert (tmp_path / "voucher.pdf").read_bytes().startswith(b"%PDF")
    assert "4: Περιορισμένα τεμάχια, with available_quantity" in out
    assert "\nrejected\n" in out
    assert "\n2 passed\n" in out
    assert out.endswith("The signature is missing, wrong or too old.\nnot signed\n"), out
    events = [json.loads(path.read_bytes()) for path in (tmp_path / "events").iterdir()]
    assert [event["event_type"] for event in events].count("new_order") >= 2
