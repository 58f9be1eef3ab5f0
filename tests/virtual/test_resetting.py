"""Reset of one shop: everything that happened to it is gone, other shops keep theirs, and jobs in flight do no harm."""

import asyncio

import pytest
from structlog.testing import capture_logs

from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.sandbox.resetting import RESET_TABLES
from tests.market import Market, Shop, until

pytestmark = pytest.mark.anyio


async def count_rows(market: Market, shop_id: str) -> dict[str, int]:
    """Return the number of the shop's rows by table."""

    def read(view: View) -> dict[str, int]:
        sql = "SELECT count(*) FROM {} WHERE shop_id = :shop_id"
        return {name: view.all(sql.format(name), {"shop_id": shop_id})[0][0] for name in RESET_TABLES}

    return await market.marketplace.database.read_list(read)


async def fill(market: Market, shop: Shop) -> str:
    """Give the shop rows in most tables; return the code of an open order."""
    delivered = await shop.accepted()
    for word in ("hand_over", "deliver"):
        await market.operate("POST", f"/marketplace/orders/{delivered}/{word}")
    line = (await shop.show(delivered))["line_items"][0]["id"]
    body = {"line_items": [{"id": line, "quantity": 1, "reason": "faulty"}]}
    await market.operate("POST", f"/marketplace/orders/{delivered}/returns", body, status=201)
    await shop.call("POST", "/fbs/suppliers", {"id": f"s{shop.id}", "code": "1", "name": "Supplier"})
    return await shop.place({"A": 1})


async def test_a_reset_shop_is_empty_and_another_shop_is_as_before(market: Market) -> None:
    shop, other = await market.shop(), await market.shop("Other shop")
    code, kept = await fill(market, shop), await fill(market, other)
    await market.settle()
    before = await count_rows(market, other.id)
    # The answer to this call is kept in memory.
    assert (await shop.call("GET", f"/orders/{code}")).status == 200
    shown = (await market.operate("POST", f"/marketplace/shops/{shop.id}/reset"))["shop"]
    assert (shown["id"], shown["webhook_url"]) == (shop.id, "http://shop/")
    assert sum((await count_rows(market, shop.id)).values()) == 0
    assert await count_rows(market, other.id) == before
    assert (await shop.call("GET", f"/orders/{code}")).status == 404
    assert (await other.call("GET", f"/orders/{kept}")).status == 200
    # The shop goes on with the same token.
    await shop.count({})
    assert (await shop.accept(await shop.place({"A": 1}))).status == 200


async def test_a_shop_can_be_reset_while_its_webhooks_are_in_flight(market: Market) -> None:
    shop = await market.shop()
    gate = market.network.gates["http://shop/"] = asyncio.Event()
    codes = [await shop.place({"A": 1}) for _ in range(3)]
    await until(lambda: market.network.in_flight["http://shop/"] > 0)
    await market.operate("POST", f"/marketplace/shops/{shop.id}/reset")
    with capture_logs() as lines:
        gate.set()
        await until(lambda: any(line["log_level"] == "warning" for line in lines))
    await market.settle()
    warnings = {(line["event"], line["kind"], line["shop_id"]) for line in lines if line["log_level"] == "warning"}
    assert warnings == {("outcome_outdated", "delivery", shop.id)}, "no shop has another owner"
    assert sum((await count_rows(market, shop.id)).values()) == 0
    for code in codes:
        await market.operate("GET", f"/marketplace/orders/{code}", status=404)
    # The worker goes on with the shop's next order.
    await shop.count({})
    new = await shop.place({"A": 1})
    await market.settle()
    assert market.network.posts[-1][1]["order"]["code"] == new


async def test_a_reset_shop_keeps_no_due_job(market: Market) -> None:
    shop = await market.shop()
    code = await shop.place({"A": 1})
    await shop.accept(code)
    await market.operate("POST", f"/marketplace/shops/{shop.id}/reset")
    # The voucher and the deadlines would have been due in this time.
    await market.advance(10 * 86_400)
    assert sum((await count_rows(market, shop.id)).values()) == 0


async def test_an_unknown_shop_cannot_be_reset(market: Market) -> None:
    await market.operate("POST", "/marketplace/shops/nowhere/reset", status=404)


def test_every_table_with_rows_of_shops_is_either_reset_or_a_setting() -> None:
    of_shops = {name for name, table in METADATA.tables.items() if "shop_id" in table.columns}
    tokens = {"api_tokens", "products_tokens", "extra_tokens", "signing_secrets"}
    of_people = {"people", "invitations", "history"}
    assert of_shops - set(RESET_TABLES) == {"shops", "listeners", *tokens, *of_people}
