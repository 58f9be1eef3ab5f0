"""A WooCommerce for tests: as much of its REST API (version 3) as orders need, with the real one's traps.

It does what the source of the real one does, also where that is a surprise: a line with an unknown SKU is made without
a product, `total` is net and tax is worked out and rounded apart, a line without `subtotal` takes the product's price,
null for a text is refused, and search never looks at meta data.
"""

import base64
import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from aiohttp import web

CENT = Decimal("0.01")
ORDERS = "/wp-json/wc/v3/orders"
STATUSES = {"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed"}


@dataclass
class Product:
    """What the shop sells. A variation has a parent; a `variable` product has variations."""

    id: int
    sku: str
    type: str = "simple"
    parent_id: int = 0
    price: Decimal = Decimal("99.99")
    stock: int = 100
    status: str = "publish"


def total_of(nets: list[Decimal], rates: list[Decimal], *, at_subtotal: bool = False) -> Decimal:
    """What an order comes to: WC_Abstract_Order::calculate_totals, for a shop whose prices are entered with tax."""
    taxes = [net * rate / 100 for net, rate in zip(nets, rates, strict=True)]
    if not at_subtotal:
        nets = [net.quantize(CENT, ROUND_HALF_UP) for net in nets]
        taxes = [tax.quantize(CENT, ROUND_HALF_DOWN) for tax in taxes]
    tax = sum(taxes, Decimal(0)).quantize(CENT, ROUND_HALF_DOWN)
    return (sum(nets, Decimal(0)) + tax).quantize(CENT, ROUND_HALF_UP)


@dataclass
class WooCommerce:
    """One shop. The switches make it the shop that a test needs."""

    products: list[Product]
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    # Tax by tax class; another class is refused.
    rates: dict[str, Decimal] = field(default_factory=lambda: {"": Decimal(24), "zero-rate": Decimal(0)})
    at_subtotal: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    # What every request, or every one of these methods, is answered instead.
    instead: web.Response | None = None
    instead_of: set[str] = field(default_factory=lambda: {"GET", "POST", "PUT"})
    loses_answers: bool = False
    search_runs_behind: bool = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, as the real one answers it."""
        self.requests.append((request.method, request.path))
        if self.instead is not None and request.method in self.instead_of:
            same = self.instead
            return web.Response(status=same.status, body=same.body, headers=same.headers)
        if request.headers.get("Authorization") != f"Basic {base64.b64encode(b'ck_1:cs_1').decode()}":
            return _refused(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
        if request.method == "GET":
            listed = self._products(request) if request.path.endswith("/products") else self._orders(request)
            return web.json_response(listed[: int(request.query.get("per_page", "10"))])
        content = await request.json()
        if nulls := _null_texts(content):
            return _refused(400, "rest_invalid_param", f"Invalid parameter(s): {', '.join(nulls)}")
        found = re.fullmatch(ORDERS + r"/(\d+)", request.path)
        try:
            answer = self._change(int(found[1]), content) if found else self._create(content)
        except ValueError as error:
            return _refused(400, "woocommerce_rest_invalid", str(error))
        if self.loses_answers:
            return web.Response(status=504, text="<html>Gateway Timeout</html>")
        return web.json_response(answer, status=200 if found else 201)

    def _products(self, request: web.Request) -> list[dict[str, Any]]:
        told = request.query.get("sku", "")
        # A comma ends a SKU, and the whole text is one more; the database compares without case. PHP takes "" and "0"
        # for no filter at all.
        wanted = {sku.casefold() for sku in [*told.split(","), told]}
        return [
            {"id": p.id, "sku": p.sku, "type": p.type, "parent_id": p.parent_id, "status": p.status}
            for p in self.products
            if p.status != "trash" and (told in {"", "0"} or p.sku.casefold() in wanted)
        ]

    def _orders(self, request: web.Request) -> list[dict[str, Any]]:
        status = request.query.get("status", "any")
        found = [o for o in self.orders.values() if (o["status"] == "trash") == (status == "trash")]
        if search := request.query.get("search"):
            found = [] if self.search_runs_behind else [order for order in found if search in _searchable(order)]
        return sorted(found, key=lambda order: -order["id"])

    def _create(self, content: dict[str, Any]) -> dict[str, Any]:
        lines = [self._line(line) for line in content["line_items"]]
        order = content | {
            "id": 1000 + len(self.orders),
            "status": "pending",
            "line_items": lines,
            "meta_data": [],
            "stock_is_reduced": False,
        }
        _set_meta(order, content.get("meta_data", []))
        self._work_out_total(order)
        self.orders[order["id"]] = order
        self.set_status(order, content.get("status", "pending"))
        return order

    def _line(self, posted: dict[str, Any]) -> dict[str, Any]:
        """WC_REST_Orders_V2_Controller::prepare_line_items."""
        if sku := posted.get("sku"):
            product = next((p for p in self.products if p.sku.casefold() == sku.casefold()), None)
        elif number := posted.get("variation_id") or posted.get("product_id"):
            product = next((p for p in self.products if p.id == number), None)
        else:
            raise ValueError("Product ID or SKU is required.")
        if posted.get("tax_class", "") not in self.rates:
            raise ValueError("Invalid tax class")
        usual = f"{product.price * posted['quantity']:f}" if product else "0"
        return {
            "product_id": (product.parent_id or product.id) if product else 0,
            "variation_id": product.id if product and product.parent_id else 0,
            "quantity": posted["quantity"],
            "total": posted.get("total", usual),
            "subtotal": posted.get("subtotal", usual),
            "tax_class": posted.get("tax_class", ""),
            "meta_data": posted.get("meta_data", []),
        }

    def _work_out_total(self, order: dict[str, Any]) -> None:
        exempt = {"key": "is_vat_exempt", "value": "yes"} in order["meta_data"]
        items = order["line_items"] + order.get("shipping_lines", [])
        rates = [Decimal(0) if exempt else self.rates[item.get("tax_class", "")] for item in items]
        nets = [Decimal(item["total"]) for item in items]
        order["total"] = str(total_of(nets, rates, at_subtotal=self.at_subtotal))

    def _change(self, number: int, content: dict[str, Any]) -> dict[str, Any]:
        order = self.orders[number]
        _set_meta(order, content.get("meta_data", []))
        if {"billing", "shipping", "line_items", "shipping_lines"} & content.keys():
            self._work_out_total(order)
        self.set_status(order, content.get("status", order["status"]))
        return order

    def set_status(self, order: dict[str, Any], status: str) -> None:
        """Stock follows the status: wc_maybe_reduce_stock_levels and wc_maybe_increase_stock_levels."""
        if status not in STATUSES:
            raise ValueError(f"status is not one of {', '.join(sorted(STATUSES))}")
        order["status"] = status
        reduces, increases = status in {"processing", "completed", "on-hold"}, status in {"cancelled", "pending"}
        if (reduces and not order["stock_is_reduced"]) or (increases and order["stock_is_reduced"]):
            order["stock_is_reduced"] = reduces
            for line in order["line_items"]:
                for product in self.products:
                    if product.id == (line["variation_id"] or line["product_id"]):
                        product.stock += line["quantity"] * (-1 if reduces else 1)


def meta_of(entry: dict[str, Any]) -> dict[str, str]:
    """The meta data of an order or a line, without the prefix of the example."""
    return {meta["key"].removeprefix("smart_cart_"): meta["value"] for meta in entry["meta_data"]}


def _refused(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message, "data": {"status": status}}, status=status)


def _null_texts(content: dict[str, Any]) -> list[str]:
    """Members that the schema has as texts and that are something else."""
    texts: dict[str, Any] = {
        name: content[name] for name in ("customer_note", "transaction_id", "payment_method") if name in content
    }
    for name in ("billing", "shipping"):
        texts |= {f"{name}.{key}": value for key, value in content.get(name, {}).items()}
    for line in content.get("line_items", []):
        texts |= {f"line_items.{key}": line[key] for key in ("total", "subtotal") if key in line}
    return [name for name, value in texts.items() if not isinstance(value, str)]


def _searchable(order: dict[str, Any]) -> str:
    """The addresses and the names of lines; with order tables the transaction id as well."""
    names = [line["method_title"] for line in order.get("shipping_lines", [])]
    addresses = [*order.get("billing", {}).values(), *order.get("shipping", {}).values()]
    return "\n".join([*addresses, *names, order.get("transaction_id", "")])


def _set_meta(order: dict[str, Any], given: list[dict[str, str]]) -> None:
    """WC_Data::update_meta_data without an id: by its key."""
    for meta in given:
        order["meta_data"] = [*(m for m in order["meta_data"] if m["key"] != meta["key"]), dict(meta)]
