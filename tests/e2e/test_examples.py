"""The examples are run: each as its first lines say."""

import asyncio
import base64
import importlib.util
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from kalathi.contract.codec import decode, encode
from kalathi.contract.orders import OrderBody
from kalathi.merchant.decisions import Accept, LeaveToPerson, Reject
from kalathi.merchant.handing_over import FunctionRecipient, HandoverError, order_body
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.policy import read_policy

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
EVENT = (ROOT / "tests/data/examples/webhooks/orders/01-new-order.json").read_bytes()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


@asynccontextmanager
async def _application(data: Path, *command: str) -> AsyncIterator[None]:
    environment = os.environ | {"KALATHI_MERCHANT_DATA": str(data)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=EXAMPLES, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _post(url: str, body: bytes) -> int:
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            try:
                async with session.post(url, data=body) as answer:
                    return answer.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.1)  # it is starting
    raise AssertionError(url)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("-m", "uvicorn", "fastapi_receiver:app", "--port", "PORT"), id="fastapi"),
        pytest.param(("django_receiver.py", "runserver", "--noreload", "PORT"), id="django"),
    ],
)
async def test_a_framework_receives_webhooks_into_the_inbox_of_the_connector(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    port = _free_port()
    async with _application(tmp_path, *(part.replace("PORT", str(port)) for part in command)):
        url = f"http://127.0.0.1:{port}/webhooks/"
        assert await _post(f"{url}change-me", EVENT) == 200
        assert await _post(f"{url}change-me", EVENT) == 200
        assert await asyncio.gather(*(_post(f"{url}change-me", b"%d" % number) for number in range(20))) == [200] * 20
        assert await _post(f"{url}guessed", EVENT) == 404
    connector = Inbox(tmp_path / "merchant.db")
    bodies = [event.body for event in connector.new_events()]
    assert bodies[0] == EVENT
    assert len(bodies) == 21
    connector.close()


async def test_a_slash_more_is_the_same_path_inside_of_another_application(tmp_path: Path) -> None:
    port = _free_port()
    async with _application(tmp_path, "-m", "uvicorn", "fastapi_receiver:app", "--port", str(port)):
        for path, status in (("change-me/", 200), ("change-me?any=1", 200), ("change-me//", 404), ("change-m/", 404)):
            assert await _post(f"http://127.0.0.1:{port}/webhooks/{path}", EVENT) == status, path


class WooCommerce:
    """As much of the REST interface as orders need: a search in the billing address, and codes of its own."""

    def __init__(self) -> None:
        self.orders: dict[int, dict[str, Any]] = {}
        self.busy = False

    async def answer(self, request: web.Request) -> web.Response:
        if self.busy:
            return web.Response(status=503)
        if request.headers["Authorization"] != f"Basic {base64.b64encode(b'ck_1:cs_1').decode()}":
            return web.Response(status=401)
        if request.method == "GET":
            wanted = request.query["search"]
            return web.json_response([o for o in self.orders.values() if wanted in str(o["billing"])])
        content = await request.json()
        found = re.fullmatch(r"/wp-json/wc/v3/orders/(\d+)", request.path)
        number = int(found[1]) if found else len(self.orders) + 1
        self.orders[number] = self.orders.get(number, {}) | content | {"id": number}
        return web.json_response(self.orders[number], status=200 if found else 201)


@asynccontextmanager
async def _served(shop: WooCommerce) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", shop.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_orders_are_handed_over_to_woocommerce_once_and_follow_their_state() -> None:
    shop = WooCommerce()
    hand_over = FunctionRecipient(_module("woocommerce").hand_over)
    async with _served(shop) as url:
        os.environ |= {"WOOCOMMERCE_URL": url, "WOOCOMMERCE_KEY": "ck_1", "WOOCOMMERCE_SECRET": "cs_1"}
        bodies = {state: _told(state) for state in ("open", "accepted", "dispatched", "cancelled")}
        await hand_over.take("o1", bodies["open"])
        assert shop.orders == {}, "nothing is packed before it is accepted"
        shop.busy = True
        with pytest.raises(HandoverError, match="503"):
            await hand_over.take("o1", bodies["accepted"])
        shop.busy = False
        for state, status in (("accepted", "processing"), ("accepted", "processing"), ("dispatched", "completed")):
            await hand_over.take("o1", bodies[state])
            assert [order["status"] for order in shop.orders.values()] == [status]
        await hand_over.take("o1", bodies["cancelled"])
        [order] = shop.orders.values()
        assert order["status"] == "cancelled"
        assert order["billing"]["last_name"]
        assert [line["quantity"] for line in order["line_items"]]
        assert all(re.fullmatch(r"\d+\.\d\d", line["total"]) for line in order["line_items"])


def _told(state: str) -> bytes:
    recorded = decode((ROOT / "tests/data/examples/api/orders/DEMO-OPEN.json").read_bytes(), OrderBody).order
    text = encode(OrderBody(order=recorded)).replace(b'"state":"open"', f'"state":"{state}"'.encode())
    return order_body(decode(text, OrderBody).order)


def _module(module: str) -> Any:
    spec = importlib.util.spec_from_file_location(module, EXAMPLES / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_policy_can_be_read() -> None:
    assert read_policy(EXAMPLES / "policy.toml").orders.person_above == 500
    assert read_policy(EXAMPLES / "policy.toml").returns.approved_reasons == {"withdrawal"}


def test_a_policy_in_python_decides_what_the_usual_one_does_not() -> None:
    policy = _module("cautious").policy
    recorded = decode((ROOT / "tests/data/examples/api/orders/DEMO-OPEN.json").read_bytes(), OrderBody).order
    stock = {line.shop_uid: line.quantity for line in recorded.line_items}
    plain = replace(recorded, gift_wrap=False)
    assert isinstance(policy.decide(plain, stock, policy.orders), Accept)
    assert isinstance(policy.decide(replace(recorded, gift_wrap=True), stock, policy.orders), LeaveToPerson)
    assert isinstance(policy.decide(replace(plain, gift_wrap=True), dict.fromkeys(stock, 0), policy.orders), Reject)
