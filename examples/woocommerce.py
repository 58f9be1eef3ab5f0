"""Hand orders over to a shop that runs WooCommerce (REST API version 3, consumer key and secret with read and write).

    export WOOCOMMERCE_URL=https://shop.example WOOCOMMERCE_KEY=ck_... WOOCOMMERCE_SECRET=cs_...
    kalathi merchant ... --hand-over-to woocommerce:hand_over --told-orders-are-counted

WooCommerce receives an order once it is accepted, and every change after that. If this module cannot enter an order
correctly, it does not enter it. It raises an error with a sentence, which the connector shows to a person, and the
connector retries with growing pauses. Correct the cause in WooCommerce; the next attempt then enters the order.

Not entered: orders that the marketplace fulfills from its own warehouse (nothing leaves this shop's shelf), orders that
ended before WooCommerce knew them, and returns (an order's state says `returned`; WooCommerce then has it as refunded,
and its pieces are for a person to put back).

Facts about WooCommerce that this rests on (its source and issues, versions 3 to 10):
- `total` and `subtotal` of a line are net, also if the shop's setting is "prices entered with tax" (issues 17276,
  59928). WooCommerce adds the tax by its own rates. Without `subtotal` it takes the product's price for it, and shows
  the difference as a discount.
- A line with an unknown SKU is answered with 201 and becomes a line without a product. So each product is looked up
  first, and the line names it by its id: of two products with one SKU, one in the trash, the SKU alone may find the
  wrong one (issue 8445).
- `GET /products?sku=` finds variations as well, takes a comma for the end of a SKU, and compares without case.
- The search for orders covers the names of their lines, shipping included, and the addresses; with order tables (HPOS)
  also the transaction id. It does not cover meta data. With HPOS's full-text index only the transaction id is
  compared as a whole. So the marketplace's code stands in three places: the shipping line's title and the transaction
  id, by which the order is found, and the meta data, by which it is recognised. The company stays the company.
- Stock goes down when an order becomes on-hold, processing or completed, and up again when it becomes cancelled.
"""

import os
import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from urllib.parse import urljoin

import niquests

# The WooCommerce status for each state. `partially_returned` has none in WooCommerce, so the status stays unchanged.
# For a state that is not in this table, the order is not changed at all.
STATUSES = {
    "accepted": "processing",
    "dispatched": "completed",
    "delivered": "completed",
    "partially_delivered": "completed",
    "partially_returned": None,
    "for_return": "on-hold",
    "returned": "refunded",
    "cancelled": "cancelled",
    "rejected": "cancelled",
    "expired": "cancelled",
}
# States in which an order that WooCommerce does not know is entered.
SOLD = {"accepted", "dispatched", "delivered", "partially_delivered"}
# States after which the courier has the parcel.
LEFT = {"dispatched", "delivered", "partially_delivered", "partially_returned", "for_return"}

# The tax class for a line without VAT in an order that has lines with VAT. WooCommerce's own is called "Zero rate";
# its slug is in the language in which WooCommerce was installed.
ZERO_TAX_CLASS = os.environ.get("WOOCOMMERCE_ZERO_TAX_CLASS", "zero-rate")

# Advice for an order that lacks data. The example recognises an order by this id.
BY_HAND = "Enter it by hand, with the order's code as its transaction id."

# Meta data without an underscore in front is shown to people, as custom fields of the order.
PREFIX = "smart_cart_"


class WooCommerceError(Exception):
    """The order was not entered or changed. The sentence gives the reason and the remedy."""


def hand_over(told: dict[str, Any]) -> None:
    """Enter or change one order. Called by the connector, at least once for each change. Raises WooCommerceError."""
    if told["kind"] != "order":
        return
    order = told["order"]
    code, state = _text(order["code"]), _text(order["state"])
    if state not in STATUSES or order.get("fulfilled_by_skroutz"):
        return
    with niquests.Session() as shop:
        # Ignore .netrc and the environment's proxy: a proxy would see the keys of a shop without TLS.
        shop.trust_env = False
        shop.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        if proxy := os.environ.get("WOOCOMMERCE_PROXY"):
            shop.proxies = {"http": proxy, "https": proxy}
        shop.auth = (_setting("WOOCOMMERCE_KEY"), _setting("WOOCOMMERCE_SECRET"))
        known = _find_order(shop, code)
        if known is None:
            if state not in SOLD:
                return
            known = _call(shop, "POST", "orders", json=_new_order(shop, order))
        if known["status"] == "trash":
            return  # A person has thrown it away.
        last = _meta(known).get(f"{PREFIX}state")
        if state in SOLD and last is None and known["status"] == "on-hold":
            _check_total(order, known)
        _call(shop, "PUT", f"orders/{known['id']}", json=_changes(order, known, last))


# Calls


def _setting(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise WooCommerceError(f"Set {name} in the connector's environment.")
    return value


def _call(shop: niquests.Session, method: str, path: str, **more: Any) -> Any:
    """Send one request and return the JSON of its answer. Raises WooCommerceError.

    Do not follow redirects. A redirected POST becomes a GET, whose 200 does not prove that the order was entered.
    WooCommerce redirects if the configured address is not its own (for example http for https, or with www), so a
    person must correct the address.
    """
    address = f"{_setting('WOOCOMMERCE_URL').rstrip('/')}/wp-json/wc/v3/{path}"
    # Longer than PHP's usual limit. If a POST were still running during the next attempt, the order would exist twice.
    try:
        answer = shop.request(method, address, timeout=60, allow_redirects=False, **more)
    except niquests.RequestException as error:
        raise WooCommerceError(f"WooCommerce at {address} does not answer ({type(error).__name__}).") from None
    status = answer.status_code or 0
    if 300 <= status < 400:
        new = urljoin(address, str(answer.headers.get("location", "an address that it does not name")))
        raise WooCommerceError(
            f"WooCommerce redirects {method} {address} to {new}. Put the new address into WOOCOMMERCE_URL."
        )
    try:
        content = answer.json()
    except ValueError:  # A page of a cache, a firewall or a maintenance plugin, possibly with status 200.
        raise WooCommerceError(
            f"{method} {address} was answered {status} and not with JSON. Is it WooCommerce?"
        ) from None
    if not 200 <= status < 300:
        reason = f"{content.get('code')}: {content.get('message')}" if isinstance(content, dict) else "no reason given"
        raise WooCommerceError(f"WooCommerce has answered {method} {path} with {status} ({reason}).")
    is_ours = isinstance(content, list) if method == "GET" else isinstance(content, dict) and content.get("id")
    if not is_ours:
        raise WooCommerceError(f"{method} {address} was answered with JSON that is not WooCommerce's.")
    return content


def _find_order(shop: niquests.Session, code: str) -> dict[str, Any] | None:
    """Return WooCommerce's order, or None if there is none yet.

    The search may lag, because some shops run it on another server, and the answer of an attempt a few seconds ago may
    have been lost. So check the newest orders and the trash too.
    """
    for where in ({"search": code}, {}, {"search": code, "status": "trash"}):
        fields = "id,status,total,billing,transaction_id,meta_data"
        for found in _call(shop, "GET", "orders", params={"per_page": 100, "_fields": fields, **where}):
            # Earlier versions of this module wrote the code into the company.
            company = (found.get("billing") or {}).get("company")
            marks = {_meta(found).get(f"{PREFIX}code"), _text(found.get("transaction_id"))}
            if code in marks or company == f"Smart Cart {code}":
                return dict(found)
    return None


def _find_product(shop: niquests.Session, code: str, line: dict[str, Any]) -> dict[str, Any]:
    """The product or variation of a line, by the most exact uid that the line has. Raises WooCommerceError."""
    size = line.get("size") or {}
    uids = (size.get("shop_variation_uid"), line.get("shop_variation_uid"), line.get("shop_uid"))
    sku = next((text for uid in uids if (text := _text(uid))), "")
    name = _name(line)
    if not sku:
        raise WooCommerceError(f"Order {code}: {name} has no shop_uid. {BY_HAND}")
    found = _call(shop, "GET", "products", params={"sku": sku, "per_page": 100})
    products = [product for product in found if product.get("sku") == sku]
    if not products:
        raise WooCommerceError(
            f"Order {code}: WooCommerce has no product with the SKU {sku} ({name}), or it is in the trash."
            " Give the product this SKU."
        )
    if len(products) > 1:
        ids = " and ".join(str(product["id"]) for product in products)
        raise WooCommerceError(f"Order {code}: products {ids} of WooCommerce have the same SKU {sku}. Change one.")
    if products[0].get("type") == "variable":
        # Without this an order would not say which size to pack, and the sizes' stock would stay as it is.
        raise WooCommerceError(
            f"Order {code}: SKU {sku} ({name}) is a product with variations, and the order does not say which."
            f" Name the variations in your feed. {BY_HAND}"
        )
    return dict(products[0])


# A new order


def _new_order(shop: niquests.Session, order: dict[str, Any]) -> dict[str, Any]:
    """Build the body of a new order. Raises WooCommerceError before WooCommerce creates anything.

    The order begins as `on-hold`, WooCommerce's status for orders that need a person. It continues if its total is
    right.
    """
    code = _text(order["code"])
    lines = _lines(order)
    if not lines:
        raise WooCommerceError(f"Order {code} has no lines.")
    items = [_line_item(shop, code, line) for line in lines]
    without_vat = [not line["price_includes_vat"] for line in lines]
    meta = _details(order)
    if all(without_vat):
        # WooCommerce's own mark for an order without tax, as its checkout writes it. Intra-community and 39α.
        meta["is_vat_exempt"] = "yes"
    else:
        for item, has_none in zip(items, without_vat, strict=True):
            if has_none:
                item["tax_class"] = ZERO_TAX_CLASS
    del meta[f"{PREFIX}state"]  # Written with the first status other than on-hold, see hand_over.
    is_cash = _text(order.get("payment_method")).lower() == "cash_on_delivery"
    return {
        "status": "on-hold",
        "currency": "EUR",
        "billing": _billing(order),
        "shipping": _shipping(order),
        # WooCommerce counts cash on delivery as paid when the order is completed, anything else when it is accepted.
        "payment_method": "cod" if is_cash else "smart_cart",
        "payment_method_title": f"Smart Cart, {_text(order.get('payment_method')) or 'unknown'}",
        "transaction_id": code,
        "customer_note": _text(order.get("comments")),
        "line_items": items,
        "shipping_lines": [
            {
                "method_id": "local_pickup" if order.get("store_pickup") else "smart_cart",
                "method_title": f"Smart Cart {code}{', gift wrap' if _is_gift(order) else ''}",
                "total": f"{_net_shipping(order):f}",
            }
        ],
        "meta_data": [{"key": key, "value": value} for key, value in meta.items() if value],
    }


def _line_item(shop: niquests.Session, code: str, line: dict[str, Any]) -> dict[str, Any]:
    net = _net(code, line)
    product = _find_product(shop, code, line)
    parent = product.get("parent_id")
    is_variation = product.get("type") == "variation" and parent
    size = line.get("size") or {}
    meta = {
        "line_id": line.get("id"),
        "product": line.get("product_name"),
        "size": f"{_text(size.get('label'))} {_text(size.get('value'))}",
        "size_shop_value": size.get("shop_value"),
        "ean": size.get("ean") or line.get("ean"),
        "extra_info": line.get("extra_info"),
        "serial_numbers": line.get("serial_numbers"),
        "vat_ratio": line.get("vat_ratio"),
        "total_price": line.get("total_price"),
    }
    return {
        **({"product_id": parent, "variation_id": product["id"]} if is_variation else {"product_id": product["id"]}),
        "quantity": _quantity(code, line),
        "subtotal": f"{net:f}",
        "total": f"{net:f}",
        "meta_data": [{"key": PREFIX + key, "value": text} for key, value in meta.items() if (text := _text(value))],
    }


def _billing(order: dict[str, Any]) -> dict[str, str]:
    """The company and the address of the invoice; without an invoice the customer's own."""
    shipping = _shipping(order)
    customer = order.get("customer") or {}
    phone = _text(customer.get("mobile")) or _text(customer.get("phone"))
    details = order.get("invoice_details") or {}
    if not (order.get("invoice") and details):
        return shipping | {"phone": phone}
    # An invoice's address has no country. A VAT number of another member state begins with the state's letters.
    letters = _text(details.get("vat_number"))[:2].upper()
    country = {"EL": "GR", "XI": "GB"}.get(letters, letters) if re.fullmatch("[A-Z]{2}", letters) else "GR"
    address = _address(details.get("address") or {}) | {"country": country}
    names = {name: shipping[name] for name in ("first_name", "last_name")}
    return names | address | {"company": _text(details.get("company")), "phone": phone}


def _shipping(order: dict[str, Any]) -> dict[str, str]:
    customer = order.get("customer") or {}
    address = customer.get("address") or {}
    place = _address(address)
    if point := _text(address.get("collection_point_address")):
        place |= {"address_1": point, "address_2": "Collection point"}
    names = {name: _text(customer.get(name)) for name in ("first_name", "last_name")}
    # Collection points come without a country, and WooCommerce takes no tax of an address that has none.
    return names | place | {"country": _text(address.get("country_code")).upper() or "GR"}


def _address(address: dict[str, Any]) -> dict[str, str]:
    return {
        "address_1": f"{_text(address.get('street_name'))} {_text(address.get('street_number'))}".strip(),
        "address_2": _text(address.get("floor")),
        "city": _text(address.get("city")),
        "state": _text(address.get("region")),
        "postcode": _text(address.get("zip")),
    }


def _details(order: dict[str, Any]) -> dict[str, str]:
    """Return the details without a WooCommerce field as meta data. Rename the keys to your invoicing plugin's."""
    customer = order.get("customer") or {}
    address = customer.get("address") or {}
    invoice = order.get("invoice_details") or {}
    invoice_address = invoice.get("address") or {}
    representative = invoice.get("vat_exclusion_representative") or {}
    window = order.get("pickup_window") or {}
    details = {
        "code": order.get("code"),
        "state": order.get("state"),
        "invoice": order.get("invoice"),
        "invoice_document": order.get("invoice_document"),
        "company": invoice.get("company"),
        "profession": invoice.get("profession"),
        "vat_number": invoice.get("vat_number"),
        "tax_office": invoice.get("doy"),
        "invoice_address": list(_address(invoice_address).values()),
        "vat_exclusion_requested": invoice.get("vat_exclusion_requested"),
        "vat_exclusion_verification_method": invoice.get("vat_exclusion_verification_method"),
        "vat_exclusion_documents": invoice.get("vat_exclusion_documents"),
        "representative_id_type": representative.get("id_type"),
        "representative_id_number": representative.get("id_number"),
        "representative_otp": representative.get("otp"),
        "representative_mobile": representative.get("mobile"),
        "uploaded_invoice_file": order.get("uploaded_invoice_file"),
        "phone": customer.get("phone"),
        "mobile": customer.get("mobile"),
        "collection_point": address.get("collection_point_address"),
        "address_comments": address.get("comments"),
        "gift_wrap": _is_gift(order),
        "express": order.get("express"),
        "store_pickup": order.get("store_pickup"),
        "custom": order.get("custom"),
        "payment_method": order.get("payment_method"),
        "paid_by_user": order.get("paid_by_user"),
        "shipping_cost": order.get("shipping_cost"),
        "courier": order.get("courier"),
        "courier_tracking_codes": order.get("courier_tracking_codes"),
        "courier_voucher": order.get("courier_voucher"),
        "pickup_window": [window.get("from"), window.get("to")],
        "pickup_address": order.get("pickup_address"),
        "number_of_parcels": order.get("number_of_parcels"),
        "dispatch_until": order.get("dispatch_until"),
        "replaces": order.get("replaced"),
    }
    return {PREFIX + name: _text(value) for name, value in details.items()}


# Money


def _net(code: str, line: dict[str, Any]) -> Decimal:
    """Return the net amount of a line: the customer's price, without VAT if the price includes it.

    Six decimals and not two, because WooCommerce works its tax out of this amount. It rounds amount and tax apart, and
    with six decimals the two always come to the price again. With two, they miss it by a cent for a fifth of all prices
    at 24 %: 0.03 would be 0.02 and no tax. WooCommerce's own checkout keeps such amounts with as many decimals, and
    shows them with two. This holds whether it rounds tax by line or by order, where its rate is the order's vat_ratio.
    Where the rates differ, the order stays on hold: see _check_total.
    """
    name = _name(line)
    price = _price(code, line)
    includes_vat = line.get("price_includes_vat")
    if not isinstance(includes_vat, bool):
        raise WooCommerceError(f"Order {code}: nothing says whether the price of {name} includes VAT. {BY_HAND}")
    if not includes_vat:
        return price
    ratio = _decimal(line.get("vat_ratio"))
    if ratio is None or not 0 <= ratio < 100:
        raise WooCommerceError(
            f"Order {code}: the price of {name} includes VAT, and the order does not say how much"
            f" (vat_ratio is {line.get('vat_ratio')!r}). {BY_HAND}"
        )
    return _without(price, ratio)


def _without(price: Decimal, ratio: Decimal) -> Decimal:
    return (price / (1 + ratio / 100)).quantize(Decimal("0.000001"), ROUND_HALF_UP)


def _price(code: str, line: dict[str, Any]) -> Decimal:
    """Return the price of the line: its total, or unit price times quantity if there is no total."""
    total = _decimal(line.get("total_price"))
    unit = _decimal(line.get("unit_price"))
    if total is None and unit is not None:
        total = unit * _quantity(code, line)
    if total is None or total < 0:
        raise WooCommerceError(f"Order {code}: {_name(line)} has no price. {BY_HAND}")
    return total


def _quantity(code: str, line: dict[str, Any]) -> int:
    quantity = _decimal(line.get("quantity"))
    if quantity is None or quantity < 1 or quantity != quantity.to_integral_value():
        raise WooCommerceError(f"Order {code}: {_name(line)} has no quantity. {BY_HAND}")
    return int(quantity)


def _net_shipping(order: dict[str, Any]) -> Decimal:
    """The shipping cost without VAT; only orders that the shop ships by itself have one.

    The marketplace sends no vat_ratio for it. So use the rate of the goods, or the highest of several rates, as
    WooCommerce does with its setting "based on cart items". If the shop has another setting, the order stays on hold.
    """
    cost = _shipping_cost(order)
    ratios = [_decimal(line["vat_ratio"]) or Decimal(0) for line in _lines(order) if line["price_includes_vat"]]
    return _without(cost, max(ratios)) if ratios else cost


def _shipping_cost(order: dict[str, Any]) -> Decimal:
    given = order.get("shipping_cost")
    cost = Decimal(0) if given is None else _decimal(given)
    if cost is None or cost < 0:
        raise WooCommerceError(f"Order {_text(order['code'])}: its shipping cost cannot be read ({given!r}). {BY_HAND}")
    return cost


def _check_total(order: dict[str, Any], known: dict[str, Any]) -> None:
    """Raise WooCommerceError unless the new order's total equals the customer's payment to the cent.

    A person corrects the order, or gives it another status; then it is not checked again.
    """
    code = _text(order["code"])
    paid = sum((_price(code, line) for line in _lines(order)), _shipping_cost(order))
    total = _decimal(known.get("total"))
    if total != paid:
        raise WooCommerceError(
            f"Order {code}: WooCommerce's order {known['id']} comes to {total}, the customer pays {paid:.2f}; its tax"
            " rates are not those of the order. It is on hold. Correct it there, or give it another status."
        )


# Changes


def _changes(order: dict[str, Any], known: dict[str, Any], last: str | None) -> dict[str, Any]:
    """The body of a change: the details as they are now, and a status when the state is new.

    Without a new state (a voucher, another courier) the status stays, as a person may have changed it meanwhile.
    Addresses and lines are never sent again, because WooCommerce would recalculate the totals.
    """
    had = _meta(known)
    meta = {key: value for key, value in _details(order).items() if value or key in had}
    body: dict[str, Any] = {"meta_data": [{"key": key, "value": value} for key, value in meta.items()]}
    state = _text(order["state"])
    status = STATUSES[state]
    if status == "cancelled" and (known["status"] == "completed" or last in LEFT):
        # The parcel has left and travels back. Cancelled would put its pieces on the shelf, so it waits for a person.
        status = "on-hold"
    if status == "processing" and known["status"] == "completed":
        status = None  # A person was quicker.
    if status and state != last:
        body["status"] = status
    return body


# Values: any member may be missing or null, an id may be a number, and a number may be a text.


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text for entry in value if (text := _text(entry)))
    return str(value).strip()


def _decimal(value: Any) -> Decimal | None:
    """Return a decimal number, or None. Convert a float through its text: 35.98 is 35.98, not the nearest binary
    fraction."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _meta(found: dict[str, Any]) -> dict[str, str]:
    return {_text(entry.get("key")): _text(entry.get("value")) for entry in found.get("meta_data") or []}


def _lines(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the order's lines. Raises WooCommerceError for a malformed line, because the order would lack it."""
    lines = order.get("line_items") or []
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise WooCommerceError(f"Order {_text(order['code'])}: one of its lines cannot be read. {BY_HAND}")
    return lines


def _name(line: dict[str, Any]) -> str:
    return _text(line.get("product_name")) or _text(line.get("shop_uid")) or "a line without a name"


def _is_gift(order: dict[str, Any]) -> bool:
    return bool(order.get("gift_wrap")) or "[GIFT-WRAP]" in _text(order.get("custom"))
