"""`kalathi order`: orders of a running marketplace, as the shop, the customer, support and the courier act on them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from kalathi.cli.completing import complete_codes, complete_shops
from kalathi.cli.lazy_commands import LazyCommands
from kalathi.cli.operating import Market, operate, operator_options, page_options, show
from kalathi.cli.tables import render_history, render_members, render_minute, render_page, render_table
from kalathi.contract.words import OrderState


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in OrderState]), help="Only orders in this state.")
@click.option("--shop", "shop_id", help="Only orders of this shop.", shell_complete=complete_shops)
@page_options
@operator_options
def order_list(data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """List orders, the newest first.

    \b
    kalathi order list --state open
    """
    answer = operate(data, url, token, lambda operator: operator.call("GET", "/marketplace/orders", query=query))
    rows = [(order["code"], order["shop_id"], order["state"]) for order in answer["orders"]]
    text = render_page(("code", "shop", "state"), rows, answer, "There are no such orders. Place one: kalathi cart")
    show(as_json, answer, text)


@click.command("show")
@click.argument("code", shell_complete=complete_codes("orders"))
@operator_options
def order_show(code: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show an order with its lines, its options, its timeline and its webhooks."""
    detail = operate(*Market(data, url, token), lambda operator: operator.order(code))
    show(as_json, detail, "\n\n".join(_sections(detail)))


def _sections(detail: dict[str, Any]) -> Iterable[str]:
    order = detail["order"]
    yield render_members(_list_members(detail))
    yield render_table(
        ("line", "shop_uid", "product", "quantity", "unit price"),
        [
            (line["id"], line["shop_uid"], line["product_name"], line["quantity"], f"{line['unit_price']:.2f}")
            for line in order["line_items"]
        ],
    )
    offered = [*_offered(order)]
    if offered:
        yield render_table(("on offer", "id", "label"), offered)
    yield from render_history(detail)


def _list_members(detail: dict[str, Any]) -> dict[str, object]:
    order, customer = detail["order"], detail["order"]["customer"]
    address = customer["address"]
    place = [f"{address['street_name']} {address['street_number']}", f"{address['zip']} {address['city']}"]
    window = order.get("pickup_window")
    return {
        "order": order["code"],
        "state": order["state"],
        "shop": detail["shop_id"],
        "customer": f"{customer['first_name']} {customer['last_name']}".strip(),
        "address": address.get("collection_point_address") or [part.strip() for part in place if part.strip()],
        "payment": order["payment_method"],
        "comments": order["comments"],
        "expires": render_minute(order["expires_at"]) if order["state"] == "open" else None,
        "courier": order["courier"],
        "pickup": window and f"{render_minute(window['from'])} to {render_minute(window['to'])}",
        "from": order.get("pickup_address"),
        "parcels": order.get("number_of_parcels"),
        "voucher": order["courier_voucher"],
        "tracking": order["courier_tracking_codes"],
        "invoice": order["uploaded_invoice_file"],
        "rejected": (order.get("rejection_info") or {}).get("reason"),
        "new order": (detail["rejection"] or {}).get("successor"),
        "follows": detail["predecessor"],
        "returns": [entry["return_uuid"] for entry in order.get("returns") or []],
    }


def _offered(order: dict[str, Any]) -> Iterable[tuple[str, object, str]]:
    """Yield the options on offer to the shop: the option's name, the id and the label."""
    accept = order.get("accept_options") or {}
    for name in ("pickup_location", "pickup_window"):
        for entry in accept.get(name) or []:
            yield name.replace("_", " "), entry["id"], entry["label"]
    for entry in order.get("reschedule_options") or []:
        yield "another day", entry["date"], entry["label"]
    for entry in order.get("relocate_options") or []:
        yield "another location", entry["id"], entry["label"]


def _commands() -> list[click.Command]:
    from kalathi.cli.order_commands import order_commands

    return [order_list, order_show, *order_commands()]


order = click.Group(
    "order",
    commands=LazyCommands(_commands),
    short_help="Orders: list, show, accept, reject, cancel, deliver, ...",
    help="""Orders of a running marketplace: list them, show one, and act as the shop, the customer, support or the
    courier. The shop's own actions (accept, reject, ...) need a sandbox.

    \b
    kalathi order list --state open
    kalathi order accept 261130-8697740
    kalathi order reject 261130-8697740 --line MEM-64=1
    kalathi order hand-over 261130-8697740
    """,
)
