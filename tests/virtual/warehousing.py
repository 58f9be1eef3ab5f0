"""Steps of warehouse tests: submit, receive and count goods."""

from typing import Any

from tests.market import HttpAnswer, Market, Shop

SUPPLIER = {"code": "s1", "name": "Προμηθευτής"}


async def supplier(shop: Shop, **different: object) -> str:
    """A supplier of the shop; gives its id."""
    answer = await shop.call("POST", "/fbs/suppliers", SUPPLIER | different)
    assert answer.json == {"success": True}, answer
    found = (await shop.call("GET", "/fbs/suppliers")).json["suppliers"]
    supplier_id: str = next(entry["id"] for entry in found if entry["code"] == different.get("code", "s1"))
    return supplier_id


async def announce(shop: Shop, supplier_id: str, **pieces: int) -> HttpAnswer:
    """A purchase order of these pieces by product."""
    lines = [{"product_uid": uid, "expected_quantity": quantity} for uid, quantity in pieces.items()]
    body = {"expected_date": "2026-11-30", "supplier_id": supplier_id, "line_items": lines}
    return await shop.call("POST", "/fbs/purchase_orders", body)


async def receive(market: Market, code: str, status: int = 200, **pieces: int) -> Any:
    """The goods have come, in these quantities where they differ."""
    lines = [{"product_uid": uid, "actual_quantity": quantity} for uid, quantity in pieces.items()]
    path = f"/marketplace/warehouse/purchase_orders/{code}/receive"
    return await market.operate("POST", path, {"line_items": lines} if lines else None, status=status)


async def stocked(shop: Shop, **pieces: int) -> None:
    """So many pieces lie in the warehouse."""
    number = (await shop.call("GET", "/fbs/suppliers")).json["meta"]["pagination"]["total_results"]
    code = (await announce(shop, await supplier(shop, code=f"s{number + 1}"), **pieces)).json["code"]
    await receive(shop.market, code)


async def in_warehouse(shop: Shop) -> dict[str, int]:
    """The pieces of each product in the warehouse."""
    answer = await shop.call("GET", "/fbs/products")
    assert all(entry["active"] is (entry["quantity"] > 0) for entry in answer.json["products"])
    return {entry["shop_uid"]: entry["quantity"] for entry in answer.json["products"]}
