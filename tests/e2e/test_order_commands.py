"""The whole life of an order and a return from the command line, against a real marketplace."""

import asyncio
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.shell_completion import BashComplete

from kalathi.cli import main
from tests.e2e.processes import calling, endpoint, kalathi, running, serve
from tests.market import OPERATOR_TOKEN, until

pytestmark = pytest.mark.anyio


class _Terminal:
    """Runs commands against one marketplace."""

    def __init__(self, url: str) -> None:
        self.to = ("--url", url, "--token", OPERATOR_TOKEN)

    async def run(self, *words: str) -> str:
        """Return the output of a command that succeeds."""
        status, out, error = await kalathi(*words, *self.to)
        assert (status, error) == (0, ""), (words, error)
        return out

    async def json(self, *words: str) -> Any:
        """Return the answer of a command that succeeds."""
        return json.loads(await self.run(*words, "--json"))

    async def fail(self, *words: str, status: int = 1) -> str:
        """Return the error of a command that fails."""
        found, out, error = await kalathi(*words, *self.to)
        assert (found, out) == (status, ""), (words, out)
        return error

    async def cart(self, *words: str) -> str:
        """Return the code of a new order."""
        code: str = (await self.json("cart", *words))["orders"][0]["code"]
        return code


def _has_more(entries: list[bytes], count: int) -> bool:
    return len(entries) > count


async def test_an_order_lives_from_its_cart_to_its_replacement(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market:
        terminal = _Terminal(market.address)
        assert await terminal.run("shop", "list") == "No shops yet: kalathi shop add --help\n"
        assert "there is no shop yet" in await terminal.fail("cart", "--item", "MEM-64")
        shop = await terminal.json("shop", "add", "Βιβλία", "--domain", "athina.example")
        error = await terminal.fail("listing", "set", "MEM-64", "--quantity", "5", status=2)
        assert "MEM-64 is a new listing. Give --name, --price" in error
        await terminal.run("listing", "set", "MEM-64", "--name", "USB Stick", "--price", "10.40", "--quantity", "5")
        await terminal.run("listing", "set", "CABLE", "--name", "Καλώδιο", "--price", "4.90", "--quantity", "9")
        await terminal.run(
            "listing", "set", "MEM-64", "--quantity", "7", "--set", "size.label=L", "--set", "size.value=42"
        )
        listings = (await terminal.json("listing", "list"))["listings"]
        assert [(entry["shop_uid"], entry["unit_price"], entry["quantity"]) for entry in listings] == [
            ("CABLE", 4.9, 9),
            ("MEM-64", 10.4, 7),
        ]

        items = ("--item", "MEM-64=2,unit_price=9.90", "--item", "CABLE")
        terms = ("--payment-method", "cash_on_delivery", "--gift-wrap", "--set", "customer.first_name=Άννα")
        code = await terminal.cart("--shop", shop["id"], *items, *terms)
        order = (await terminal.json("order", "show", code))["order"]
        assert (order["customer"]["first_name"], order["customer"]["address"]["city"]) == ("Άννα", "Αθήνα")
        assert (order["payment_method"], order["gift_wrap"], order["line_items"][0]["unit_price"]) == (
            "cash_on_delivery",
            True,
            9.9,
        )
        assert f"{code}  {shop['id']}  open" in await terminal.run("order", "list", "--state", "open")
        assert "09:00 - 12:00" in await terminal.run("order", "show", code)

        assert f"Order {code}: accepted, pickup 20" in await terminal.run("order", "accept", code)
        assert "Order already accepted." in await terminal.fail("order", "accept", code)
        await terminal.run("clock", "+5s")
        await terminal.run("order", "reschedule-pickup", code)
        assert "relocation is not supported" in await terminal.fail("order", "relocate-pickup", code)
        assert await terminal.run("order", "hand_over", code) == f"Order {code}: dispatched\n"
        partly = await terminal.run("order", "deliver", code, "--line", "MEM-64=1")
        assert partly == f"Order {code}: partially_delivered\n"
        replaced = await terminal.json("order", "replace", code, "--line", "MEM-64=1")
        assert replaced["new_order"] == replaced["order"]["replacements"][0]["code"]


async def test_scripts_get_the_code_of_an_order_and_a_private_token_file(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        terminal = _Terminal(market.address)
        file = tmp_path / "token"
        add = ("shop", "add", "Shop", "--domain", "shop.example", "--token-file", str(file))
        assert f"API token in {file}" in await terminal.run(*add)
        token = file.read_text("utf-8").strip()
        assert file.stat().st_mode & 0o777 == 0o600
        assert "is there already" in await terminal.fail(*add)
        await terminal.run("listing", "set", "A", "--name", "A", "--price", "1", "--quantity", "5")
        code = (await terminal.run("cart", "--item", "A", "--quiet")).strip()
        status, shown = await caller.merchant(token, "GET", code)
        assert (status, shown["order"]["code"]) == (200, code)
        shops = (await caller.operate("GET", "/marketplace/shops"))["shops"]
        assert len(shops) == 1, "a shop was added although its token could not be written"


async def test_a_rejection_needs_no_json_and_names_the_new_order(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        terminal = _Terminal(market.address)
        await caller.shop(None)
        code = await terminal.cart("--item", "A=3")
        assert "not both" in await terminal.fail("order", "reject", code, status=2)
        assert "Reasons: no_stock" in await terminal.fail("order", "reject", code, "--line-reason", "A=1", status=2)
        assert "LINE=AVAILABLE" in await terminal.fail("order", "reject", code, "--line", "A", status=2)
        assert "line_items" in await terminal.fail("order", "reject", code, "--line", "unknown=1")
        rejected = await terminal.json("order", "reject", code, "--line", "A=1")
        assert rejected["order"]["line_items"][0]["rejection_reason"] == "limited_stock"
        following = await caller.operate("GET", f"/marketplace/orders/{rejected['new_order']}")
        assert following["order"]["line_items"][0]["quantity"] == 1
        line = following["order"]["line_items"][0]["id"]
        whole = await terminal.json("order", "reject", rejected["new_order"], "--line-reason", f"{line}=no_stock")
        assert whole["new_order"] is None
        text = await terminal.run("order", "reject", await terminal.cart("--item", "A"), "--reason", "Κλειστά")
        assert text.endswith(": rejected\n")
        supported = await terminal.cart("--item", "A")
        await terminal.run("order", "reject-as-support", supported, "--reason", "Ύποπτη")
        shown = await caller.operate("GET", f"/marketplace/orders/{supported}")
        assert shown["order"]["rejection_info"] == {"reason": "Ύποπτη", "actor": "skroutz"}


async def test_a_return_lives_from_its_request_to_its_inspection(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        terminal = _Terminal(market.address)
        await caller.shop(f"{shop.address}/orders")
        await terminal.run("shop", "edit", "--returns-webhook-url", f"{shop.address}/x", "--returns-webhook-enabled")
        code = await terminal.cart("--item", "A=2")
        for words in (("order", "accept", code), ("clock", "+5s"), ("order", "hand-over", code)):
            await terminal.run(*words)
        assert "Order already dispatched." in await terminal.fail("return", "request", code)
        await terminal.run("order", "deliver", code)
        asked = await terminal.json("return", "request", code, "--line", "A=1,comment=Δεν ανάβει", "--reason", "faulty")
        name = asked["return"]["return_code"]
        [line] = asked["return"]["return_line_items"]
        assert (line["returning_quantity"], line["return_reason"], line["user_comment"]) == (1, "faulty", "Δεν ανάβει")
        shown = await terminal.run("return", "show", name)
        assert "usability_suggestions" in shown
        assert re.search(r"^review until +\d{4}-\d\d-\d\d \d\d:\d\d$", shown, re.MULTILINE)
        assert "Comment is required." in await terminal.fail("return", "review", name, "--option", "not_faulty")
        assert await terminal.run("return", "review", name, "--option", "approve") == f"Return {name}: returning\n"
        await terminal.run("return", "hand-over", name, "--tracking-id", "X1", "--tracking-id", "X2")
        assert "X1, X2" in await terminal.run("return", "show", name)
        await terminal.run("return", "arrive", name)
        await terminal.run("return", "inspect", name)
        listed = await terminal.json("return", "list", "--order", code)
        assert [(entry["code"], entry["state"]) for entry in listed["returns"]] == [(name, "returned")]
        assert await terminal.run("deliveries", "resend", name) == "Resent 1 webhook.\n"
        whole = await terminal.cart("--item", "A=1")
        for words in (("order", "accept", whole), ("clock", "+5s"), ("order", "hand-over", whole)):
            await terminal.run(*words)
        await terminal.run("order", "deliver", whole)
        virtual = await terminal.json("return", "request", whole, "--virtual", "--reason", "withdrawal")
        assert virtual["return"]["return_line_items"][0]["returning_quantity"] == 1


async def test_deliveries_are_listed_shown_and_sent_again(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        terminal = _Terminal(market.address)
        shop_id, _ = await caller.shop(f"{shop.address}/orders")
        shop.answers["/orders"] = lambda _: web.Response(status=500, text="down \x1b[31m")
        code = await terminal.cart("--item", "A")
        await terminal.run("clock", "+30m")
        [entry] = (await terminal.json("deliveries", "list", code, "--state", "exhausted"))["deliveries"]
        assert f"{entry['id']}  new_order  exhausted  4         500" in await terminal.run("deliveries", "list")
        shown = await terminal.run("deliveries", "show", entry["id"])
        assert "down ?[31m" in shown
        assert '"event_type": "new_order"' in shown
        del shop.answers["/orders"]
        for name in (entry["id"], code):
            seen = len(shop.bodies)
            assert await terminal.run("deliveries", "resend", name) == "Resent 1 webhook.\n"
            await until(partial(_has_more, shop.bodies, seen))
        failed = await terminal.run("deliveries", "resend", "--shop", shop_id, "--since", "2020-01-01T00:00:00Z")
        assert failed == "Resent 0 webhooks.\n"
        assert "its offset" in await terminal.fail("deliveries", "resend", "--shop", shop_id, "--since", "today")
        assert "--shop with --since" in await terminal.fail("deliveries", "resend", status=2)


async def test_with_json_an_error_is_json_on_standard_error(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market:
        terminal = _Terminal(market.address)
        for words, status, code in (
            (("order", "show", "261130-1", "--json"), 1, "order_error"),
            (("shop", "show", "--json"), 1, "command_failed"),
            (("order", "list", "--state", "lost", "--json"), 2, "usage"),
            (("order", "lost", "--json"), 2, "usage"),
        ):
            [entry] = json.loads(await terminal.fail(*words, status=status))["errors"]
            assert entry["code"] == code
            assert entry["messages"]
    for options, code in ((("--data", str(tmp_path / "none")), "no_marketplace"), (terminal.to, "unreachable")):
        status, out, error = await kalathi("order", "list", "--json", *options)
        assert (status, out) == (1, "")
        assert json.loads(error)["errors"][0]["code"] == code


async def test_completions_know_the_shops_and_orders_of_the_marketplace(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        code = await caller.cart(shop_id)
        shell = BashComplete(main, {}, "kalathi", "_KALATHI_COMPLETE")
        to = ["--url", market.address, "--token", OPERATOR_TOKEN]
        for words, found in (
            (["trigger", *to, "--shop"], shop_id),
            (["faults", "list", *to, "--shop"], shop_id),
            (["order", "accept", *to], code),
        ):
            # A completion has its own event loop.
            [item] = await asyncio.to_thread(shell.get_completions, words, "")
            assert item.value == found
        wrong = ["order", "accept", "--url", market.address, "--token", "wrong"]
        assert await asyncio.to_thread(shell.get_completions, wrong, "") == []


@pytest.mark.parametrize(
    "words", ["logs", "deliveries list", "deliveries resend", "wait deliveries"], ids=lambda words: words
)
async def test_a_code_that_may_be_of_a_return_is_completed_from_both_lists(tmp_path: Path, words: str) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        played = await caller.operate("POST", "/marketplace/scenarios/return_virtual", {"shop_id": shop_id})
        shell = BashComplete(main, {}, "kalathi", "_KALATHI_COMPLETE")
        to = ["--url", market.address, "--token", OPERATOR_TOKEN]
        items = await asyncio.to_thread(shell.get_completions, [*words.split(), *to], "")
        codes = {entry["code"] for entry in (*played["orders"], *played["returns"])}
        assert len(codes) == 2
        assert {item.value for item in items} == codes


async def test_a_completion_finds_the_marketplace_by_the_environment(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        words = {"COMP_WORDS": "kalathi trigger --shop ", "COMP_CWORD": "3", "_KALATHI_COMPLETE": "bash_complete"}
        access = {"KALATHI_URL": market.address, "KALATHI_OPERATOR_TOKEN": OPERATOR_TOKEN}
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).parent / "kalathi",
            env={**os.environ, **words, **access},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert out.decode().strip() == f"plain,{shop_id}"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no address"])
async def test_a_completion_without_a_marketplace_prints_nothing(url: str) -> None:
    program = Path(sys.executable).parent / "kalathi"
    words = {"COMP_WORDS": f"kalathi order accept --url '{url}' --token x ", "COMP_CWORD": "7"}
    process = await asyncio.create_subprocess_exec(
        program,
        env={**os.environ, **words, "_KALATHI_COMPLETE": "bash_complete"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert (process.returncode, out.strip(), error) == (0, b"", b"")
