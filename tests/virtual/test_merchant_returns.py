"""The merchant's side of returns and of the warehouse: what is decided without a person, and the client's calls."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.codec import decode, encode
from kalathi.contract.requests import (
    PurchaseOrderLineRequest,
    PurchaseOrderRequest,
    SupplierRequest,
)
from kalathi.contract.returns import Return, ReturnBody, ReturnLineItem, ReviewOption
from kalathi.merchant.client import AsyncClient, MarketplaceError, Retries
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.connector import Connector
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.policy import Policy
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.purchasing import PurchaseFileError, read_goods
from kalathi.merchant.return_decisions import NothingToReview, ReturnPolicy, Review, WaitForPerson, decide_return
from kalathi.merchant.stock import CsvStock, WarehouseStock
from tests.market import Market, Shop, open_market
from tests.virtual.returning import HOOK, delivered, operate, request_return, review, show
from tests.virtual.warehousing import receive, stocked

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
APPROVE = [ReviewOption(option="approve"), ReviewOption(option="out_of_policy_withdrawal", comment_required=False)]


def _returned(*reasons: str, state: str = "pending_merchant_review", options: bool = True) -> Return:
    lines = [
        ReturnLineItem(id="l", product_name="Βιβλίο", returning_quantity=1, return_reason=reason or UNSET)
        for reason in reasons
    ]
    return Return(
        return_code="R-1",
        state=state,
        order_code="o1",
        return_line_items=lines,
        review_options=APPROVE if options else UNSET,
    )


@pytest.mark.parametrize("reason", ["faulty", "withdrawal", "other", "missing_part", "a_reason_of_tomorrow", ""])
def test_by_default_every_review_is_left_to_a_person(reason: str) -> None:
    decision = decide_return(_returned(reason), ReturnPolicy())
    assert isinstance(decision, WaitForPerson)
    assert "Βιβλίο" in decision.reason
    assert "approve, out_of_policy_withdrawal" in decision.reason


@pytest.mark.parametrize(
    ("returned", "decision"),
    [
        (_returned("faulty"), Review("approve")),
        (_returned("faulty", "wrong_product"), Review("approve")),
        (_returned("faulty", "other"), None),
        (_returned("faulty", ""), None),
        (_returned("faulty", options=False), None),
        (_returned(), None),
        (_returned("withdrawal"), None),
        (_returned("faulty", state="returning"), NothingToReview()),
        (_returned("faulty", state="a_state_of_tomorrow"), None),
    ],
)
def test_a_policy_approves_its_reasons_and_leaves_others_to_a_person(
    returned: Return, decision: Review | NothingToReview | None
) -> None:
    decided = decide_return(returned, ReturnPolicy(frozenset({"faulty", "wrong_product"})))
    assert decided == decision if decision is not None else isinstance(decided, WaitForPerson)


def test_late_withdrawals_are_rejected_only_if_the_policy_allows_it() -> None:
    policy = ReturnPolicy(rejects_late_withdrawals=True)
    assert decide_return(_returned("withdrawal"), policy) == Review("out_of_policy_withdrawal")
    assert isinstance(decide_return(_returned("withdrawal", "faulty"), policy), WaitForPerson)
    within = replace(_returned("withdrawal"), review_options=APPROVE[:1])
    assert isinstance(decide_return(within, policy), WaitForPerson)


def test_the_recorded_returns_are_decided_without_review_options_too() -> None:
    recorded = decode((EXAMPLES / "api" / "returns" / "show.json").read_bytes(), ReturnBody).returned
    assert decide_return(recorded, ReturnPolicy(frozenset({"damaged_product"}))) == NothingToReview()


class MarketTransport:
    """The client's network is the marketplace of the test."""

    def __init__(self, market: Market) -> None:
        self._market = market

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        answer = await self._market.call(method, path, body, headers)
        return HttpAnswer(answer.status, answer.body)

    async def close(self) -> None:
        pass


class Merchant:
    """A connector in front of a real marketplace; what the marketplace has sent is put into its inbox."""

    def __init__(
        self,
        folder: Path,
        market: Market,
        shop: Shop,
        policy: ReturnPolicy,
        *,
        transport: MarketTransport | None = None,
        from_warehouse: bool = False,
    ) -> None:
        self.inbox = Inbox(folder / "inbox.db")
        self.told: list[str] = []
        self.seconds = 0.0
        network = transport or MarketTransport(market)
        self.client = AsyncClient("http://market", shop.token, transport=network, retries=Retries(attempts=1))
        (folder / "stock.csv").write_text("shop_uid,quantity\nA,100\nB,100\n", "utf-8")
        shelf = CsvStock(folder / "stock.csv")
        stock = WarehouseStock(self.client, clock=lambda: 0.0) if from_warehouse else shelf
        printer = FolderPrinter(folder / "out")
        self._market, self._seen = market, 0
        self._connector = Connector(
            self.client,
            self.inbox,
            stock,
            printer,
            self.told.append,
            policy=Policy(returns=policy),
            clock=lambda: self.seconds,
        )

    async def work(self) -> None:
        await self._market.settle()
        # One receiver gets both webhooks and distinguishes them by event type.
        for body in self._market.network.bodies[self._seen :]:
            self.inbox.events.put(body)
        self._seen = len(self._market.network.bodies)
        await self._connector.work()


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    async with open_market(tmp_path / "market") as opened:
        yield opened


@pytest.fixture
async def shop(market: Market) -> Shop:
    return await market.shop(returns_webhook_url=HOOK, returns_webhook_enabled=True)


async def test_the_connector_approves_its_policys_reasons_and_reports_others(
    tmp_path: Path, market: Market, shop: Shop
) -> None:
    merchant = Merchant(tmp_path, market, shop, ReturnPolicy(frozenset({"faulty"})))
    code = await delivered(shop)
    line = (await shop.show(code))["line_items"][0]["id"]
    first = (await request_return(market, code))["return_code"]
    other = {"id": line, "quantity": 1, "reason": "other", "comment": "Δεν μου αρέσει."}
    second = (await request_return(market, code, other))["return_code"]
    await merchant.work()
    assert (await show(shop, first))["state"] == "returning"
    assert (await show(shop, second))["state"] == "pending_merchant_review"
    assert f"reviewed {first}: approve" in merchant.told
    [(_, note)] = merchant.inbox.aside()
    assert note.startswith(f'Return {second}: of order {code}: 1 of Προϊόν A (other, "Δεν μου αρέσει.")')
    # The person decides, and then the notice is settled.
    await review(shop, second, option="approve")
    await merchant.work()
    assert merchant.inbox.aside() == []
    await operate(market, first, "take_back")
    await merchant.work()
    assert merchant.inbox.next_at() is None
    merchant.inbox.close()


async def test_a_review_that_was_given_elsewhere_is_no_error(tmp_path: Path, market: Market, shop: Shop) -> None:
    merchant = Merchant(tmp_path, market, shop, ReturnPolicy(frozenset({"faulty"})))
    returned = (await request_return(market, await delivered(shop)))["return_code"]
    await asyncio.gather(merchant.work(), review(shop, returned, option="approve"))
    await merchant.work()
    assert (await show(shop, returned))["state"] == "returning"
    assert merchant.inbox.aside() == []
    merchant.inbox.close()


async def test_the_client_makes_every_call_of_returns_and_of_the_warehouse(
    market: Market, shop: Shop, tmp_path: Path
) -> None:
    async with AsyncClient("http://market", shop.token, transport=MarketTransport(market)) as client:
        returned = (await request_return(market, await delivered(shop)))["return_code"]
        assert (await client.return_request(returned)).return_code == returned
        assert (await client.return_request("DEMO-RETURN")).courier == "ACS"
        listed = await client.return_requests(state="pending_merchant_review")
        assert [entry.return_code for entry in listed.returns] == [returned]
        with pytest.raises(MarketplaceError, match=r"Comment is required\.") as refused:
            await client.review(returned, "not_faulty")
        assert refused.value.has_code("comment")
        await client.review(returned, "not_faulty", "It works.")
        await client.create_supplier(SupplierRequest(code="s1", name="Προμηθευτής"))
        [supplier] = [entry async for entry in client.all_suppliers()]
        await client.change_supplier(supplier.id, SupplierRequest(city="Αθήνα", tax_number=None))
        assert (await client.suppliers()).suppliers[0].city == "Αθήνα"
        lines = [PurchaseOrderLineRequest(product_uid="A", expected_quantity=3)]
        request = PurchaseOrderRequest(expected_date="2026-11-30", supplier_id=supplier.id, line_items=lines)
        code = await client.create_purchase_order(request)
        await receive(market, code)
        assert (await client.purchase_orders()).purchase_orders[0].received_at is not None
        [line] = (await client.purchase_order_lines(code)).purchase_order_line_items
        assert (line.shop_uid, line.actual_quantity) == ("A", 3)
        assert {entry.shop_uid: entry.quantity async for entry in client.all_warehouse_products()} == {"A": 3, "B": 0}
    other = await market.shop("Other", url=None)
    async with AsyncClient("http://market", other.token, transport=MarketTransport(market)) as client:
        with pytest.raises(MarketplaceError, match="Invalid purchase order") as foreign:
            await client.purchase_order_lines(code)
        assert foreign.value.status == 401


async def test_warehouse_stock_is_cached_for_five_seconds(market: Market, shop: Shop) -> None:
    await stocked(shop, A=5)
    seconds = [0.0]
    async with AsyncClient("http://market", shop.token, transport=MarketTransport(market)) as client:
        stock = WarehouseStock(client, clock=lambda: seconds[0])
        assert (await stock.read()).pieces == {"A": 5, "B": 0}
        await stocked(shop, A=1)
        assert (await stock.read()).pieces == {"A": 5, "B": 0}
        seconds[0] = 5.0
        assert (await stock.read()).pieces == {"A": 6, "B": 0}


async def test_a_shop_with_only_warehouse_stock_rejects_missing_lines(tmp_path: Path, market: Market) -> None:
    shop = await market.shop(quantity=10)
    await stocked(shop, A=2)
    merchant = Merchant(tmp_path, market, shop, ReturnPolicy(), from_warehouse=True)
    code = await shop.cart(A=2, B=1)
    pickup = await shop.place({"A": 1}, store_pickup=True)
    await merchant.work()
    await merchant.work()
    assert (await shop.show(code))["state"] == "rejected"
    [listed] = (await shop.call("GET", "/orders?state=accepted")).json["orders"]
    assert (listed["fulfilled_by_skroutz"], listed["line_items"][0]["quantity"]) == (True, 2)
    assert (await shop.show(pickup))["state"] in {"open", "rejected"}, "nothing is accepted that the shop cannot send"
    assert (await shop.show(await shop.cart(A=2)))["fulfilled_by_skroutz"] is False, "no piece is sold twice"
    merchant.inbox.close()


class FutureReturns(MarketTransport):
    """A marketplace of tomorrow, whose returns have another shape."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        if "/returns/" in url:
            return HttpAnswer(200, b'{"return": {"return_code": 7, "state": []}}')
        return await super().send(method, url, headers, body)


async def test_an_unreadable_return_is_reported_and_not_fetched_for_ever(
    tmp_path: Path, market: Market, shop: Shop
) -> None:
    merchant = Merchant(tmp_path, market, shop, ReturnPolicy(), transport=FutureReturns(market))
    returned = (await request_return(market, await delivered(shop)))["return_code"]
    for seconds in (0, 10, 100, 1000):
        merchant.seconds = seconds
        await merchant.work()
    [(_, note)] = merchant.inbox.aside()
    assert note.startswith(f"Return {returned}: the answer is not what the contract says")
    merchant.inbox.close()


def test_a_purchase_order_is_sent_with_all_documented_fields() -> None:
    line = PurchaseOrderLineRequest(product_uid="52781", expected_quantity=8)
    request = PurchaseOrderRequest(expected_date="2022-09-22", supplier_id="z", line_items=[line])
    recorded = msgspec.json.decode((EXAMPLES / "requests" / "fbs-purchase-order.json").read_bytes())
    sent = msgspec.json.decode(encode(request))
    assert sent.keys() == recorded.keys()
    assert sent["line_items"][0].keys() == recorded["line_items"][0].keys()


def test_a_purchase_order_is_read_from_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text(
        "\ufeffproduct_uid,expected_quantity,keep_serial_numbers,storage_conditions\nA,8,yes,2\nB, 1 ,,\n", "utf-8"
    )
    assert read_goods(path) == [
        PurchaseOrderLineRequest(product_uid="A", expected_quantity=8, keep_serial_numbers=True, storage_conditions=2),
        PurchaseOrderLineRequest(product_uid="B", expected_quantity=1),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the first line must name"),
        ("product_uid\nA\n", "the first line must name"),
        ("product_uid,expected_quantity\n", "no goods"),
        ("product_uid,expected_quantity\n,1\n", "line 2: product_uid is missing"),
        ("product_uid,expected_quantity\nA,1\nB,0\n", "line 3: '0' is not a quantity"),
        ("product_uid,expected_quantity\nA\n", "line 2: '' is not a quantity"),
        (f"product_uid,expected_quantity\nA,{'9' * 5000}\n", "line 2: '999"),
        ("product_uid,expected_quantity,storage_conditions\nA,1,9\n", "storage_conditions is 0, 1, 2 or 3"),
        ("product_uid,expected_quantity,has_expiration_date\nA,1,maybe\n", "has_expiration_date is yes or no"),
    ],
)
def test_a_faulty_csv_is_refused_with_line_and_reason(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "goods.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(PurchaseFileError, match=told):
        read_goods(path)
    with pytest.raises(PurchaseFileError, match="No such file"):
        read_goods(tmp_path / "missing.csv")
    path.write_bytes("product_uid,expected_quantity\nΑ,1\n".encode("cp1253"))
    with pytest.raises(PurchaseFileError, match="UTF-8"):
        read_goods(path)
