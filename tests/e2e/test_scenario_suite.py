"""`kalathi trigger --show` and `--all`: scenarios as a test suite, against a real marketplace."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp import web

from kalathi.marketplace.sandbox.scenario import scenarios
from tests.e2e.processes import calling, endpoint, kalathi, running, serve
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio


def _results(xml: str) -> dict[str, str]:
    """Return the result of each test case."""
    [suite] = ElementTree.fromstring(xml)
    words = {"failure": "failed", "skipped": "skipped"}
    return {
        str(case.get("name")): next((words[child.tag] for child in case if child.tag in words), "passed")
        for case in suite
    }


async def test_every_scenario_is_a_test_case_of_the_shops_system(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/hook")
        to = ("--url", market.address, "--token", OPERATOR_TOKEN)
        file = tmp_path / "results.xml"
        status, out, error = await kalathi("trigger", "--all", "--junit", str(file), *to)
        assert (status, error) == (0, "")
        results = _results(file.read_text("utf-8"))
        assert results.keys() == scenarios().keys()
        skipped = {name for name, result in results.items() if result == "skipped"}
        assert skipped == {"merchant_ships", "ready", *(name for name in scenarios() if name.startswith("return_"))}
        assert "skipped  merchant_ships  The scenario needs a shop with fulfillment_mode fbm." in out
        assert out.splitlines()[-1] == f"{len(results) - len(skipped)} passed, 0 failed, {len(skipped)} skipped"

        changes = {"returns_webhook_url": f"{shop.address}/returns", "returns_webhook_enabled": True}
        await caller.operate("PATCH", f"/marketplace/shops/{shop_id}", changes | {"fulfillment_mode": "fbm"})
        shop.answers["/returns"] = lambda _: web.Response(status=404)
        status, out, progress = await kalathi("trigger", "--all", "--junit", "-", *to)
        assert status == 1
        results = _results(out)
        failed = {name for name, result in results.items() if result == "failed"}
        assert failed == {name for name in scenarios() if name.startswith("return_")}
        assert results["merchant_ships"] == "passed"
        assert results["relocation"] == "skipped"
        assert "webhooks were not delivered, first merchant_return_created" in progress
        status, out, error = await kalathi("trigger", "--all", "--json", *to)
        assert (status, len(json.loads(out))) == (1, len(results))
        entries = json.loads(error)["errors"]
        assert {entry["code"] for entry in entries} == {"scenario_failed"}
        assert {entry["messages"][0].partition(":")[0] for entry in entries} == failed


async def test_a_scenario_is_shown_with_the_paths_that_can_be_set(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        to = ("--url", market.address, "--token", OPERATOR_TOKEN)
        status, out, _ = await kalathi("trigger", "--show", "limited_stock", *to)
        assert status == 0
        assert "order.line_items[0].quantity               3\n" in out
        status, out, _ = await kalathi("trigger", "--show", "merchant_ships", "--json", *to)
        document = json.loads(out)
        assert document["requires"] == {"fulfillment_mode": "fbm"}
        every = [f"--set={path}={value}" for path, value in document["values"].items() if isinstance(value, str)]
        await caller.operate("PATCH", f"/marketplace/shops/{shop_id}", {"fulfillment_mode": "fbm"})
        status, out, error = await kalathi("trigger", "merchant_ships", "--no-wait", *every, *to)
        assert status == 0, error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--show",), "--show prints one scenario"),
        (("--all", "new_order"), "leave out the name"),
        (("--all", "--set", "order.comments=x"), "leave out the name"),
        (("new_order", "--junit", "x.xml"), "add --all"),
        (("--all", "--junit", "-", "--json", "--shop", "x"), "give --junit a file"),
        (("--all", "--junit", "/no/folder/x.xml", "--shop", "x"), "there is no folder /no/folder"),
    ],
)
async def test_options_that_do_not_fit_are_refused(words: tuple[str, ...], sentence: str) -> None:
    status, out, error = await kalathi("trigger", *words, "--url", "http://127.0.0.1:9", "--token", "x")
    assert (status, out) == (1, "")
    assert sentence in error
