"""Run checkups in tests: one marketplace for all tests of a process, and a shop for each run."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from kalathi.checkup.cast import Terms
from kalathi.checkup.probes import UrlProbe
from kalathi.checkup.running import Run, choose_checks, list_products
from kalathi.checkup.stage import Stage
from kalathi.marketplace.sandbox.checks import Claim
from kalathi.marketplace.sandbox.checkup_report import Report, Verdict
from kalathi.simulation.operator import OperatorClient
from kalathi.testing.calling import Caller
from kalathi.testing.server import Server
from kalathi.testing.shop import create_shop
from tests.checkup.model_shop import Client, ModelShop, serve

EVERY_CLAIM = frozenset(Claim)
SEED = "TEST"


class Setting(NamedTuple):
    """The options of a run."""

    only: Sequence[str] = ()
    claims: frozenset[Claim] = EVERY_CLAIM
    has_probe: bool = True
    patience_seconds: float = 1.5


# Serves a shop that knows these pieces of its products, and gives its URL.
Serve = Callable[[Client, dict[str, int]], AbstractContextManager[str]]


def run_checkup(server: Server, make: Callable[[Client, dict[str, int]], ModelShop], setting: Setting) -> Report:
    """Run a checkup of a shop in this process."""
    return run_checkup_of(server, lambda client, stock: serve(make(client, stock)), setting)


def run_checkup_of(server: Server, serve_shop: Serve, setting: Setting) -> Report:
    """Run a checkup of a shop that `serve_shop` starts."""
    stock = {product.uid: product.quantity for product in list_products(choose_checks(setting.only), SEED)}
    caller = Caller(server.url, server.operator_token)
    try:
        shop = create_shop(caller)
        path = f"/marketplace/shops/{shop.id}"
        token = caller.call("POST", f"{path}/products_token")["products_token"]
        with serve_shop(Client(server.url, shop.token, token), stock) as url:
            urls = {"webhook_url": f"{url}/hook", "returns_webhook_url": f"{url}/returns"}
            caller.call("PATCH", path, {**urls, "returns_webhook_enabled": True})
            return asyncio.run(_run(server, shop.id, f"{url}/probe", setting))
    finally:
        caller.close()


async def _run(server: Server, shop_id: str, probe_url: str, setting: Setting) -> Report:
    probe = UrlProbe(probe_url) if setting.has_probe else None
    async with OperatorClient(server.url, server.operator_token) as operator:
        stage = Stage(operator, shop_id, patience_seconds=setting.patience_seconds)
        try:
            return await Run(stage, Terms(setting.claims, SEED, probe), choose_checks(setting.only)).run()
        finally:
            if probe is not None:
                await probe.close()


def failed(report: Report) -> list[str]:
    """Return the checks that failed."""
    return [result.id for result in report.results if result.verdict is Verdict.FAILED]


def describe(report: Report) -> str:
    """Return the notices and the results that are not passed, for a failed test."""
    lines = [f"{notice.kind} {notice.topic}: {notice.text.en}" for notice in report.notices]
    for result in report.results:
        if result.verdict is not Verdict.PASSED:
            lines.append(f"{result.verdict} {result.id} {result.reason.en if result.reason else ''}")
            lines += [f"    {finding.expected.en} / {finding.seen.en}" for finding in result.findings]
            lines += [
                f"        {exchange.line} {exchange.status} {exchange.answer[:200]}"
                for finding in result.findings
                for exchange in finding.exchanges
            ]
    return "\n".join(lines)
