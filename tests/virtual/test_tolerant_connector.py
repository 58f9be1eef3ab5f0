"""Our connector in front of a marketplace with one kind of fault at every call and webhook, and with the rough mixture:
each order is answered, and each voucher is printed once."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from kalathi.contract.codec import encode
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.sandbox.faults import BODY_KINDS, FaultKind, FaultPlace, FaultRule
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.merchant.client import AsyncClient, Retries, UnreachableError
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.connector import Connector
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.receiver import WebhookHandler
from kalathi.merchant.stock import CsvStock
from tests.market import NOON, FakeNetwork, Market, Shop, open_market
from tests.virtual.test_connector_days import FakePrinter

pytestmark = pytest.mark.anyio

# No other order is of B: the order that follows this one takes all its pieces.
TOO_MANY: Final = {"B": 1000}
WANTED: Final[tuple[dict[str, int], ...]] = ({"A": 1}, {"A": 2}, TOO_MANY, {"A": 1}, {"A": 3})


class TolerantShop(FakeNetwork):
    """A shop with our connector. It is the marketplace's network as well."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.labels: Counter[str] = Counter()
        self.seconds = NOON.timestamp()
        self.codes: list[str] = []
        self.faulty_answers = 0

    @asynccontextmanager
    async def opened(self, market: Market) -> AsyncIterator[None]:
        self.market = market
        self.shop: Shop = await market.shop(quantity=10_000)
        self.folder.mkdir()
        (self.folder / "stock.csv").write_text("shop_uid,quantity\nA,100\nB,100\n", "utf-8")
        self.inbox = Inbox(self.folder / "inbox.db")
        self.connector = Connector(
            AsyncClient("http://market", self.shop.token, transport=self, retries=Retries(attempts=1)),
            self.inbox,
            CsvStock(self.folder / "stock.csv", clock=self.clock),
            FakePrinter(self.folder / "out", self.labels),
            print,
            clock=self.clock,
        )
        self.handler = WebhookHandler(self.inbox, clock=self.clock)
        with closing(self.inbox):
            yield

    def clock(self) -> float:
        return self.seconds

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        answer = self.handler.handle(body, headers)
        return Answer(url, answer.status, SendError.NONE, answer.body, 1)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        parts = urlsplit(url)
        try:
            answer = await self.market.call(method, f"{parts.path}?{parts.query}".rstrip("?"), body, headers)
        except ConnectionResetError:
            self.faulty_answers += 1
            raise UnreachableError("cut off") from None
        self.faulty_answers += answer.status != 200
        return HttpAnswer(answer.status, answer.body, answer.headers)

    async def play(self, rounds: int = 60) -> None:
        """Place the orders, and work until all are answered and printed."""
        for wanted in WANTED:
            self.codes.append(await self.shop.place(wanted))
        for _ in range(rounds):
            await self.market.advance(60)
            self.seconds += 60
            await self.connector.work()
            await self.connector.check()

    async def check(self) -> None:
        listed = await self.market.operate("GET", "/marketplace/orders?per=100")
        states = {order["code"]: order["state"] for order in listed["orders"]}
        for code, wanted in zip(self.codes, WANTED, strict=True):
            assert states[code] == ("rejected" if wanted == TOO_MANY else "accepted"), (wanted, states[code])
        # The marketplace makes new orders of the rejected pieces.
        assert set(states.values()) == {"accepted", "rejected"}
        assert self.labels == {code: 1 for code, state in states.items() if state == "accepted"}
        assert self.inbox.aside() == []
        listed = await self.market.operate("GET", "/marketplace/deliveries?per=100")
        assert {entry["state"] for entry in listed["deliveries"]} == {"delivered"}


def _rules(kind: FaultKind, **facts: Any) -> list[FaultRule]:
    return [FaultRule(on=place, kind=kind, **facts) for place in FaultPlace]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", sorted(BODY_KINDS))
async def test_every_order_is_answered_and_printed_once_with_a_fault_in_every_body(
    tmp_path: Path, kind: FaultKind, seed: int
) -> None:
    shop = TolerantShop(tmp_path / "shop")
    async with open_market(tmp_path / "market", network=shop) as market, shop.opened(market):
        faults = {"seed": seed, "rules": _rules(kind)}
        await market.operate("PUT", "/marketplace/faults", encode(faults))
        await shop.play()
        await shop.check()


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
async def test_every_order_is_answered_and_printed_once_with_calls_refused_now_and_then(
    tmp_path: Path, status: int
) -> None:
    shop = TolerantShop(tmp_path / "shop")
    async with open_market(tmp_path / "market", network=shop) as market, shop.opened(market):
        faults = {"rules": _rules(FaultKind.ERROR, status=status, probability=0.2)}
        await market.operate("PUT", "/marketplace/faults", encode(faults))
        await shop.play()
        assert shop.faulty_answers
        await market.operate("PUT", "/marketplace/faults", {})
        await shop.check()


@pytest.mark.parametrize("seed", range(1, 4))
async def test_every_order_is_answered_and_printed_once_with_the_rough_mixture(tmp_path: Path, seed: int) -> None:
    shop = TolerantShop(tmp_path / "shop")
    rough = Settings(rough=True)
    async with open_market(tmp_path / "market", network=shop, settings=rough) as market, shop.opened(market):
        await market.operate("PUT", "/marketplace/faults", {"seed": seed, "rough": True})
        await shop.play(rounds=30)
        assert shop.faulty_answers
        await shop.check()
