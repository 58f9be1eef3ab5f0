"""Requests made up from the OpenAPI document, over real connections and with both kinds of tokens: no 5xx, no answer
that the document does not describe, and the process goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.attack.remote import EXAMPLES, RemoteMarket, open_remote
from tests.exhaustive.test_fuzz import OPERATIONS, check_answer, make_request
from tests.market import ACCEPT, OPERATOR_TOKEN, HttpAnswer
from tests.panel.world import World, fill_shop

# Each of these gets a process of its own.
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_every_answer_to_a_generated_request_is_documented(part: int, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_remote(tmp_path) as market:
            world = await fill_shop(market, "First")
            for operation in OPERATIONS[part::PARTS]:
                await _attack(market, world, operation)
            assert (await market.call("GET", "/readyz")).status == 200
        log = market.process.log.read_text("utf-8")
        assert "internal_error" not in log

    asyncio.run(run())


async def _attack(market: RemoteMarket, world: World, operation: Any) -> None:
    is_merchant = operation.path.startswith("/merchants")
    right, wrong = (world.shop.token, OPERATOR_TOKEN) if is_merchant else (OPERATOR_TOKEN, world.shop.token)
    known = {"shop_id": world.shop.id, "kind": "creation", "name": "new_order", "id": world.supplier_id}
    known |= {"code": world.open_code, "return_code": world.return_code}
    if operation.label.endswith("/api_token"):
        known["shop_id"] = "other"  # A renewed token would end ours.
    loop = asyncio.get_running_loop()

    def send(case: Any, token: str) -> HttpAnswer:
        path, content, headers = make_request(case, known)
        sent = {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
        sent |= {"Authorization": f"Bearer {token}", "Accept": ACCEPT}
        call = market.call(operation.method.upper(), path, content, sent)
        return asyncio.run_coroutine_threadsafe(call, loop).result(60)

    @settings(max_examples=EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def attempt(case: Any) -> None:
        check_answer(operation, send(case, right))
        refused = send(case, wrong)
        is_open = "security" not in operation.definition.raw or operation.path == "/metrics"
        assert refused.status in {401, 404, 405} or is_open, (operation.label, refused)

    await asyncio.to_thread(attempt)
