"""The end of a run: the shop's settings are restored, and the report is complete."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kalathi.checkup.cast import Terms
from kalathi.checkup.evidence import ProbeAnswer
from kalathi.checkup.probes import ProbeError
from kalathi.checkup.running import Run, choose_checks, fit_report
from kalathi.checkup.stage import Stage
from kalathi.checkup.starting import CheckupStarter
from kalathi.marketplace.sandbox.checks import Claim, Severity
from kalathi.marketplace.sandbox.checkup_report import CheckResult, Exchange, Finding, Report, Text, Verdict
from kalathi.simulation.operator import OperatorClient
from kalathi.testing.server import Server
from tests.checkup.model_shop import Client, ModelShop
from tests.checkup.running_checkups import SEED, Setting, describe, failed, run_checkup
from tests.checkup.test_broken_receivers import load_broken
from tests.checkup.test_command import connected
from tests.e2e.processes import kalathi

pytestmark = pytest.mark.anyio

OWN_RULE = {"on": "api", "kind": "delay", "seconds": 0.01, "call": "list"}


class Waiting(ModelShop):
    """Has every product, does not repeat a refused accept call, and says when one was refused, and when `slow_accept`
    has begun."""

    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self.was_refused = threading.Event()
        self.is_slow = threading.Event()

    def answer(self, mine: Any, order: dict[str, Any]) -> None:
        if _uid_start("slow_accept").removeprefix(SEED) in order["line_items"][0]["shop_uid"]:
            self.is_slow.set()
        for line in order["line_items"]:
            self.stock.setdefault(self.uid_of(line), 1000)
        super().answer(mine, order)

    def accept(self, mine: Any, body: dict[str, Any]) -> bool:
        answer = self.client.call("POST", f"/orders/{mine.code}/accept", body)
        if answer.status == 503:
            self.was_refused.set()
        return answer.status == 200


class LeavingProbe:
    """A probe that answers the preflight, and never again."""

    def __init__(self) -> None:
        self._left = 2

    async def ask(self, code: str, uids: Any) -> ProbeAnswer:
        self._left -= 1
        if self._left < 0:
            raise ProbeError("the shop's database has gone")
        return ProbeAnswer(orders=0, state="none", stock=dict.fromkeys(uids, 1000))

    async def close(self) -> None:
        pass


async def _state_of(operator: OperatorClient, shop_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    shop = (await operator.call("GET", f"/marketplace/shops/{shop_id}"))["shop"]
    return shop, await operator.faults(shop_id)


async def _report_of(operator: OperatorClient, shop_id: str) -> Report:
    return msgspec.convert(await operator.call("GET", f"/marketplace/shops/{shop_id}/checkup"), Report, strict=False)


async def _until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 20)


@contextlib.asynccontextmanager
async def _disturbed(server: Server) -> Any:
    """A shop with a fault rule of its own, and an operator. Afterwards its settings and rules must be as before."""
    shops: list[Waiting] = []

    def make(client: Client, stock: dict[str, int]) -> ModelShop:
        shops.append(Waiting(client, stock))
        return shops[0]

    with connected(server, make) as setup:
        shop_id = setup.shop[1]
        async with OperatorClient(server.url, server.operator_token) as operator:
            await operator.replace_rules(7, [OWN_RULE], rough=False, shop_id=shop_id)
            before = await _state_of(operator, shop_id)
            yield setup, shops[0], operator
            assert await _state_of(operator, shop_id) == before


async def test_a_failed_check_and_changed_settings_leave_the_shop_as_before(marketplace: Server) -> None:
    async with _disturbed(marketplace) as (setup, shop, _):
        options = (
            "--only",
            "accept_503",
            "--only",
            "ready",
            "--only",
            "merchant_ships",
            "--claims",
            "orders,fbm,ready",
        )
        status, out, _ = await kalathi("checkup", *options, *setup.marketplace, *setup.shop)
        assert status == 1, out
        assert shop.was_refused.is_set()


async def test_a_probe_that_stops_answering_leaves_the_shop_as_before(marketplace: Server) -> None:
    async with _disturbed(marketplace) as (setup, _, operator):
        stage = Stage(operator, setup.shop[1], patience_seconds=1)
        terms = Terms(frozenset({Claim.ORDERS}), SEED, LeavingProbe())
        report = await Run(stage, terms, choose_checks(("accept_503", "duplicate"))).run()
        assert {result.verdict for result in report.results} == {Verdict.NOT_TRIED}, describe(report)
        assert all("the shop's database has gone" in result.reason.en for result in report.results if result.reason)
        assert report.exit_status == 2


async def test_ctrl_c_ends_the_report_and_leaves_the_shop_as_before(marketplace: Server) -> None:
    async with _disturbed(marketplace) as (setup, shop, operator):
        arguments = ["checkup", "--only", "accept_503", *setup.marketplace, *setup.shop, "--patience", "60"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kalathi.cli", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
        await _until(shop.was_refused)
        process.send_signal(signal.SIGINT)
        _, error = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 130
        assert b"Traceback" not in error
        report = await _report_of(operator, setup.shop[1])
        assert report.stopped is not None
        assert report.ended_at is not None


async def test_a_run_of_the_page_that_its_server_ends_leaves_the_shop_as_before(marketplace: Server) -> None:
    async with _disturbed(marketplace) as (setup, shop, operator):
        starter = CheckupStarter(marketplace.url, marketplace.operator_token)
        await starter.start(setup.shop[1])
        await starter.start(setup.shop[1])  # One run at a time; the second call starts nothing.
        await _until(shop.is_slow)
        await starter.close()
        report = await _report_of(operator, setup.shop[1])
        assert report.stopped is not None
        assert report.ended_at is not None
        assert report.claims == ("orders", "returns")
        assert [result.id for result in report.results] == ["exactly_200", "burst"]


async def test_a_webhook_url_with_a_password_is_never_replaced(marketplace: Server) -> None:
    with connected(marketplace) as setup:
        shop_id = setup.shop[1]
        async with OperatorClient(marketplace.url, marketplace.operator_token) as operator:
            url = {"webhook_url": "http://shop:s3cret@127.0.0.1:9/hook"}
            await operator.call("PATCH", f"/marketplace/shops/{shop_id}", url)
            before = await _state_of(operator, shop_id)
            other = ("--webhook-url", "http://127.0.0.1:9/other")
            status, out, error = await kalathi("checkup", *other, *setup.marketplace, *setup.shop)
            assert (status, out) == (2, "")
            assert "has a password, so it cannot be restored" in error
            assert await _state_of(operator, shop_id) == before


async def test_a_switched_off_webhook_is_a_mistake_of_the_set_up(marketplace: Server) -> None:
    with connected(marketplace) as setup:
        path = f"/marketplace/shops/{setup.shop[1]}"
        async with OperatorClient(marketplace.url, marketplace.operator_token) as operator:
            await operator.call("PATCH", path, {"webhook_enabled": False})
        status, out, _ = await kalathi("checkup", *setup.marketplace, *setup.shop)
        assert status == 2
        assert "its switch is off" in out


def test_the_invoice_of_an_order_that_people_accept_is_judged_too(marketplace: Server) -> None:
    class People(ModelShop):
        def answer(self, mine: Any, order: dict[str, Any]) -> None:
            """People answer the orders, on the marketplace's pages."""

    claims = frozenset({Claim.INVOICES})
    for make, wanted in ((People, []), (type("Broken", (load_broken("invoice"), People), {}), ["invoice"])):
        report = run_checkup(marketplace, make, Setting(only=("invoice",), claims=claims))
        assert failed(report) == wanted, describe(report)
        assert report.exit_status == len(wanted)


def test_a_run_goes_on_if_the_integration_is_silent_in_no_more_than_two_checks_in_a_row(marketplace: Server) -> None:
    only = ("update_before_new", "expiry", "extension", "sizes", "vies", "island_vat")
    silent = {f"{SEED}-{choose_checks((name,))[-1].check.place:02}" for name in only} - {_uid_start("extension")}

    class Dozing(ModelShop):
        def receive(self, event: dict[str, Any]) -> int:
            uid = event["order"]["line_items"][0]["shop_uid"] if "order" in event else ""
            return 500 if uid.rpartition("-")[0] in silent - {_uid_start("island_vat")} else super().receive(event)

    report = run_checkup(marketplace, Dozing, Setting(only=only, has_probe=False, patience_seconds=0.5))
    assert report.stopped is None, describe(report)


def _uid_start(name: str) -> str:
    return f"{SEED}-{choose_checks((name,))[-1].check.place:02}"


def test_a_receiver_with_several_faults_fails_exactly_their_checks(marketplace: Server) -> None:
    faults = [
        *("duplicate", "late_cancellation", "accept_503", "limited_stock_number", "vies"),
        *("several_parcels", "unknown_event", "ready", "invoice"),
    ]
    broken = type("Broken", tuple(load_broken(name) for name in faults), {})
    report = run_checkup(marketplace, broken, Setting(patience_seconds=1))
    # These need another check that fails here.
    not_tried = dict.fromkeys(("limited_stock", "oversold", "cancellation_after_ready"), Verdict.NOT_TRIED)
    verdicts = {result.id: result.verdict for result in report.results if result.verdict is not Verdict.PASSED}
    wanted: Mapping[str, Verdict] = dict.fromkeys(faults, Verdict.FAILED)
    assert verdicts == {**wanted, **not_tried}, describe(report)


def test_a_report_that_is_too_large_for_a_call_keeps_its_findings() -> None:
    def of(answer: str) -> Report:
        exchange = Exchange(kind="call", at="", line="POST /accept", request="", status=500, answer=answer, curl="")
        finding = Finding(expected=Text("a", "α"), seen=Text("b", "β"), exchanges=(exchange,))
        result = CheckResult(
            id="vies",
            claim=Claim.ORDERS,
            severity=Severity.COSTS_MONEY,
            title=Text("a", "α"),
            consequence=Text("a", "α"),
            section=2,
            source="",
            fell=(),
            verdict=Verdict.FAILED,
            findings=(finding,),
        )
        return Report(
            shop_id="s",
            webhook_url="",
            claims=(),
            seed=SEED,
            has_probe=False,
            planned=1,
            began_at=datetime(2026, 11, 30, tzinfo=UTC),
            results=(result,),
        )

    small, large = of("x"), of("x" * 2_000_000)
    assert fit_report(small) == small
    fitted = fit_report(large)
    assert len(json.dumps(msgspec.to_builtins(fitted))) < 10_000
    assert fitted.results[0].findings[0].seen == Text("b", "β")
    assert fitted.results[0].findings[0].exchanges == ()
