"""Orders handed over to a shop that speaks WooCommerce's REST interface (version 3, consumer key and secret).

    export WOOCOMMERCE_URL=https://shop.example WOOCOMMERCE_KEY=ck_... WOOCOMMERCE_SECRET=cs_...
    kalathi merchant ... --hand-over-to woocommerce:hand_over

An order is made there once it is accepted, under the code that the marketplace knows it by, and changed when it is
dispatched, delivered, cancelled or returned. The connector tells of each change at least once, so what is there already
is looked for first: WooCommerce searches the billing address, which is where the code stands.
"""

import os
from typing import Any

import niquests

# Before it is accepted there is nothing to pack; what WooCommerce has no word for keeps the word that it has.
STATES = {
    "accepted": "processing",
    "dispatched": "completed",
    "delivered": "completed",
    "partially_delivered": "completed",
    "cancelled": "cancelled",
    "rejected": "cancelled",
    "expired": "cancelled",
    "returned": "refunded",
}


def hand_over(told: dict[str, Any]) -> None:
    """Called by the connector; whatever it raises makes the connector tell it again later."""
    if told["kind"] != "order" or told["order"]["state"] not in STATES:
        return
    order = told["order"]
    with niquests.Session(base_url=os.environ["WOOCOMMERCE_URL"]) as shop:
        shop.auth = (os.environ["WOOCOMMERCE_KEY"], os.environ["WOOCOMMERCE_SECRET"])
        status = STATES[order["state"]]
        known = _known(shop, order["code"])
        if known is not None:
            answer = shop.put(f"/wp-json/wc/v3/orders/{known}", json={"status": status}, timeout=20)
        elif order["state"] in {"cancelled", "rejected", "expired"}:
            return
        else:
            answer = shop.post("/wp-json/wc/v3/orders", json=_order(order, status), timeout=20)
        answer.raise_for_status()


def _known(shop: niquests.Session, code: str) -> int | None:
    answer = shop.get("/wp-json/wc/v3/orders", params={"search": code}, timeout=20)
    answer.raise_for_status()
    return next((found["id"] for found in answer.json() if found["billing"]["company"] == f"Smart Cart {code}"), None)


def _order(order: dict[str, Any], status: str) -> dict[str, Any]:
    customer = order["customer"]
    address = customer.get("address") or {}
    place = {
        "first_name": customer.get("first_name", ""),
        "last_name": customer.get("last_name", ""),
        "address_1": f"{address.get('street_name', '')} {address.get('street_number', '')}".strip(),
        "city": address.get("city", ""),
        "postcode": address.get("zip", ""),
        "country": address.get("country_code", "GR"),
    }
    return {
        "status": status,
        "billing": place | {"company": f"Smart Cart {order['code']}"},
        "shipping": place,
        "customer_note": order.get("comments") or "",
        "line_items": [
            # WooCommerce finds the product by its SKU; the total is what the customer has paid for the line.
            {"sku": line["shop_uid"], "quantity": line["quantity"], "total": f"{line['total_price']:.2f}"}
            for line in order["line_items"]
        ],
    }
