"""Monitoring of a marketplace: liveness, readiness, metrics."""

import re
from pathlib import Path

import msgspec
import pytest

from kalathi.marketplace.api.watching import with_watch_port
from kalathi.marketplace.kernel.settings import Settings
from tests.market import OPERATOR_TOKEN, Market, open_market, until

pytestmark = pytest.mark.anyio


async def _measured(market: Market) -> dict[str, float]:
    text = (await market.call("GET", "/metrics")).body.decode()
    return {name: float(value) for name, value in re.findall(r"^(kalathi_[^ ]+) ([0-9.e+-]+)$", text, re.MULTILINE)}


async def test_a_marketplace_that_works_is_alive_and_ready(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        await market.settle()
        for path in ("/healthz", "/readyz"):
            assert (await market.call("GET", path)).json == {"database": "ok", "migrations": "ok", "worker": "ok"}
    async with open_market(tmp_path / "api", worker=False) as market:
        assert (await market.call("GET", "/readyz")).json["worker"] == "none"


async def test_a_marketplace_whose_worker_is_stuck_is_alive_but_not_ready(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        worker = market.marketplace.worker
        await until(lambda: worker.last_turn_at is not None)
        worker.end()
        working = market.marketplace._working
        assert working is not None
        await working
        worker.last_turn_at = (worker.last_turn_at or 0) - 3600
        answer = await market.call("GET", "/readyz")
        assert (answer.status, answer.json["errors"][0]["messages"]) == (
            503,
            ["database: ok", "migrations: ok", "worker: stuck"],
        )
        assert (await market.call("GET", "/healthz")).status == 200


async def test_delivered_and_undelivered_events_are_measured(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        market.network.statuses["http://dead/"] = [500, 500, 200]
        shop, dead = await market.shop(), await market.shop("Dead", url="http://dead/")
        await shop.cart(A=1)
        await dead.cart(A=1)
        await market.advance(30)
        measured = await _measured(market)
        assert measured['kalathi_webhook_attempts_total{outcome="delivered"}'] == 1
        assert measured['kalathi_webhook_attempts_total{outcome="retry"}'] == 1
        assert measured["kalathi_undelivered_events"] == 1
        assert measured["kalathi_oldest_undelivered_seconds"] == 30
        assert measured["kalathi_writer_queue"] == 0
        assert measured["kalathi_commit_group_size_count"] == measured["kalathi_commit_seconds_count"] > 5
        assert measured["kalathi_read_ahead_seconds_count"] > 0
        await market.advance(3600)
        measured = await _measured(market)
        assert measured["kalathi_undelivered_events"] == measured["kalathi_oldest_undelivered_seconds"] == 0


async def test_in_production_metrics_need_a_token_and_the_rest_does_not(tmp_path: Path) -> None:
    """Metrics say how many orders a marketplace has."""
    monitor = "a-token-for-the-monitoring-of-tests"
    settings = msgspec.convert({"mode": "production", "metrics_token": monitor}, Settings)
    async with open_market(tmp_path, settings=settings) as market:
        for token, status in (("", 401), ("wrong", 401), (monitor, 200), (OPERATOR_TOKEN, 200)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            assert (await market.call("GET", "/metrics", headers=headers)).status == status
        for path in ("/healthz", "/readyz"):
            assert (await market.call("GET", path)).status == 200
        # It opens nothing else.
        headers = {"Authorization": f"Bearer {monitor}"}
        assert (await market.call("GET", "/marketplace/shops", headers=headers)).status == 401
    async with open_market(tmp_path / "without", settings=msgspec.convert({"mode": "production"}, Settings)) as market:
        for headers in ({}, {"Authorization": "Bearer "}):
            assert (await market.call("GET", "/metrics", headers=headers)).status == 401


async def test_a_watch_port_answers_monitoring_without_a_token_and_nothing_else(tmp_path: Path) -> None:
    settings = msgspec.convert({"mode": "production"}, Settings)
    async with open_market(tmp_path, settings=settings) as market:
        market.marketplace.asgi = with_watch_port(market.marketplace.asgi, 9100)
        for port, metrics, docs in ((9100, 200, 404), (80, 401, 200)):
            market.server = ("market", port)
            assert (await market.call("GET", "/metrics")).status == metrics
            shown = await market.call("GET", "/openapi.json")
            assert shown.status == docs
            assert shown.headers["request-id"] != (await market.call("GET", "/x")).headers["request-id"]
            assert (await market.call("GET", "/readyz")).status == 200
