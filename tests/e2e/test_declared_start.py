"""A declared start with real processes: a file, a variable, a restart, several processes, and refusals."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.databases import drop_postgres, fresh_postgres
from tests.e2e.processes import Caller, calling, kalathi, running, serve
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/declared-start.md").read_text("utf-8")
[EXAMPLE] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def _write(folder: Path, text: str = EXAMPLE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shops.toml"
    path.write_text(text, "utf-8")
    return path


async def _stock(caller: Caller) -> dict[str, int]:
    answer = await caller.operate("GET", "/marketplace/shops/books/listings")
    return {entry["shop_uid"]: entry["quantity"] for entry in answer["listings"]}


async def _order(caller: Caller) -> str:
    cart = caller.one("books") | {"items": [{"shop_id": "books", "shop_uid": "BOOK-1", "quantity": 2}]}
    code: str = (await caller.operate("POST", "/marketplace/carts", cart))["orders"][0]["code"]
    return code


async def test_the_example_of_the_page_starts_and_a_restart_sets_the_stock_again(tmp_path: Path) -> None:
    path = _write(tmp_path)
    command = ("--config", str(path), *serve(tmp_path / "data"))
    async with running(tmp_path, *command) as market, calling(market.address) as caller:
        code = await _order(caller)
        assert await caller.accept("token-of-books", code) == (200, {"success": True})
        assert await _stock(caller) == {"BOOK-1": 23, "SHOE-42": 3}
        faults = await caller.operate("GET", "/marketplace/shops/books/faults")
        assert [rule["kind"] for rule in faults["rules"]] == ["duplicate"]
        await market.kill()
    async with running(tmp_path, *command) as market, calling(market.address) as caller:
        assert await _stock(caller) == {"BOOK-1": 25, "SHOE-42": 3}
        assert (await caller.merchant("token-of-books", "GET", code))[1]["order"]["state"] == "accepted"
        assert (await caller.merchant("token-of-toys", "GET", ""))[0] == 200


async def test_the_text_of_a_variable_replaces_the_file(tmp_path: Path) -> None:
    variables = {"KALATHI_CONFIG_TEXT": EXAMPLE, "KALATHI_PORT": "0", "KALATHI_DATA": str(tmp_path / "data")}
    async with running(tmp_path, "serve", **variables) as market, calling(market.address) as caller:
        assert await _stock(caller) == {"BOOK-1": 25, "SHOE-42": 3}
    code, _, error = await kalathi("serve", KALATHI_CONFIG_TEXT='[[shops]]\nid = "a"')
    assert code == 1
    assert error.startswith("kalathi: KALATHI_CONFIG_TEXT line 1: shops[0].token: it is missing")
    code, _, error = await kalathi("--config", str(_write(tmp_path)), "serve", KALATHI_CONFIG_TEXT=EXAMPLE)
    assert (code, "KALATHI_CONFIG_TEXT are given" in error) == (1, True)
    code, _, error = await kalathi("serve", KALATHI_CONFIG_TEXT="shops = [")
    assert (code, "KALATHI_CONFIG_TEXT cannot be read" in error) == (1, True)


async def test_settings_and_other_commands_are_read_beside_declared_shops(tmp_path: Path) -> None:
    path = _write(tmp_path, f'port = 0\n{EXAMPLE}\n[listen]\nforward = "localhost:8000"\n')
    async with running(tmp_path, "--config", str(path), "serve", "--data", str(tmp_path / "data")) as market:
        access = ("--url", market.address, "--token", OPERATOR_TOKEN)
        code, out, error = await kalathi("--config", str(path), "faults", "list", "--shop", "books", *access)
        assert (code, "duplicate" in out) == (0, True), error
    path.write_text('[[shops]]\nid = "a/b"\n\n[serve]\nport = 0\n', "utf-8")
    code, _, error = await kalathi("--config", str(path), "openapi")
    assert code == 0, error


async def test_mistakes_in_the_file_end_the_start_with_file_line_and_path(tmp_path: Path) -> None:
    path = _write(tmp_path, EXAMPLE.replace("unit_price = 59", 'unit_price = "free"') + 'webhok_url = "x"\n')
    code, out, error = await kalathi("--config", str(path), *serve(tmp_path / "data"))
    lines = path.read_text("utf-8").splitlines()
    price, url = lines.index('unit_price = "free"') + 1, lines.index('webhok_url = "x"') + 1
    sentences = [
        f"{path} line {price}: shops[0].listings[1].unit_price: give a number",
        f"{path} line {url}: shops[1].webhok_url: there is no such member; did you mean webhook_url?",
    ]
    assert (code, out) == (1, "")
    assert error == f"kalathi: {sentences[0]}.\n  {sentences[1]}\n"
    code, out, _ = await kalathi("--config", str(path), *serve(tmp_path / "data"), "--check")
    assert code == 1
    assert all(f"no  {sentence}\n" in out for sentence in sentences)


async def test_check_counts_the_declared_shops(tmp_path: Path) -> None:
    path = _write(tmp_path)
    code, out, _ = await kalathi(
        "--config", str(path), "serve", "--check", "--port", "0", "--data", str(tmp_path / "d")
    )
    assert (code, f"ok  declared in {path}: shops: 2, listings: 2, fault rules: 1" in out) == (0, True)
    assert "ok  declared in kalathi.toml: shops: 2, listings: 2, fault rules: 1" in PAGE
    assert not (tmp_path / "d").exists()


async def test_production_refuses_declared_shops(tmp_path: Path) -> None:
    production = ("--mode", "production", "--public-url", "https://market.example", "--ip-ranges", "203.0.113.0/28")
    command = ("--config", str(_write(tmp_path)), *serve(tmp_path / "data", *production))
    code, _, error = await kalathi(*command)
    assert code == 1
    assert "line 2: shops: production mode does not start with declared shops" in error
    assert "Remove them from the file" in error
    code, out, _ = await kalathi(*command, "--check")
    assert (code, "no  " in out, "production mode does not start with declared shops" in out) == (1, True, True)


async def test_a_token_of_another_shop_ends_the_start(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(None)
    path = _write(tmp_path, f'[[shops]]\nid = "a"\ntoken = "{token}"\n')
    code, _, error = await kalathi("--config", str(path), *serve(tmp_path))
    assert code == 1
    assert error.endswith(
        f"line 3: shops[0].token: it is the token of shop {shop_id} already. Choose a different one.\n"
    )


async def test_several_processes_apply_the_declaration_once(tmp_path: Path) -> None:
    database = fresh_postgres()
    options = ("--processes", "3", "--database", database)
    command = ("--config", str(_write(tmp_path)), *serve(tmp_path / "data", *options))
    async with running(tmp_path, *command) as market, calling(market.address) as caller:
        await _order(caller)
        children = (await _children(market.process.pid))[:2]
        for child in children:
            os.kill(child, 9)
        async with asyncio.timeout(20):
            while len(await _children(market.process.pid)) < 3 or set(children) & set(
                await _children(market.process.pid)
            ):
                await asyncio.sleep(0.1)  # the next check
        assert await _stock(caller) == {"BOOK-1": 23, "SHOE-42": 3}, "a replaced process does not set the stock again"
        assert await market.terminate() == 0
    drop_postgres(database)


async def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8")
    return [int(child) for child in text.split()]
