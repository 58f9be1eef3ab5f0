"""Faults in the bodies of answers and webhooks: only the sent bytes change, and a signature is of the bytes that are
sent."""

import time
from pathlib import Path
from typing import Any

import pytest

from kalathi.contract.signatures import verify
from kalathi.marketplace.sandbox.faults import BODY_KINDS, FaultKind
from kalathi.merchant.client import AsyncClient, Retries
from kalathi.merchant.client.transport import HttpAnswer
from tests.market import Market, open_market

pytestmark = pytest.mark.anyio

REJECT = {"rejection_reason_other": "Κλειστά"}


async def _set_rules(market: Market, *rules: dict[str, Any], seed: int = 1) -> Any:
    return await market.operate("PUT", "/marketplace/faults", {"seed": seed, "rules": list(rules)})


async def test_a_fault_in_an_answer_changes_only_what_is_sent(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        before = await shop.call("GET", f"/orders/{code}")
        await _set_rules(market, {"on": "api", "kind": "new_word", "member": "payment_method"})
        changed = await shop.call("GET", f"/orders/{code}")
        assert changed.json["order"] == before.json["order"] | {"payment_method": "new_payment_method"}
        assert int(changed.headers["content-length"]) == len(changed.body)
        assert (await market.order(code))["order"]["payment_method"] == "card"
        await _set_rules(market)
        assert (await shop.call("GET", f"/orders/{code}")).body == before.body


async def test_the_request_log_has_the_answer_with_its_fault(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        await _set_rules(market, {"on": "api", "kind": "layout"})
        answer = await shop.call("GET", "/orders/DEMO-OPEN")
        (call,) = (await market.operate("GET", "/marketplace/requests"))["requests"]
        assert call["answer"].encode() == answer.body
        assert answer.body.startswith(b"\n")


async def test_several_faults_are_in_one_answer_and_a_lost_answer_has_none(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        rules: list[dict[str, Any]] = [
            {"on": "api", "kind": "new_word", "member": "payment_method"},
            {"on": "api", "kind": "layout"},
            {"on": "api", "kind": "delay", "seconds": 0.001},
        ]
        await _set_rules(market, *rules)
        answer = await shop.call("GET", "/orders/DEMO-OPEN")
        assert answer.json["order"]["payment_method"] == "new_payment_method"
        assert answer.body.startswith(b"\n")
        await _set_rules(market, *rules, {"on": "api", "kind": "error", "status": 503})
        assert (await shop.call("GET", "/orders/DEMO-OPEN")).status == 503


async def test_each_call_has_its_own_fault_and_a_seed_repeats_them(tmp_path: Path) -> None:
    bodies = []
    for run, seed in (("a", 5), ("b", 5), ("c", 6)):
        async with open_market(tmp_path / run, worker=False) as market:
            shop = await market.shop()
            await _set_rules(market, {"on": "api", "kind": "number_as_text"}, seed=seed)
            answers = [await shop.call("GET", "/orders/DEMO-ACCEPTED") for _ in range(10)]
            bodies.append([str(answer.json["order"]["line_items"]) + str(answer.json["order"]) for answer in answers])
    assert bodies[0] == bodies[1]
    assert bodies[0] != bodies[2]
    assert len(set(bodies[0])) > 2


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "unreadable_body"),
        (401, "unauthorized"),
        (404, "not_found"),
        (409, "conflict"),
        (418, "invalid_parameter"),
    ],
)
async def test_an_injected_refusal_has_its_status_and_the_envelope(tmp_path: Path, status: int, word: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        await _set_rules(market, {"on": "api", "kind": "error", "status": status, "call": "reject"})
        answer = await shop.call("POST", f"/orders/{code}/reject", REJECT)
        assert (answer.status, answer.json["errors"][0]["code"]) == (status, word)
        assert "retry-after" not in answer.headers
        assert (await shop.show(code))["state"] == "open"


async def test_a_webhook_with_a_fault_is_signed_as_it_is_sent_and_a_retry_has_the_same_bytes(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        signing = await market.operate("POST", f"/marketplace/shops/{shop.id}/signing_secret")
        await _set_rules(market, *({"on": "webhooks", "kind": kind} for kind in sorted(BODY_KINDS)))
        market.network.statuses["http://shop/"] = [500, 500]
        code = await shop.cart(A=1)
        await market.advance(6 * 60)
        sent = market.network.bodies
        assert len(sent) == 3
        assert len(set(sent)) == 1
        assert b"new_member" in sent[0]
        for headers, body in zip(market.network.headers, sent, strict=True):
            assert verify([signing["signing_secret"]], headers, body, int(time.time()))
        [delivery] = (await market.order(code))["deliveries"]
        stored = await market.operate("GET", f"/marketplace/deliveries/{delivery['id']}")
        assert "new_member" not in str(stored["body"])


async def test_a_seed_gives_the_same_faults_in_the_webhooks_of_every_marketplace(tmp_path: Path) -> None:
    statuses, members = [], []
    for place, seed in (("one", 3), ("other", 3), ("third", 4)):
        async with open_market(tmp_path / place) as market:
            shop = await market.shop()
            rules = [{"on": "webhooks", "kind": "error", "probability": 0.5}]
            await _set_rules(market, *rules, {"on": "webhooks", "kind": "unknown_member"}, seed=seed)
            codes = []
            for _ in range(12):
                codes.append(await shop.cart(A=1))
                await market.settle()
            details = [(await market.order(code))["deliveries"][0]["attempts"][0] for code in codes]
            statuses.append([detail["status"] for detail in details])
            members.append([sorted(body) for _, body in market.network.posts])
    assert statuses[0] == statuses[1]
    assert members[0] == members[1]
    assert statuses[0] != statuses[2]


class _Direct:
    """Carries the calls of a client to the marketplace of a test."""

    def __init__(self, market: Market) -> None:
        self._market = market

    async def send(self, method: str, url: str, headers: Any, body: bytes | None) -> HttpAnswer:
        answer = await self._market.call(method, url.removeprefix("http://market"), body, headers)
        return HttpAnswer(answer.status, answer.body, answer.headers)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", sorted(BODY_KINDS))
async def test_the_sdk_reads_every_call_with_a_fault_in_each_answer(tmp_path: Path, kind: FaultKind) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        client = AsyncClient("http://market", shop.token, transport=_Direct(market), retries=Retries(attempts=1))
        codes = [
            f"DEMO-{name}" for name in ("OPEN", "ACCEPTED", "REJECTED", "INVOICE39A", "FBS", "STORE-PICKUP", "FEES")
        ]
        for seed in range(5):
            await _set_rules(market, {"on": "api", "kind": kind}, seed=seed)
            for code in codes:
                assert (await client.order(code, action_options=True)).code == code
                assert (await client.read_order(code)).unread == ()
            assert (await client.return_request("DEMO-RETURN")).return_code == "DEMO-RETURN"
            assert (await client.orders()).meta.pagination.page == 1
            assert {product.shop_uid for product in (await client.warehouse_products()).products} == {"A", "B"}
            options = (await client.order("DEMO-OPEN")).accept_options
            assert options
            await client.accept("DEMO-OPEN", options.pickup_location[0].id, options.pickup_window[0].id, 1)
