"""`kalathi cart`: a customer's cart, placed in a running marketplace."""

from functools import cached_property
from pathlib import Path
from typing import Any

import click

from kalathi.cli.operating import Market, operate, operator_options, show
from kalathi.cli.shop_choice import find_only_shop, shop_option
from kalathi.cli.tables import paint_state
from kalathi.terminal import in_one_line

_CARD = "card"


class _CartCommand(click.Command):
    """A command whose options are made when they are needed: the struct of a cart takes long to import."""

    @property
    def params(self) -> list[click.Parameter]:
        """The options of the struct, then the others. click changes this list, so it is made once."""
        return self._params

    @params.setter
    def params(self, others: list[click.Parameter]) -> None:
        self._others = others

    @cached_property
    def _params(self) -> list[click.Parameter]:
        return [*_cart_options(), *self._others]


@click.command(cls=_CartCommand)
@shop_option
@click.option("--quiet", "-q", is_flag=True, help="Print only the order's code, for scripts.")
@operator_options
def cart(shop_id: str, quiet: bool, data: Path, url: str, token: str, as_json: bool, **given: Any) -> None:
    """Place a customer's cart: an order for the shop.

    Without --set customer.NAME=VALUE, a sample customer buys. ITEM is a listing's shop_uid, with the quantity if it is
    not 1, and perhaps other members of the line.

    \b
    kalathi cart --item MEM-64=2
    kalathi cart --shop YlpD0KROym --item MEM-64=2 --item CABLE-C --payment-method cash_on_delivery
    kalathi cart --item MEM-64=1,unit_price=9.90 --set customer.first_name=Άννα --set customer.address.zip=54622
    kalathi cart --item MEM-64 --set invoice_details.company=ACME --set invoice_details.vat_number=094014201
    CODE=$(kalathi cart --item MEM-64 --quiet)
    """
    from kalathi.cli.struct_options import read_body
    from kalathi.marketplace.orders.model import NewCart
    from kalathi.simulation.catalogue import CUSTOMERS

    market = Market(data, url, token)
    chosen = shop_id or find_only_shop(market)
    body = {"payment_method": _CARD} | read_body(NewCart, given)
    body["customer"] = _merge(CUSTOMERS[0], body.get("customer", {}))
    body["items"] = [item | {"shop_id": chosen} for item in body["items"]]
    answer = operate(*market, lambda operator: operator.call("POST", "/marketplace/carts", body))
    lines = [
        in_one_line(order["code"]) if quiet else f"Order {in_one_line(order['code'])}: {paint_state(order['state'])}"
        for order in answer["orders"]
    ]
    show(as_json, answer, "\n".join(lines))


def _cart_options() -> list[click.Option]:
    from kalathi.cli.struct_options import Entry, make_options
    from kalathi.marketplace.orders.model import NewCart, NewCartItem

    item = Entry(NewCartItem, key=("shop_uid", "quantity"), defaults={"shop_id": "", "quantity": 1})
    help_text = "A product and its quantity; by default 1. May be repeated."
    return [
        click.Option(
            ["items", "--item"], type=item, metavar="UID[=QUANTITY]", multiple=True, required=True, help=help_text
        ),
        *make_options(NewCart, leave_out=("items",), defaults={"payment_method": _CARD}),
    ]


def _merge(sample: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the sample with the given members, also of the objects in it."""
    merged = {**sample, **given}
    return merged | {
        name: _merge(sample[name], value) for name, value in given.items() if isinstance(sample.get(name), dict)
    }
