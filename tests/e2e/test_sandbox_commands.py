"""The sandbox from the command line, against a real marketplace: clock, scenarios, faults, and kalathi.toml."""

import json
import re
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.processes import calling, endpoint, find_line, kalathi, running, serve
from tests.market import ACCEPT, OPERATOR_TOKEN, until

pytestmark = pytest.mark.anyio


async def test_clock_scenarios_and_faults_from_the_command_line(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(f"{shop.address}/")
        to = ("--url", market.address, "--token", OPERATOR_TOKEN)

        status, before, error = await kalathi("clock", *to, "--json")
        assert status == 0, error
        status, after, _ = await kalathi("clock", "+2h", *to, "--json")
        assert json.loads(after)["now"] > json.loads(before)["now"]
        for wrong in ("+2w", "+²s", "+", "yesterday", "2027-01-01T00:00:00", "2020-01-01T00:00:00Z"):
            status, _, error = await kalathi("clock", wrong, *to)
            assert status == 1
            assert error.startswith("kalathi: ")

        status, listed, _ = await kalathi("trigger", "--list", *to)
        assert "late_cancellation The customer cancels" in " ".join(listed.split())
        set_quantity = ("--set", "order.line_items[0].quantity=3")
        status, out, error = await kalathi("trigger", "late_cancellation", *set_quantity, *to, "--json")
        assert status == 0, error
        [order] = json.loads(out)["orders"]
        assert order["state"] == "cancelled"
        shown = await caller.operate("GET", f"/marketplace/orders/{order['code']}")
        assert shown["order"]["line_items"][0]["quantity"] == 3
        await until(lambda: ("order_updated", "cancelled") in shop.by_order[order["code"]])
        for words, sentence in (
            (("trigger", "unheard_of"), "there are: abroad"),
            (("trigger", "late_cancelation"), "did you mean late_cancellation"),
            (("trigger", "new_order", "--set", "foo=1"), "paths are such as order.comments"),
            (("trigger", "new_order", "--set", "order.nonsense=1"), "there are comments, customer"),
            (("trigger", "new_order", "--shop", "unknown"), "Shop not found"),
            (("faults", "add", "api", "delay", "--call", "nonsense"), "there are accept, "),
            (("faults", "add", "webhooks", "delay", "--call", "accept"), "there are merchant_return_created"),
            (("faults", "add", "api", "delay", "--shop", "unknown"), "Shop not found"),
            (
                ("faults", "add", "api", "new_word", "--member", "code"),
                "does not change code; it changes",
            ),
            (("shop", "list", "--url", market.address.removeprefix("http://")), "must begin with http"),
        ):
            options = to[2:] if "--url" in words else to
            status, out, error = await kalathi(*words, *options)
            assert (status, out) == (1, "")
            assert sentence in error
        answer = await caller.operate("GET", "/marketplace/faults")
        assert answer["rules"] == []

        status, _, error = await kalathi("faults", "add", "api", "drop", "--call", "list", "--shop", shop_id, *to)
        assert status == 0, error
        headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT}
        async with aiohttp.ClientSession(headers=headers) as session:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.get(f"{market.address}/merchants/ecommerce/orders")
            status, out, _ = await kalathi("faults", "clear", *to)
            own = f"Shop {shop_id} has rules of its own: kalathi faults list --shop {shop_id}\n"
            assert out == f"There are no fault rules.\n{own}"
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.get(f"{market.address}/merchants/ecommerce/orders")
            _, out, _ = await kalathi("faults", "list", "--shop", shop_id, *to)
            assert out == "on=api kind=drop call=list\nseed 1\n"
            status, out, _ = await kalathi("faults", "clear", "--shop", shop_id, *to)
            assert out == "There are no fault rules.\n"
            async with session.get(f"{market.address}/merchants/ecommerce/orders") as answer:
                assert answer.status == 200
        log = market.log.read_text("utf-8")
        assert "Traceback" not in log
        assert token not in log


async def test_a_rough_marketplace_says_so_until_its_faults_are_cleared_or_replaced(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path, "--rough")) as market, calling(market.address) as caller:
        to = ("--url", market.address, "--token", OPERATOR_TOKEN)
        assert (await find_line(market.process.stdout, "--rough: ")).startswith("--rough: ")
        assert (await find_line(market.process.stdout, "kalathi faults clear")).endswith("turns them off.\n")
        _, out, _ = await kalathi("faults", "list", *to)
        assert out.startswith("The rough mixture is on: ")
        assert out.endswith("turns it off.\nseed 1\n")
        _, out, _ = await kalathi("faults", "clear", *to)
        assert out == "There are no fault rules.\n"
        _, out, _ = await kalathi("faults", "rough", "--seed", "7", *to)
        assert out.endswith("seed 7\n")
        _, out, _ = await kalathi("faults", "add", "api", "layout", *to)
        assert out == "on=api kind=layout\nseed 7\n"
        answer = await caller.operate("GET", "/marketplace/faults")
        assert (answer["seed"], len(answer["rules"]), answer["rough"], answer["shops"]) == (7, 1, False, [])


async def test_trigger_shows_each_webhooks_outcome_and_check_verifies_it(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/hook")
        to = ("--url", market.address, "--token", OPERATOR_TOKEN, "--shop", shop_id)
        status, out, error = await kalathi("trigger", "late_cancellation", "--check", *to)
        assert status == 0, error
        outcomes = [line for line in out.splitlines() if line.startswith(("new_order", "order_updated"))]
        code = outcomes[0].split()[1]
        assert len(outcomes) == len(shop.by_order[code]) == 5
        for line in outcomes:
            assert re.fullmatch(rf"(new_order|order_updated) +{code}  → {shop.address}/hook 200 in \d+ ms", line)

        shop.answers["/hook"] = lambda _: web.Response(status=404)
        status, out, _ = await kalathi("trigger", "new_order", "--check", *to)
        assert status == 1
        assert re.search(r"^new_order .* 404 in \d+ ms$", out, re.MULTILINE)
        status, out, _ = await kalathi("trigger", "new_order", "--json", *to)
        assert status == 0, "the check is on request"
        [webhook] = json.loads(out)["webhooks"]
        assert (webhook["status"], webhook["state"], webhook["attempts"]) == (404, "pending", 1)

        await caller.operate("PATCH", f"/marketplace/shops/{shop_id}", {"webhook_url": "http://127.0.0.1:9/"})
        _, out, _ = await kalathi("trigger", "new_order", *to)
        assert "→ http://127.0.0.1:9/ no answer: The connection was refused" in out
        await caller.operate("PATCH", f"/marketplace/shops/{shop_id}", {"webhook_enabled": False})
        status, out, _ = await kalathi("trigger", "return_withdrawal", "--check", *to)
        assert status == 1
        assert "no webhook URL: nothing was sent" in out
        assert "nothing was sent: no URL for returns" in out
        status, out, _ = await kalathi("trigger", "new_order", "--no-wait", *to)
        assert (status, len(out.splitlines())) == (0, 1)
        status, _, error = await kalathi("trigger", "new_order", "--no-wait", "--check", *to)
        assert (status, error) == (1, "kalathi: --check needs the outcomes, so leave out --no-wait.\n")


async def test_simulated_traffic_ends_and_a_seed_repeats_its_decisions(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path, "--voucher-delay-seconds", "0")) as market:
        to = ("--url", market.address, "--token", OPERATOR_TOKEN, "--json")
        counts = []
        for _ in range(2):
            status, out, error = await kalathi("simulate", "--rate", "40", "--shops", "2", "--for", "2s", *to)
            assert status == 0, error
            counts.append(json.loads(out))
        assert counts[0] == counts[1]
        # Customers do not share listings that a rejection has emptied, so traffic continues.
        assert counts[0]["placed"] == 80
        assert counts[0]["rejected"] > 5
        assert "refused" not in counts[0]
        assert counts[0]["delivered"] > 40
        status, _, error = await kalathi("simulate", "--for", "soon", *to)
        assert status == 1
        assert "60s" in error


async def test_a_flag_overrides_a_variable_and_a_variable_the_file(tmp_path: Path) -> None:
    data = tmp_path / "market"
    config = tmp_path / "kalathi.toml"
    config.write_text(f'port = 0\ndata = "{data}"\nacceptance_hours = 7\nextension_hours = 5\n', "utf-8")
    arguments = ("--config", str(config), "serve", "--acceptance-hours", "9")
    async with running(data, *arguments) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop("http://127.0.0.1:9/")
        order = (await caller.operate("GET", f"/marketplace/orders/{await caller.cart(shop_id)}"))["order"]
        created, expires = order["created_at"], order["expires_at"]
        assert (int(expires[11:13]) - int(created[11:13])) % 24 == 9
        extended = await caller.operate("POST", f"/marketplace/orders/{order['code']}/extend")
        assert (int(extended["order"]["expires_at"][11:13]) - int(expires[11:13])) % 24 == 5


async def test_the_file_sets_options_of_all_commands_and_of_single_ones(tmp_path: Path) -> None:
    data = tmp_path / "market"
    config = tmp_path / "kalathi.toml"
    config.write_text(
        f'data = "{data}"\noperator_token = "{OPERATOR_TOKEN}"\nip_ranges = ["10.0.0.0/8", "fd00::/8"]\n'
        "[serve]\nport = 0\nacceptance_hours = 7\n"
        '[shop.add]\ndomain = "shop.example"\njson = true\n'
        '[trigger]\nset = ["order.line_items[0].quantity=3", "order.comments=true"]\njson = true\n',
        "utf-8",
    )
    async with running(data, "--config", str(config), "serve") as market:
        environment = {"KALATHI_CONFIG": str(config), "KALATHI_URL": market.address}
        status, out, error = await kalathi("shop", "add", "Demo", **environment)
        assert status == 0, error
        assert json.loads(out)["api_token"]
        status, out, error = await kalathi("trigger", "new_order", **environment)
        assert status == 0, error
        async with calling(market.address) as caller:
            order = (await caller.operate("GET", f"/marketplace/orders/{json.loads(out)['orders'][0]['code']}"))[
                "order"
            ]
            assert (order["line_items"][0]["quantity"], order["comments"]) == (3, "true")
            assert (int(order["expires_at"][11:13]) - int(order["created_at"][11:13])) % 24 == 7
            async with aiohttp.ClientSession() as session, session.get(f"{market.address}/ip_ranges.json") as answer:
                assert (await answer.json())["ipv6"] == ["fd00::/8"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("speed = 1\n", "no setting speed"),
        ("[serve]\nspeed = 1\n", "no setting speed"),
        ("[shopp]\na = 1\n", "no table shopp"),
        ("[shop.add]\nspeed = 1\n", "no setting speed of shop.add"),
        ("port = \n", "cannot be read"),
    ],
)
async def test_a_file_with_a_mistake_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    config = tmp_path / "kalathi.toml"
    config.write_text(content, "utf-8")
    status, _, error = await kalathi("serve", "--data", str(tmp_path), KALATHI_CONFIG=str(config))
    assert status == 1
    assert said in error
