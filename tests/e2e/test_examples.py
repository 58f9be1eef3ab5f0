"""The examples are run as their first lines describe."""

import asyncio
import importlib.util
import io
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from kalathi.contract.codec import decode
from kalathi.contract.orders import OrderBody
from kalathi.merchant.decisions import Accept, LeaveToPerson, Reject
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.policy import read_policy

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
EVENT = (ROOT / "tests/data/examples/webhooks/orders/01-new-order.json").read_bytes()


def free_port() -> int:
    """A port of this machine that no process listens on."""
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
                async with session.post(url, data=io.BytesIO(body)) as answer:
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
    port = free_port()
    async with _application(tmp_path, *(part.replace("PORT", str(port)) for part in command)):
        url = f"http://127.0.0.1:{port}/webhooks/"
        assert await _post(f"{url}change-me", EVENT) == 200
        assert await _post(f"{url}change-me", EVENT) == 200
        assert await _post(f"{url}change-me", b"1" * 4_900_000) == 200, "long ones as well"
        assert await asyncio.gather(*(_post(f"{url}change-me", b"%d" % number) for number in range(20))) == [200] * 20
        assert await _post(f"{url}guessed", EVENT) == 404
    connector = Inbox(tmp_path / "merchant.db")
    bodies = [event.body for event in connector.events.unread()]
    assert bodies[0] == EVENT
    assert len(bodies) == 22
    connector.close()


async def test_a_mounted_receiver_ignores_a_trailing_slash(tmp_path: Path) -> None:
    port = free_port()
    async with _application(tmp_path, "-m", "uvicorn", "fastapi_receiver:app", "--port", str(port)):
        for path, status in (("change-me/", 200), ("change-me?any=1", 200), ("change-me//", 404), ("change-m/", 404)):
            assert await _post(f"http://127.0.0.1:{port}/webhooks/{path}", EVENT) == status, path


def load_example(module: str) -> Any:
    """The module of this name in examples/."""
    spec = importlib.util.spec_from_file_location(module, EXAMPLES / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_policy_can_be_read() -> None:
    assert read_policy(EXAMPLES / "policy.toml").orders.person_above == 500
    assert read_policy(EXAMPLES / "policy.toml").returns.approved_reasons == {"withdrawal"}


def test_the_cautious_policy_leaves_gift_orders_to_a_person() -> None:
    policy = load_example("cautious").policy
    recorded = decode((ROOT / "tests/data/examples/api/orders/DEMO-OPEN.json").read_bytes(), OrderBody).order
    stock = {line.shop_uid: line.quantity for line in recorded.line_items}
    plain = replace(recorded, gift_wrap=False)
    assert isinstance(policy.decide(plain, stock, policy.orders), Accept)
    assert isinstance(policy.decide(replace(recorded, gift_wrap=True), stock, policy.orders), LeaveToPerson)
    assert isinstance(policy.decide(replace(plain, custom="[GIFT-WRAP]"), stock, policy.orders), LeaveToPerson)
    assert isinstance(policy.decide(replace(plain, gift_wrap=True), dict.fromkeys(stock, 0), policy.orders), Reject)
