"""Monitoring of a marketplace: liveness, readiness, metrics."""

import platform
import re
from pathlib import Path

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send

from kalathi import __version__
from kalathi.marketplace.api.watching import with_watch_port
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.web.measuring import name_route, with_measuring
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


async def test_requests_are_measured_by_route_and_status(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        codes = [await shop.cart(A=1) for _ in range(2)]
        for code in codes:
            await shop.accept(code)
        await shop.call("POST", f"/orders/{codes[0]}/accept", {})
        await shop.call("GET", "/orders?per=1")
        await shop.products("POST", "/batch", {"data": []})
        await market.call("GET", "/sign-in")
        await market.call("GET", f"/shop/orders/{codes[0]}")
        for path in ("/nothing", f"/merchants/ecommerce/{codes[0]}", "/shop/nothing"):
            await market.call("GET", path)
        await market.call("PUT", "/sign-in")
        text = (await market.call("GET", "/metrics")).body.decode()
        counted = {
            (route, status): float(value)
            for route, status, value in re.findall(
                r'^kalathi_http_requests_total\{route="([^"]+)",status="(\d+)"\} (\S+)$', text, re.MULTILINE
            )
        }
        orders = "/merchants/ecommerce/orders/{code}"
        assert counted[f"POST {orders}/accept", "200"] == 2
        assert sum(value for (route, _), value in counted.items() if route == f"POST {orders}/accept") == 3
        assert counted[f"GET {orders}", "200"] == 2
        assert counted["GET /merchants/ecommerce/orders", "200"] == 1
        assert counted["POST /merchants/products/batch", "200"] == 1
        assert counted["POST /marketplace/carts", "201"] == 2
        assert counted["GET /sign-in", "200"] == 1
        assert counted["GET /shop/orders/{code}", "303"] == 1
        # No label has a text of the caller.
        assert sum(value for (route, _), value in counted.items() if route == "none") == 4
        assert not [route for route, _ in counted if codes[0] in route or "nothing" in route]
        times = _read_times(text, f"POST {orders}/accept")
        assert times == sorted(times)
        assert times[-1] == 3
        assert 'kalathi_orders{state="accepted"} 2.0' in text
        assert "kalathi_refused_sign_ins_total 0.0" in text
        assert f'kalathi_build_info{{python="{platform.python_version()}",version="{__version__}"}} 1.0' in text


def _read_times(text: str, route: str) -> list[float]:
    name = re.escape(f'kalathi_http_request_seconds_bucket{{le="x",route="{route}"}}').replace("x", '[^"]+')
    return [float(value) for value in re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)]


async def test_a_request_without_an_answer_is_counted() -> None:
    noted: list[tuple[str, int]] = []

    async def fails(scope: Scope, _receive: Receive, _send: Send) -> None:
        name_route(scope, "GET /x")
        raise ConnectionError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        pass

    asgi = with_measuring(fails, lambda route, status, _seconds: noted.append((route, status)))
    with pytest.raises(ConnectionError):
        await asgi({"type": "http", "method": "GET", "path": "/x"}, receive, send)
    assert noted == [("GET /x", 0)]
