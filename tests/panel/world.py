"""A shop with at least one object of every kind, so that every page and form can be tested."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kalathi.marketplace.panel.page_table import PAGES
from kalathi.marketplace.panel.pages import Page, Who
from tests.market import Market, Shop

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>"


class World(NamedTuple):
    """The objects of a shop, by the names that a path may use."""

    shop: Shop
    open_code: str
    accepted_code: str
    delivered_code: str
    return_code: str
    purchase_order_code: str
    supplier_id: str
    request_id: str

    def paths(self, page: Page) -> list[str]:
        """The page's path for the shop's own objects."""
        names = {
            "shop_id": self.shop.id,
            "location_id": self.shop.location_id,
            "id": self.supplier_id if page.who is Who.SHOP else f"{self.shop.id}.{self.open_code}.1",
            "request_id": self.request_id,
            "place": "orders",
            "link": "none",
            "action": "accept",
            "operation": "cancel",
            "token": "none",
            "session": "00",
            "invitation": "00",
            "person_id": "none",
        }
        codes = {"orders": (self.open_code, self.accepted_code), "returns": (self.return_code,)}
        codes["purchase-orders"] = (self.purchase_order_code,)
        room = next((room for room in codes if f"/{room}/" in page.path), "")
        # The uid of a listing may have any characters, so it is in the query.
        queries = {"/shop/listing": "?uid=A", "/operator/customers.json": "?q=x"}
        query = queries.get(page.path, "") if page.method == "GET" else ""
        return [page.path.format(code=code, **names) + query for code in codes.get(room, ("",))]

    def secrets(self) -> tuple[str, ...]:
        """Values that no other shop's page may show."""
        return (
            *(self.open_code, self.accepted_code, self.delivered_code, self.return_code, self.purchase_order_code),
            *(self.supplier_id, self.shop.id, self.shop.location_id),
        )


async def fill_shop(market: Market, name: str, text: str = "Κείμενο") -> World:
    """A shop whose texts are all `text`."""
    location = {"street_name": text, "street_number": text, "zip": text, "city": text, "region": text}
    shop = await market.shop(
        name=text if text == HOSTILE else name,
        locations=[location],
        listing={"product_name": text, "extra_info": text, "ean": text},
        returns_webhook_url="http://shop/returns",
        returns_webhook_enabled=True,
    )
    customer = {"first_name": text, "last_name": text, "address": {**location, "floor": text, "country_code": "GR"}}
    company = {"company": text, "profession": text, "vat_number": text, "doy": text, "address": location}
    facts: dict[str, Any] = {"customer": customer, "comments": text, "invoice_details": company}
    open_code = await shop.place({"A": 2, "B": 1}, **facts)
    accepted_code = await shop.accepted(**facts)
    delivered_code = await shop.accepted(**facts)
    for step in ("hand_over", "deliver"):
        await market.operate("POST", f"/marketplace/orders/{delivered_code}/{step}")
    line = (await shop.show(delivered_code))["line_items"][0]["id"]
    asked = {
        "line_items": [
            {"id": line, "quantity": 1, "reason": "faulty", "comment": text, "photos": ["https://photos.example/1.jpg"]}
        ]
    }
    answer = await market.operate("POST", f"/marketplace/orders/{delivered_code}/returns", asked, status=201)
    supplier = {"id": f"s{shop.id}", "code": text, "name": text, "city": text, "phone": text}
    assert (await shop.call("POST", "/fbs/suppliers", supplier)).status == 200
    goods = {
        "supplier_id": f"s{shop.id}",
        "expected_date": "2026-12-24",
        "line_items": [{"product_uid": "A", "expected_quantity": 5}],
    }
    announced = await shop.call("POST", "/fbs/purchase_orders", goods)
    await market.settle()
    return World(
        shop,
        open_code,
        accepted_code,
        delivered_code,
        answer["return"]["return_code"],
        announced.json["code"],
        f"s{shop.id}",
        announced.headers["request-id"],
    )


def pages_of(*who: Who, method: str = "GET", live: bool = False) -> Iterator[Page]:
    """The rows of the page table, without those that never end."""
    for page in PAGES:
        if page.who in who and page.method == method and ("/live" in page.path) is live:
            yield page


async def facts_of(market: Market, world: World) -> object:
    """Everything that a form could have changed."""
    shop = await market.operate("GET", f"/marketplace/shops/{world.shop.id}")
    orders = [await market.order(code) for code in (world.open_code, world.accepted_code, world.delivered_code)]
    returned = await market.operate("GET", f"/marketplace/returns/{world.return_code}")
    goods = await world.shop.call("GET", f"/fbs/purchase_orders/{world.purchase_order_code}/line_items")
    suppliers = await world.shop.call("GET", "/fbs/suppliers")
    every = await market.operate("GET", "/marketplace/orders")
    return shop, orders, returned, goods.json, suppliers.json, every
