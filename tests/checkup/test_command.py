"""`kalathi checkup` and `kalathi recipe` as their users run them."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

from kalathi.checkup.products import products_of
from kalathi.checkup.recipes import list_recipes
from kalathi.checkup.running import choose_checks, list_products
from kalathi.testing.calling import Caller
from kalathi.testing.server import Server
from kalathi.testing.shop import create_shop
from tests.checkup.model_shop import Client, ModelShop, serve
from tests.checkup.test_broken_receivers import load_broken
from tests.e2e.processes import calling, kalathi, running
from tests.e2e.processes import serve as serve_arguments
from tests.e2e.test_examples import free_port
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio

OF_RECIPES = [product for scenario, _ in list_recipes() for product in products_of(scenario, "TEST")]
STOCK = {product.uid: product.quantity for product in [*list_products(choose_checks(()), "TEST"), *OF_RECIPES]}


class Setup(NamedTuple):
    """A shop's integration at a running marketplace, and the options that name both."""

    marketplace: tuple[str, ...]
    shop: tuple[str, ...]
    probe: tuple[str, ...]


@contextmanager
def connected(
    server: Server, make: Callable[[Client, dict[str, int]], ModelShop] = ModelShop, *, token: str | None = None
) -> Iterator[Setup]:
    """A shop that is connected to the marketplace. With `token`, its client uses another token than its own."""
    caller = Caller(server.url, server.operator_token)
    shop = create_shop(caller)
    with serve(make(Client(server.url, token or shop.token), dict(STOCK))) as url:
        urls = {"webhook_url": f"{url}/hook", "returns_webhook_url": f"{url}/returns"}
        path = f"/marketplace/shops/{shop.id}"
        caller.call("PATCH", path, {**urls, "returns_webhook_enabled": True})
        caller.close()
        yield Setup(
            ("--url", server.url, "--token", server.operator_token),
            ("--shop", shop.id, "--seed", "TEST", "--patience", "1"),
            ("--probe", f"{url}/probe"),
        )


async def test_it_starts_a_marketplace_of_its_own_and_names_what_the_integration_does_wrong(tmp_path: Path) -> None:
    port, files = free_port(), {kind: tmp_path / f"report.{kind}" for kind in ("xml", "json", "html")}
    broken = load_broken("late_cancellation")(Client(f"http://127.0.0.1:{port}", "secret-of-the-shop"), dict(STOCK))
    with serve(broken) as url:
        arguments = ["checkup", "--webhook-url", f"{url}/hook", "--shop-token", "secret-of-the-shop"]
        arguments += ["--port", str(port), "--seed", "TEST", "--probe", f"{url}/probe", "--patience", "1"]
        arguments += ["--only", "late_cancellation", "--only", "vies"]
        arguments += ["--junit", str(files["xml"]), "--json", str(files["json"]), "--html", str(files["html"])]
        status, out, error = await kalathi(*arguments)
        assert (status, error) == (1, "")
        assert "FAILED            late_cancellation" in out
        assert "passed            vies" in out
        assert "change of the pieces of TEST-11-STICK -1" in out
        assert "the probe shows 0" in out
        assert (
            f"kalathi checkup --webhook-url {url}/hook --probe {url}/probe --seed TEST --port {port} --patience 1"
            in out
        )
        assert "--only late_cancellation" in out
        assert out.splitlines()[-1] == "1 passed, 1 FAILED"
    [suite] = ElementTree.parse(files["xml"]).getroot()
    assert {case.get("name"): len(case.findall("failure")) for case in suite} == {"late_cancellation": 1, "vies": 0}
    report = json.loads(files["json"].read_bytes())
    assert [result["verdict"] for result in report["results"]] == ["failed", "passed"]
    assert "TEST-11-STICK" in files["html"].read_text("utf-8")

    # The next run is compared with it; the failure is known now, and the plan is in a file.
    known, settings = tmp_path / "known.toml", tmp_path / "kalathi.toml"
    known.write_text('[late_cancellation]\ncomment = "ticket 123"\n', "utf-8")
    with serve(broken) as url:
        settings.write_text(
            f'[checkup]\nwebhook_url = "{url}/hook"\nshop_token = "secret-of-the-shop"\nport = {port}\nseed = "TEST"\n'
            f'probe = "{url}/probe"\npatience = 1\nonly = ["late_cancellation", "greek"]\nknown = "{known}"\n'
            f'compare = "{files["json"]}"\n',
            "utf-8",
        )
        status, out, error = await kalathi("--config", str(settings), "checkup")
        assert (status, error) == (0, ""), out
        assert "(known)" in out
        assert "greek  –       passed" in out
        assert "vies   passed  –" in out


async def test_a_known_failure_that_passes_fails_the_run(marketplace: Server, tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text('[vies]\ncomment = "ticket 123"\n', "utf-8")
    with connected(marketplace) as setup:
        options = (*setup.marketplace, *setup.shop, *setup.probe)
        status, out, _ = await kalathi("checkup", "--only", "vies", "--known", str(known), *options)
        assert status == 1
        assert "ticket 123" in out
        assert "remove it from the file" in out


async def test_each_mistake_in_the_set_up_says_what_to_change_and_is_no_failure(marketplace: Server) -> None:
    async def run(setup: Setup, *more: str) -> str:
        status, out, error = await kalathi("checkup", *setup.marketplace, *setup.shop, *more)
        assert (status, error) == (2, ""), out
        assert "FAILED" not in out
        return out

    class OtherAccept(ModelShop):
        def take(self, code: str) -> None:
            self.client.call("GET", f"/orders/{code}", accept="application/json")

    class Silent(ModelShop):
        def receive(self, event: dict[str, Any]) -> int:
            return 200

    class Reader(ModelShop):
        def answer(self, mine: Any, order: dict[str, Any]) -> None:
            pass

    class Refusing(ModelShop):
        def receive(self, event: dict[str, Any]) -> int:
            return self.success

    with connected(marketplace) as setup:
        out = await run(setup, "--webhook-url", f"http://127.0.0.1:{free_port()}/hook")
        assert "Is the integration running?" in out
    for status, hint in ((403, "lack its secret"), (404, "no program handles POST")):
        Refusing.success = status
        with connected(marketplace, Refusing) as setup:
            assert hint in await run(setup)
    with connected(marketplace, Silent) as setup:
        out = await run(setup)
        assert f"No call arrived at {marketplace.url} within 1 s." in out
        assert "host.docker.internal" in out
    with connected(marketplace, token="token-of-another-marketplace") as setup:
        assert "with a token that this marketplace does not know" in await run(setup)
    with connected(marketplace, OtherAccept) as setup:
        assert "It must send `Accept: application/vnd.skroutz+json; version=3.0`" in await run(setup)
    with connected(marketplace, Reader) as setup:
        out = await run(setup)
        assert "did not answer the order" in out
        assert "GET /merchants/ecommerce/orders/" in out
    with connected(marketplace, lambda client, _: ModelShop(client, {})) as setup:
        assert "kalathi checkup --products -" in await run(setup)
    with connected(marketplace) as setup:
        assert "does not answer" in await run(setup, "--probe", f"http://127.0.0.1:{free_port()}/probe")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--claims", "orders,everything"), "there is no such ability; there are orders, returns"),
        (("--only", "no_such_check"), "there is no such check. See kalathi checkup --list."),
        (("--known", "none.toml"), "none.toml cannot be read"),
        (("--compare", "none.json"), "none.json"),
        (("--junit", "-", "--json", "-"), "only one of --junit, --json and --html"),
        (("--html", "no/such/folder/report.html"), "there is no folder no/such/folder"),
        (("--probe", "shop.db"), "give a URL, command:..."),
        (("--probe", "sqlite:///shop.db"), "needs --probe-order or --probe-stock"),
        (("--probe", "woocommerce:https://shop.example"), "KALATHI_PROBE_KEY"),
        (("--probe", "merchant:no-such-folder"), "Start the connector first"),
        ((), "give --webhook-url"),
    ],
)
async def test_a_wrong_option_ends_with_status_2_and_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    status, out, error = await kalathi("checkup", *arguments)
    assert (status, out) == (2, "")
    assert sentence in error


async def test_a_mistake_beside_a_json_file_is_said_in_words() -> None:
    status, _, error = await kalathi("checkup", "--json", "report.json", "--patience", "soon")
    assert status == 2
    assert "'soon' is not a valid float range" in error
    assert "errors" not in error


async def test_the_products_and_the_checks_are_printed_without_a_marketplace() -> None:
    status, out, _ = await kalathi("checkup", "--products", "-", "--seed", "K3F9", "--only", "limited_stock")
    assert status == 0
    assert out.startswith("shop_uid,quantity,price,name\n")
    assert "K3F9-19-STICK,1,10.40,USB Stick 64GB\n" in out
    status, out, _ = await kalathi("checkup", "--list", "--language", "el")
    assert status == 0
    assert "late_cancellation" in out
    assert "κοστίζει χρήματα" in out


async def test_the_report_alone_is_on_standard_output(marketplace: Server) -> None:
    with connected(marketplace) as setup:
        options = ("--only", "express", "--json", "-", *setup.marketplace, *setup.shop)
        status, out, error = await kalathi("checkup", *options)
    assert status == 0
    assert [result["id"] for result in json.loads(out)["results"]] == ["express"]
    assert "passed            express" in error


async def test_a_run_stops_after_three_checks_without_any_sign_of_the_integration(marketplace: Server) -> None:
    class Dying(ModelShop):
        received = 0

        def receive(self, event: dict[str, Any]) -> int:
            Dying.received += 1
            if Dying.received > 6:
                return 500
            return super().receive(event)

    with connected(marketplace, Dying) as setup:
        status, out, _ = await kalathi("checkup", *setup.marketplace, *setup.shop)
    assert status == 1
    assert "silent in three checks in a row" in out
    assert "not tried" in out


async def test_without_the_products_limited_stock_is_not_tried(marketplace: Server) -> None:
    class Generous(ModelShop):
        def answer(self, mine: Any, order: dict[str, Any]) -> None:
            self.stock = {self.uid_of(line): 1000 for line in order["line_items"]}
            super().answer(mine, order)

    with connected(marketplace, Generous) as setup:
        without_seed = tuple(word for word in setup.shop if word not in {"--seed", "TEST"})
        arguments = ("checkup", "--only", "limited_stock", *setup.marketplace)
        status, out, _ = await kalathi(*arguments, *without_seed)
        assert status == 2
        assert "passed" not in out
        assert "--products" in out
        status, out, _ = await kalathi(*arguments, *setup.shop)
        assert status == 1


@asynccontextmanager
async def _stopped_recipe(setup: Setup) -> AsyncIterator[str]:
    """Start a recipe, and send Ctrl-C when it waits for the shop. Yields its output."""
    arguments = ["recipe", "accept", *setup.marketplace, "--shop", setup.shop[1], "--seed", "TEST"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kalathi.cli", *arguments, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(20):
        while "your turn" not in "".join(lines):
            lines.append((await process.stdout.readline()).decode())
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    yield "".join(lines)


async def test_a_recipe_waits_for_the_shop_and_continues_after_ctrl_c(marketplace: Server) -> None:
    may_answer = threading.Event()

    class Person(ModelShop):
        def receive(self, event: dict[str, Any]) -> int:
            threading.Thread(target=self._answer, args=[event["order"]["code"]], daemon=True).start()
            return 200

        def _answer(self, code: str) -> None:
            if may_answer.wait(30):
                self.take(code)

    with connected(marketplace, Person) as setup:
        async with _stopped_recipe(setup) as out:
            assert "Your first order" in out
            code = out.partition("(")[2].partition(")")[0]
        may_answer.set()
        to = (*setup.marketplace, "--shop", setup.shop[1])
        status, out, error = await kalathi("recipe", "accept", *to)
        assert (status, error) == (0, ""), out
        assert out.count("✓") == 3
        status, out, _ = await kalathi("recipe", "accept", "--restart", "--seed", "TEST", "--json", *to)
        progress = json.loads(out)
        assert progress["orders"] != [code]
        assert all(tick["is_done"] for tick in progress["ticks"])


@pytest.mark.parametrize("name", [scenario.name for scenario, _ in list_recipes()])
async def test_every_recipe_ticks_each_step_of_a_correct_integration(marketplace: Server, name: str) -> None:
    with connected(marketplace) as setup:
        options = (*setup.marketplace, "--shop", setup.shop[1], "--seed", "TEST", "--patience", "5", *setup.probe)
        status, out, error = await kalathi("recipe", name, *options)
    assert (status, error) == (0, ""), out
    assert "✗" not in out


async def test_a_recipe_ends_at_the_step_that_the_shop_does_otherwise(marketplace: Server) -> None:
    with connected(marketplace, lambda client, _: ModelShop(client, {})) as setup:
        options = (*setup.marketplace, "--shop", setup.shop[1], "--patience", "5")
        status, out, _ = await kalathi("recipe", "accept", *options)
    assert status == 1
    assert "the order is rejected (no_stock)" in out
    assert out.splitlines()[-1].startswith("✗")


async def test_a_marketplace_without_a_request_log_says_what_is_missing(tmp_path: Path) -> None:
    arguments = serve_arguments(tmp_path, "--request-log", "off")
    async with running(tmp_path, *arguments) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop("http://127.0.0.1:9/hook")
        to = ("--url", market.address, "--token", OPERATOR_TOKEN, "--shop", shop_id)
        for command, status in ((("checkup",), 2), (("recipe", "accept"), 1)):
            ended, _, error = await kalathi(*command, *to)
            assert ended == status
            assert "needs a sandbox with its request log" in error
            assert "--request-log on" in error


async def test_recipes_are_listed_and_an_unknown_one_is_refused(marketplace: Server) -> None:
    status, out, _ = await kalathi("recipe", "--language", "el")
    assert status == 0
    assert "Η πρώτη σας παραγγελία" in out
    status, _, error = await kalathi(
        "recipe", "no_such", "--url", marketplace.url, "--token", marketplace.operator_token
    )
    assert status == 1
    assert "there is no recipe no_such" in error
