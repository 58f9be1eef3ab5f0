"""Kalathi's own connector passes its own checkup, with every claim."""

import asyncio
import sys
from pathlib import Path

import pytest

from kalathi.checkup.cast import Terms
from kalathi.checkup.products import render_products
from kalathi.checkup.running import Run, choose_checks, list_products
from kalathi.checkup.shop_probes import ConnectorProbe
from kalathi.checkup.stage import Stage
from kalathi.marketplace.sandbox.checkup_report import Verdict
from kalathi.simulation.operator import OperatorClient
from kalathi.testing.calling import Caller
from kalathi.testing.server import run_server
from kalathi.testing.shop import create_shop
from tests.checkup.running_checkups import EVERY_CLAIM, SEED, describe
from tests.e2e.processes import running

CHECKS = [planned.scenario.name for planned in choose_checks(())]
pytestmark = pytest.mark.anyio


async def test_the_connector_passes_a_checkup_with_every_claim(tmp_path: Path) -> None:
    stock = tmp_path / "stock.csv"
    stock.write_text(render_products(list_products(choose_checks(()), SEED)), "utf-8")
    with run_server() as server:
        caller = Caller(server.url, server.operator_token)
        shop = await asyncio.to_thread(create_shop, caller)
        path = f"/marketplace/shops/{shop.id}/products_token"
        token = (await asyncio.to_thread(caller.call, "POST", path))["products_token"]
        options = {
            "url": server.url,
            "token": shop.token,
            "products-token": token,
            "stock": str(stock),
            "print-to": str(tmp_path / "labels"),
            "data": str(tmp_path / "merchant"),
            "port": "0",
            "approve-returns": "faulty,wrong_product",
            "hand-over-to": "tests.checkup.back_office:hand_over",
        }
        variables = {
            "BACK_OFFICE_FOLDER": str(tmp_path / "orders"),
            "BACK_OFFICE_URL": server.url,
            "BACK_OFFICE_TOKEN": shop.token,
            "PYTHONPATH": ":".join(sys.path),
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        async with running(tmp_path / "process", "merchant", "--publish-stock", *flags, **variables) as connector:
            urls = {"webhook_url": connector.address, "returns_webhook_url": connector.address}
            changes = {**urls, "returns_webhook_enabled": True}
            await asyncio.to_thread(caller.call, "PATCH", f"/marketplace/shops/{shop.id}", changes)
            caller.close()
            async with OperatorClient(server.url, server.operator_token) as operator:
                stage = Stage(operator, shop.id, patience_seconds=20)
                probe = ConnectorProbe(f"{tmp_path / 'merchant'},{tmp_path / 'orders'}")
                report = await Run(stage, Terms(EVERY_CLAIM, SEED, probe), choose_checks(())).run()
    # After a scan the connector waits for a minute, which is longer than the patience of this run.
    waiting = [result.id for result in report.results if result.verdict is not Verdict.PASSED]
    assert waiting == ["published_after_scan"], describe(report)
    assert report.results[CHECKS.index("published_after_scan")].verdict is Verdict.NOT_SEEN
    assert report.exit_status == 0
