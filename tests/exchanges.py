"""Run the calls of docs/calls/ against a real marketplace and record requests and answers.

Time stands still and codes come from a counter; what is drawn at random is shown under a name that stays, so that the
pages are the same after each run.
"""

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from tests.market import CUSTOMER, LOCATION, OPERATOR_TOKEN, HttpAnswer, Market, Shop, open_market
from tests.panel.visitor import Visitor
from tests.virtual.returning import delivered, request_return

_WIDEST: Final = 118
_DRAWN: Final = re.compile(r'"(?:id|shop_id|pickup_location|return_uuid)": "([0-9A-Za-z]{10})"')
_LINK: Final = re.compile(r"/(vouchers|uploads)/([0-9A-Za-z]+)/[\w-]{20,}\.")
# A product's number in the warehouse is made of its shop's drawn id.
_PRODUCT: Final = re.compile(r"\b[1-9][0-9]{11}\b")
_OF_SHOP: Final = re.compile(r"/marketplace/shops/([0-9A-Za-z]{10})\b")
_BATCH: Final = re.compile(r"\b(?!0{24})[0-9a-f]{24}\b")
_INVITATION: Final = re.compile(r"/invitation/[\w-]{80,}")
_SECRET: Final = re.compile(r'"whsec_[^"]+"')
_TOKEN: Final = re.compile(r'"[\w-]{80,}"')
OTHER_PLACE: Final = {**LOCATION, "street_name": "Ερμού", "street_number": "10"}


class Notebook:
    """Requests and answers, by the name of their part of a page."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.parts: dict[str, str] = {}

    async def merchant(
        self, part: str, shop: Shop, method: str, path: str, body: object = None, **headers: str
    ) -> HttpAnswer:
        """A call of a shop, with its token and the Accept header, which the pages leave out."""
        answer = await shop.call(method, path, body, **headers)
        self.write(part, method, f"/merchants/ecommerce{path}", body, headers, answer)
        return answer

    async def operator(self, part: str, method: str, path: str, body: object = None, *, whole: bool = False) -> Any:
        """A call of the operator, with the token that the pages leave out; of orders only code and state are shown."""
        answer = await self.market.call(method, path, body, {"Authorization": f"Bearer {OPERATOR_TOKEN}"})
        shown = answer if whole else answer._replace(json=_shortened(answer.json))
        self.write(part, method, path, body, {}, shown)
        return answer.json

    async def order(self, part: str, code: str, word: str, body: object = None) -> None:
        """Act as customer, support or courier to an order."""
        await self.operator(part, "POST", f"/marketplace/orders/{code}/{word}", body)

    async def webhook(self, part: str) -> None:
        """The last webhook that was sent. `order` is shown in full for the first only."""
        await self.market.settle()
        _, event = self.market.network.posts[-1]
        where = "return webhook" if "return" in event else "webhook"
        shown = event | {"order": _Shortened(event["order"])} if event["event_type"] == "order_updated" else event
        self.parts[part] = f"```\nPOST <the shop's {where} URL>\n\n{_pretty(shown)}\n```\n"

    def write(
        self, part: str, method: str, path: str, body: object, headers: dict[str, str], answer: HttpAnswer
    ) -> None:
        """One exchange, as its part of a page."""
        asked = [f"{method} {path}", *(f"{name}: {value}" for name, value in headers.items())]
        if isinstance(body, bytes):
            asked += ["", body.decode("utf-8", "replace").replace("\r\n", "\n").rstrip()]
        elif body is not None:
            asked += ["", _pretty(body)]
        told = [f"{answer.status}"]
        told += [f"{name}: {answer.headers[name]}" for name in ("location", "retry-after") if name in answer.headers]
        shown = _pretty(answer.json) if answer.json is not None else f"({answer.headers['content-type']})"
        self.parts[part] = "\n".join(["```", *asked, "```", "", "```", *told, "", shown, "```", ""])


class _Shortened(dict[str, Any]):
    """An object of which the page shows only that it is there."""


def _shortened(answer: Any) -> Any:
    shown = dict(answer)
    if "order" in shown:
        shown["order"] = _Shortened(shown["order"])
    if "orders" in shown:
        shown["orders"] = [_Shortened(order) for order in shown["orders"]]
    return shown


def _pretty(value: Any, indent: int = 0) -> str:
    """JSON for people: what fits into a line stands in one."""
    if isinstance(value, _Shortened):
        return f'{{"code": "{value["code"]}", "state": "{value["state"]}", ...}}'
    flat = _flat(value)
    if len(flat) + indent <= _WIDEST or not isinstance(value, dict | list):
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        entries = [f'"{name}": {_pretty(entry, indent + 2)}' for name, entry in value.items()]
        return "{\n" + ",\n".join(inner + entry for entry in entries) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(inner + _pretty(entry, indent + 2) for entry in value) + "\n" + " " * indent + "]"


def _flat(value: Any) -> str:
    if isinstance(value, _Shortened):
        return _pretty(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{name}": {_flat(entry)}' for name, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flat(entry) for entry in value) + "]"
    return msgspec.json.encode(value).decode()


def parts() -> dict[str, str]:
    """Every part of the pages, by its name."""
    drawn: dict[str, str] = {}
    for story in STORIES:
        drawn |= asyncio.run(_played(story))
    return drawn


async def _played(story: Callable[[Notebook], Awaitable[None]]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_market(Path(folder)) as market:
            await market.fix_codes()
            notebook = Notebook(market)
            await story(notebook)
    text = "".join(notebook.parts.values())
    names: dict[str, str] = {}
    of_links = [shop_id for _, shop_id in _LINK.findall(text)]
    for found in dict.fromkeys([*_DRAWN.findall(text), *of_links, *_OF_SHOP.findall(text)]):
        names[found] = _name(len(names))
    return {part: _without_the_drawn(content, names) for part, content in notebook.parts.items()}


def _without_the_drawn(content: str, names: dict[str, str]) -> str:
    content = _LINK.sub(r"/\1/\2/R8Xn...4aQw.", _TOKEN.sub('"h3Tf...9kLs"', content))
    content = _INVITATION.sub("/invitation/h3Tf...9kLs", content)
    content = _PRODUCT.sub("12345678", content)
    content = _BATCH.sub("6a1b3c5d7e9f0a2b4c6d8e0f", content)
    content = _SECRET.sub('"whsec_9kLs...Tf4="', content)
    for found, name in names.items():
        content = content.replace(found, name)
    return content


def _name(number: int) -> str:
    """Ten letters and digits that look like an id."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(alphabet[byte % 62] for byte in sha256(str(number).encode()).digest()[:10])


async def _reading(notes: Notebook) -> None:
    shop = await notes.market.shop(locations=[LOCATION, OTHER_PLACE], url=None)
    code = await shop.cart(A=2, B=1)
    await notes.merchant("show", shop, "GET", f"/orders/{code}")
    await notes.merchant("show unknown", shop, "GET", "/orders/261124-0000000")
    await shop.accept(code)
    answer = await shop.call("GET", f"/orders/{code}?action_options=1")
    options = {name: answer.json["order"][name] for name in ("reschedule_options", "relocate_options")}
    path = f"/merchants/ecommerce/orders/{code}?action_options=1"
    notes.parts["show actions"] = (
        f"```\nGET {path}\n```\n\n```\n200\n\n"
        + _pretty({"order": {"code": code, "state": "accepted", **options}}).replace('"accepted",', '"accepted", ...,')
        + "\n```\n"
    )
    await shop.cart(A=1)
    answer = await shop.call("GET", "/orders?state=accepted&per=1")
    path = "/merchants/ecommerce/orders?state=accepted&per=1"
    notes.write("list", "GET", path, None, {}, answer._replace(json=_shortened(answer.json)))
    await notes.merchant("list bad", shop, "GET", "/orders?state=lost")


async def _answering(notes: Notebook) -> None:
    shop = await notes.market.shop(url=None)
    code = await shop.cart(A=2)
    options = (await shop.show(code))["accept_options"]
    body = {
        "pickup_location": options["pickup_location"][0]["id"],
        "pickup_window": options["pickup_window"][0]["id"],
        "number_of_parcels": 1,
    }
    await notes.merchant("accept bad", shop, "POST", f"/orders/{code}/accept", body | {"pickup_window": 7})
    await notes.merchant("accept", shop, "POST", f"/orders/{code}/accept", body)
    await notes.merchant("accept again", shop, "POST", f"/orders/{code}/accept", body)
    code = await shop.cart(A=3, B=1)
    line = (await shop.show(code))["line_items"][0]["id"]
    body = {"line_items": [{"id": line, "reason_id": 4, "available_quantity": 1}]}
    await notes.merchant("reject", shop, "POST", f"/orders/{code}/reject", body)
    code = await shop.cart(B=1)
    body = {"rejection_reason_other": "Το κατάστημα είναι κλειστό"}
    await notes.merchant("reject other", shop, "POST", f"/orders/{code}/reject", body)
    body = {"pickup_location": shop.location_id, "pickup_window": options["pickup_window"][0]["id"]}
    key = {"Idempotency-Key": "order-4711-accept"}
    code = await shop.cart(B=1)
    await notes.merchant("idempotent", shop, "POST", f"/orders/{code}/accept", body, **key)


async def _pickup(notes: Notebook) -> None:
    shop = await notes.market.shop(locations=[LOCATION, OTHER_PLACE], url=None)
    code = await shop.accepted()
    options = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]
    body = {"reschedule_date": options["reschedule_options"][0]["date"]}
    await notes.merchant("reschedule", shop, "POST", f"/orders/{code}/reschedule_pickup", body)
    await notes.merchant("reschedule bad", shop, "POST", f"/orders/{code}/reschedule_pickup", body)
    body = {"pickup_location": options["relocate_options"][0]["id"]}
    await notes.merchant("relocate", shop, "POST", f"/orders/{code}/relocate_pickup", body)
    await notes.merchant("ready", shop, "POST", f"/orders/{code}/set_as_ready")
    await notes.merchant("ready again", shop, "POST", f"/orders/{code}/set_as_ready")
    await notes.merchant("not ready", shop, "POST", f"/orders/{code}/set_as_not_ready")
    await notes.merchant("request voucher bad", shop, "POST", f"/orders/{code}/request_voucher")
    preorders = await notes.market.shop("Preorders", listing={"preorder_ships_on": "2026-12-10"}, url=None)
    code = await preorders.accepted()
    await notes.merchant("request voucher", preorders, "POST", f"/orders/{code}/request_voucher")
    merchant = await notes.market.shop("Merchant", fulfillment_mode="fbm", url=None)
    code = await merchant.accepted()
    details = {"tracking_details": [{"courier": "acs", "tracking_code": "224085551"}]}
    await notes.merchant("track", merchant, "POST", f"/orders/{code}/tracking_details", details)
    details["tracking_details"][0]["courier"] = "pigeon"
    await notes.merchant("track bad", merchant, "POST", f"/orders/{code}/tracking_details", details)


async def _documents(notes: Notebook) -> None:
    shop = await notes.market.shop(url=None)
    code = await shop.accepted()
    for part, action, field, content in (
        ("invoice", "invoices", "invoice_file", b"%PDF-1.7 ..."),
        ("credit invoice", "credit_invoices", "credit_invoice_file", b"%PDF-1.7 ..."),
        ("credit invoice zip", "credit_invoices", "credit_invoice_file", b"PK\x03\x04..."),
        ("invoice missing", "invoices", "file", b"%PDF-1.7 ..."),
    ):
        answer = await shop.upload(code, action, field, content, "document.pdf")
        body = (
            "--limit\nContent-Disposition: form-data; "
            f'name="{field}"; filename="document.pdf"\n\n{content.decode("latin-1")}\n--limit--'
        )
        printable = body.encode("ascii", "ignore").decode().replace("\x03\x04", "")
        headers = {"Content-Type": "multipart/form-data; boundary=limit"}
        path = f"/merchants/ecommerce/orders/{code}/{action}"
        notes.write(part, "POST", path, printable.encode(), headers, answer)


async def _webhooks(notes: Notebook) -> None:
    shop = await notes.market.shop(locations=[LOCATION, OTHER_PLACE])
    code = await shop.cart(A=1)
    await notes.webhook("new order")
    await notes.market.operate("POST", f"/marketplace/orders/{code}/extend")
    await notes.webhook("extension")
    await shop.accept(code)
    await notes.webhook("accepted")
    await notes.market.advance(2)
    await notes.webhook("voucher")
    options = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]
    body: dict[str, object] = {"reschedule_date": options["reschedule_options"][-1]["date"]}
    await shop.call("POST", f"/orders/{code}/reschedule_pickup", body)
    await notes.webhook("rescheduled")
    body = {"pickup_location": options["relocate_options"][0]["id"]}
    await shop.call("POST", f"/orders/{code}/relocate_pickup", body)
    await notes.webhook("relocated")
    await shop.call("POST", f"/orders/{code}/set_as_ready")
    await notes.webhook("marked ready")
    await notes.market.operate("POST", f"/marketplace/orders/{code}/cancel")
    await notes.webhook("cancelled")


async def _shops(notes: Notebook) -> None:
    new = {"name": "Βιβλία Αθηνά", "domain": "shop.example", "locations": [LOCATION]}
    shop = (await notes.operator("new shop", "POST", "/marketplace/shops", new))["shop"]
    path = f"/marketplace/shops/{shop['id']}"
    await notes.operator("new shop bad", "POST", "/marketplace/shops", {"name": "Βιβλία Αθηνά", "domain": "x"})
    change = {"webhook_url": "https://shop.example/orders?secret=1", "set_as_ready_required": True}
    await notes.operator("change shop", "PATCH", path, change)
    await notes.operator("shop", "GET", path)
    await notes.operator("shops", "GET", "/marketplace/shops")
    await notes.operator("new location", "POST", f"{path}/locations", OTHER_PLACE)
    await notes.operator("new token", "POST", f"{path}/api_token")
    await notes.operator("signing", "POST", f"{path}/signing_secret")
    await notes.operator("signing over", "DELETE", f"{path}/signing_secret")
    await notes.operator("listings", "PUT", f"{path}/listings", LISTINGS)
    await notes.operator("show listings", "GET", f"{path}/listings")


LISTINGS: Final = [
    {"shop_uid": "A", "product_name": "Ατμοσίδερο", "unit_price": 10.40, "commission_rate": 8.34, "quantity": 10}
]


async def _people(notes: Notebook) -> None:
    shop = await notes.market.shop(url=None)
    new = {"shop_id": shop.id, "role": "owner"}
    link = (await notes.operator("invitation", "POST", "/marketplace/invitations", new))["link"]
    visitor = Visitor(notes.market)
    page = await visitor.get(urlsplit(link).path)
    await visitor.submit(page, urlsplit(link).path, {"name": "Μαρία", "password": "correct horse"})
    again = {"shop_id": shop.id, "name": "Μαρία"}
    await notes.operator("new password", "POST", "/marketplace/invitations", again)
    await notes.operator("new password bad", "POST", "/marketplace/invitations", {**again, "name": "Νίκος"})
    await notes.operator("people", "GET", f"/marketplace/people?shop_id={shop.id}")
    await notes.operator("history", "GET", f"/marketplace/history?shop_id={shop.id}&per=2")


async def _privacy(notes: Notebook) -> None:
    shop = await notes.market.shop(url=None)
    code = await delivered(shop, A=1)
    await notes.operator("customers", "GET", f"/marketplace/customers?q={code}", whole=True)
    open_code = await shop.cart(A=1)
    await notes.operator("anonymise", "POST", "/marketplace/customers/anonymise", {"codes": [code, open_code]})
    path = f"/marketplace/shops/{shop.id}"
    await notes.operator("erase bad", "DELETE", path)
    await notes.market.operate("PATCH", path, {"status": "closed"})
    await notes.operator("erase", "DELETE", path)


async def _products(notes: Notebook) -> None:
    shop = await notes.market.shop(url=None)
    answer = await notes.operator("new products token", "POST", f"/marketplace/shops/{shop.id}/products_token")
    shop.products_token = answer["products_token"]
    path = f"/marketplace/shops/{shop.id}"

    async def call(part: str, method: str, action: str, body: object = None) -> HttpAnswer:
        sent = await shop.products(method, action, body)
        notes.write(part, method, f"/merchants/products{action}", body, {}, sent)
        return sent

    product = {"product_id": "A", "quantity": 7, "enabled": True, "price": 1040}
    unknown = {"product_id": "X-1", "quantity": 1, "enabled": True, "price": 500}
    batch_id = (await call("batch", "POST", "/batch", {"data": [product, unknown]})).json["id"]
    await call("batch in progress", "GET", f"/batch/{batch_id}/status")
    await notes.market.advance(1)
    await call("batch completed", "GET", f"/batch/{batch_id}/status")
    await call("batch valid", "POST", "/batch/validations", {"data": [product]})
    wrong = [product | {"price": 10.40}, {name: product[name] for name in ("product_id", "quantity", "price")}]
    await call("batch bad", "POST", "/batch", {"data": wrong})
    await call("batch unknown", "GET", "/batch/000000000000000000000000/status")
    await notes.market.operate("PATCH", path, {"feed_scan_until": "2026-11-24T10:30:00+02:00"})
    await call("batch scanning", "POST", "/batch", {"data": [product]})


async def _operating(notes: Notebook) -> None:
    shop = await notes.market.shop(quantity=10)
    cart: dict[str, Any] = {
        "customer": CUSTOMER,
        "items": [{"shop_id": shop.id, "shop_uid": "A", "quantity": 2}],
        "payment_method": "card",
    }
    code = (await notes.operator("cart", "POST", "/marketplace/carts", cart))["orders"][0]["code"]
    cart["items"] = [{"shop_id": shop.id, "shop_uid": "A", "quantity": 99}]
    await notes.operator("cart bad", "POST", "/marketplace/carts", cart)
    await notes.order("extend", code, "extend", {"hours": 12})
    await notes.order("hand over early", code, "hand_over")
    await notes.order("cancel", code, "cancel")
    await notes.market.settle()
    await notes.order("resend", code, "webhook")
    await notes.market.settle()
    await notes.operator("orders", "GET", "/marketplace/orders?state=cancelled")
    await notes.operator("order", "GET", f"/marketplace/orders/{code}", whole=True)
    await notes.order("support rejects", await shop.cart(A=1), "reject", {"reason": "Ύποπτη παραγγελία"})
    code = await shop.accepted({"A": 2})
    window = int((await shop.show(code))["pickup_window"]["from"][2:10].replace("-", "")) * 10 + 3
    await notes.order("support moves", code, "reschedule", {"pickup_window": window})
    await notes.order("change parcels", code, "change_parcels", {"number_of_parcels": 2})
    await notes.order("change courier", code, "change_courier", {"courier": "ACS"})
    await notes.order("miss pickup", code, "miss_pickup")
    # Voucher created again, and the courier takes no parcel without it.
    await notes.market.advance(5)
    await notes.order("hand over", code, "hand_over")
    line = (await shop.show(code))["line_items"][0]["id"]
    await notes.order("deliver partly", code, "deliver", {"line_items": [{"id": line, "quantity": 1}]})
    await notes.order("replace", code, "replace", {"type": "from_service"})
    code = await shop.accepted()
    await notes.market.operate("POST", f"/marketplace/orders/{code}/hand_over")
    await notes.order("fail", code, "fail_delivery")
    await notes.order("bring back", code, "bring_back")
    await notes.order("collect", await shop.accepted(store_pickup=True), "collect")


async def _as_shop(notes: Notebook) -> None:
    shop = await notes.market.shop(locations=[LOCATION, OTHER_PLACE], url=None)
    code = await shop.cart(A=2)
    options = (await shop.show(code))["accept_options"]
    first = {name: options[name][0]["id"] for name in ("pickup_location", "pickup_window")}
    await notes.order("as shop accept", code, "as_shop/accept", first | {"number_of_parcels": 1})
    moves = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]
    date = {"reschedule_date": moves["reschedule_options"][0]["date"]}
    await notes.order("as shop reschedule", code, "as_shop/reschedule_pickup", date)
    place = {"pickup_location": moves["relocate_options"][0]["id"]}
    await notes.order("as shop relocate", code, "as_shop/relocate_pickup", place)
    await notes.order("as shop ready", code, "as_shop/set_as_ready")
    await notes.order("as shop not ready", code, "as_shop/set_as_not_ready")
    code = await shop.cart(A=3)
    line = (await shop.show(code))["line_items"][0]["id"]
    body = {"line_items": [{"id": line, "reason_id": 4, "available_quantity": 1}]}
    await notes.order("as shop reject", code, "as_shop/reject", body)
    preorders = await notes.market.shop("Preorders", listing={"preorder_ships_on": "2026-12-10"}, url=None)
    await notes.order("as shop voucher", await preorders.accepted(), "as_shop/request_voucher")
    merchant = await notes.market.shop("Merchant", fulfillment_mode="fbm", url=None)
    details = {"tracking_details": [{"courier": "acs", "tracking_code": "224085551"}]}
    await notes.order("as shop track", await merchant.accepted(), "as_shop/tracking_details", details)


async def _deliveries(notes: Notebook) -> None:
    shop = await notes.market.shop()
    notes.market.network.statuses["http://shop/"] = [500] * 4
    code = await shop.cart(A=1)
    await notes.market.advance(20 * 60)
    await shop.cart(B=1)
    await notes.market.settle()
    listed = await notes.operator("deliveries", "GET", "/marketplace/deliveries")
    failed = next(entry for entry in listed["deliveries"] if entry["subject"] == code)
    await notes.operator("failed deliveries", "GET", "/marketplace/deliveries?state=exhausted")
    shown = await notes.market.operate("GET", f"/marketplace/deliveries/{failed['id']}")
    answer = await notes.market.call(
        "GET", f"/marketplace/deliveries/{failed['id']}", None, {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    )
    shown["body"] = shown["body"] | {"order": _Shortened(shown["body"]["order"])}
    notes.write("delivery", "GET", f"/marketplace/deliveries/{failed['id']}", None, {}, answer._replace(json=shown))
    await notes.operator("resend delivery", "POST", f"/marketplace/deliveries/{failed['id']}/resend")
    since = {"shop_id": shop.id, "since": "2026-11-24T00:00:00+02:00"}
    await notes.operator("resend failures", "POST", "/marketplace/deliveries/resend", since)


async def _requests(notes: Notebook) -> None:
    shop = await notes.market.shop()
    await shop.cart(A=1)
    await shop.call("POST", "/orders/261124-0000000/accept", {"pickup_window": 2611242, "number_of_parcels": 1})
    path = "/marketplace/requests?status=4xx"
    answer = await notes.market.call("GET", path, None, {"Authorization": f"Bearer {OPERATOR_TOKEN}"})
    listed = answer.json
    # These members are different in each run.
    call = listed["requests"][0] | {"id": "9f86d081-1", "duration_millis": 2.417}
    call["headers"]["authorization"] = "Bearer h3Tf... (86 characters)"
    notes.write("requests", "GET", path, None, {}, answer._replace(json=listed | {"requests": [call]}))
    notes.write("request", "GET", "/marketplace/requests/9f86d081-1", None, {}, answer._replace(json={"request": call}))
    await notes.market.settle()
    path = f"/marketplace/traffic?shop_id={shop.id}"
    answer = await notes.market.call("GET", path, None, {"Authorization": f"Bearer {OPERATOR_TOKEN}"})
    entries = [
        entry
        | {"at": "2026-11-24T10:00:00.417000+02:00", "duration_millis": 2.417}
        | ({"id": "9f86d081-1"} if entry["kind"] == "call" else {})
        for entry in sorted(answer.json["traffic"], key=lambda entry: entry["kind"], reverse=True)
    ]
    notes.write("traffic", "GET", path, None, {}, answer._replace(json={"traffic": entries}))
    await notes.operator("wait for state", "GET", f"/marketplace/orders?shop_id={shop.id}&state=open&wait=10")


async def _sandbox(notes: Notebook) -> None:
    shop = await notes.market.shop()
    await notes.merchant("trigger", shop, "POST", "/orders/DEMO-OPEN/trigger_webhook_request/cancellation")
    await notes.market.advance(3)
    await notes.webhook("triggered")
    await notes.operator("clock", "GET", "/marketplace/clock")
    await notes.operator("clock move", "POST", "/marketplace/clock", {"advance_seconds": 3600})
    rules = [
        {"on": "api", "kind": "rate_limit", "probability": 0.1, "call": "accept", "retry_after_seconds": 5},
        {"on": "webhooks", "kind": "duplicate", "probability": 0.2, "shop_id": shop.id},
    ]
    await notes.operator("faults", "PUT", "/marketplace/faults", {"seed": 7, "rules": rules})
    await notes.operator("faults shown", "GET", "/marketplace/faults")
    await notes.operator("faults over", "PUT", "/marketplace/faults", {})
    own = {"seed": 3, "rules": [{"on": "api", "kind": "new_word", "probability": 0.5, "member": "payment_method"}]}
    path = f"/marketplace/shops/{shop.id}/faults"
    await notes.operator("shop faults", "PUT", path, own)
    await notes.operator("shop faults shown", "GET", path)
    await notes.operator("shop faults over", "DELETE", path)
    play = {"shop_id": shop.id, "set": {"order.line_items[0].quantity": 3}}
    await notes.operator("scenario", "POST", "/marketplace/scenarios/limited_stock", play)
    answer = await notes.market.call(
        "GET", "/marketplace/scenarios", None, {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    )
    shown = answer._replace(json={"scenarios": answer.json["scenarios"][:2]})
    notes.write("scenarios", "GET", "/marketplace/scenarios", None, {}, shown)
    await notes.operator("scenario document", "GET", "/marketplace/scenarios/cancellation_before_answer", whole=True)
    await _checkup(notes, shop)
    answer = await notes.market.call("GET", "/ip_ranges.json")
    notes.write("ip ranges", "GET", "/ip_ranges.json", None, {}, answer)
    await notes.operator("reset", "POST", f"/marketplace/shops/{shop.id}/reset")


async def _checkup(notes: Notebook, shop: Shop) -> None:
    path = f"/marketplace/shops/{shop.id}"
    await notes.operator("try webhook", "POST", f"{path}/try_webhook", {"returns": False}, whole=True)
    report = {
        "shop_id": shop.id,
        "webhook_url": "http://shop/orders",
        "claims": ["orders"],
        "seed": "K3F9",
        "has_probe": False,
        "planned": 1,
        "began_at": "2026-11-24T10:00:00Z",
        "notices": [
            {"kind": "ok", "topic": "clock", "text": {"en": "The clocks agree.", "el": "Τα ρολόγια συμφωνούν."}}
        ],
    }
    await notes.operator("checkup stored", "PUT", f"{path}/checkup", report)
    await notes.operator("checkup", "GET", f"{path}/checkup", whole=True)
    progress = {
        "recipe": "accept",
        "title": {"en": "Your first order", "el": "Η πρώτη σας παραγγελία"},
        "shop_id": shop.id,
        "seed": "K3F9",
        "began_at": "2026-11-24T10:00:00Z",
    }
    await notes.operator("recipe stored", "PUT", f"{path}/recipes/accept", progress)
    await notes.operator("recipe", "GET", f"{path}/recipes/accept", whole=True)


async def _returns(notes: Notebook) -> None:
    shop = await notes.market.shop(returns_webhook_url="http://shop/returns", returns_webhook_enabled=True)
    code = await delivered(shop)
    line = (await shop.show(code))["line_items"][0]["id"]
    asked = {
        "id": line,
        "quantity": 1,
        "reason": "faulty",
        "comment": "Δεν ανάβει.",
        "photos": ["https://x.example/1.jpg"],
    }
    path = f"/marketplace/orders/{code}/returns"
    returned = (await notes.operator("ask return", "POST", path, {"line_items": [asked]}))["return"]["return_code"]
    await notes.webhook("return created")
    await notes.merchant("return", shop, "GET", f"/returns/{returned}")
    await notes.merchant("return unknown", shop, "GET", "/returns/R-261124-0000000")
    await notes.merchant("returns", shop, "GET", "/returns?state=pending_merchant_review")
    review = f"/returns/{returned}/review"
    await notes.merchant("review option", shop, "POST", review, {"option": "send_missing_part"})
    await notes.merchant("review comment", shop, "POST", review, {"option": "not_faulty"})
    await notes.merchant("review", shop, "POST", review, {"option": "approve"})
    await notes.webhook("return approved")
    await notes.merchant("review again", shop, "POST", review, {"option": "approve"})
    operated = f"/marketplace/returns/{returned}"
    await notes.operator("return handed over", "POST", f"{operated}/hand_over", {"tracking_ids": ["ACS1234567890"]})
    await notes.webhook("return tracking")
    await notes.operator("return reassigned", "POST", f"{operated}/reassign", {"courier": "Speedex"})
    await notes.operator("return arrived", "POST", f"{operated}/arrive")
    await notes.operator("return inspected", "POST", f"{operated}/inspect", {"accepted": True})
    await notes.webhook("return returned")
    await notes.operator("return resent", "POST", f"{operated}/webhook")
    virtual = await request_return(notes.market, await delivered(shop), virtual=True)
    taken = f"/marketplace/returns/{virtual['return_code']}"
    await notes.operator("review as shop", "POST", f"{taken}/as_shop/review", {"option": "approve"})
    await notes.operator("virtual return", "POST", f"{taken}/take_back")
    dropped = (await request_return(notes.market, await delivered(shop)))["return_code"]
    await notes.operator("return cancelled", "POST", f"/marketplace/returns/{dropped}/cancel")
    await notes.market.settle()
    await notes.operator("return shown", "GET", f"/marketplace/returns/{dropped}")
    await notes.operator("all returns", "GET", "/marketplace/returns?state=cancelled")
    trigger = f"/marketplace/shops/{shop.id}/trigger_return_webhook/creation"
    await notes.operator("return trigger", "POST", trigger)


async def _warehouse(notes: Notebook) -> None:
    shop = await notes.market.shop(quantity=0)
    new = {"id": "xjvKD5Xr51", "code": "s1", "name": "Προμηθευτής", "city": "Αθήνα", "zip_code": "42200"}
    await notes.merchant("new supplier", shop, "POST", "/fbs/suppliers", new)
    await notes.merchant("new supplier bad", shop, "POST", "/fbs/suppliers", {"code": "s1", "name": ""})
    await notes.merchant(
        "change supplier", shop, "PATCH", "/fbs/suppliers/xjvKD5Xr51", {"email": "new@supplier.example"}
    )
    await notes.merchant("suppliers", shop, "GET", "/fbs/suppliers")
    goods: dict[str, Any] = {
        "expected_date": "2026-11-30",
        "supplier_id": "xjvKD5Xr51",
        "line_items": [{"product_uid": "A", "expected_quantity": 8, "storage_conditions": 2}],
    }
    answer = await notes.merchant("new purchase order", shop, "POST", "/fbs/purchase_orders", goods)
    code = answer.json["code"]
    bad = goods | {"expected_date": "2026-11-23", "line_items": [{"product_uid": "Z", "expected_quantity": 0}]}
    await notes.merchant("new purchase order bad", shop, "POST", "/fbs/purchase_orders", bad)
    counted = {"line_items": [{"product_uid": "A", "actual_quantity": 7}]}
    await notes.operator("receive", "POST", f"/marketplace/warehouse/purchase_orders/{code}/receive", counted)
    await notes.merchant("purchase orders", shop, "GET", "/fbs/purchase_orders")
    await notes.merchant("purchase order lines", shop, "GET", f"/fbs/purchase_orders/{code}/line_items")
    other = await notes.market.shop("Other", url=None)
    await notes.merchant("purchase order of another", other, "GET", f"/fbs/purchase_orders/{code}/line_items")
    await notes.merchant("products", shop, "GET", "/fbs/products")
    order = await shop.cart(A=2)
    await notes.webhook("order from the warehouse")
    await notes.market.operate("POST", f"/marketplace/orders/{order}/hand_over")
    await notes.market.advance(2)
    await notes.webhook("delivery note")


STORIES: Final = (
    _reading,
    _answering,
    _pickup,
    _documents,
    _webhooks,
    _returns,
    _warehouse,
    _shops,
    _people,
    _privacy,
    _products,
    _operating,
    _as_shop,
    _deliveries,
    _requests,
    _sandbox,
)
