"""`kalathi customer`: find, export and remove the personal data of a customer."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from kalathi.cli.lazy_commands import LazyCommands
from kalathi.cli.operating import fail, operate, operator_options, show
from kalathi.cli.tables import render_table

_shop_option = click.option("--shop", "shop_id", default=None, help="Only orders of this shop.")


@click.command("find")
@click.argument("text")
@_shop_option
@operator_options
def customer_find(text: str, shop_id: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """Find the orders of a customer by name, or by any other words of the orders.

    \b
    kalathi customer find "Παπαδοπούλου"
    """
    answer = _find(text, shop_id, data, url, token)
    rows = [
        (
            order["code"],
            order["state"],
            order["created_at"][:10],
            f"{order['customer']['first_name']} {order['customer']['last_name']}",
        )
        for order in answer["orders"]
    ]
    table = render_table(("order", "state", "placed", "customer"), rows)
    show(as_json, answer, table if rows else "No order with personal data has these words.")


@click.command("export")
@click.argument("text")
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The new file, in JSON."
)
@_shop_option
@operator_options
def customer_export(
    text: str, target: Path, shop_id: str | None, data: Path, url: str, token: str, as_json: bool
) -> None:
    """Write all data of a customer into a file, which only you can read.

    \b
    kalathi customer export "Παπαδοπούλου" --to customer.json
    """
    if target.exists():
        fail(f"--to {target}: the file is there already. Name another one.")
    answer = _find(text, shop_id, data, url, token)
    target.touch(mode=0o600)
    target.write_text(json.dumps(answer, ensure_ascii=False, indent=2) + "\n", "utf-8")
    number = len(answer["orders"])
    show(as_json, {"file": str(target), "orders": number}, f"{number} orders in {target}")


@click.command("anonymise")
@click.argument("codes", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@operator_options
def customer_anonymise(codes: tuple[str, ...], yes: bool, data: Path, url: str, token: str, as_json: bool) -> None:
    """Remove the customer's data from finished orders. It cannot be undone.

    \b
    kalathi customer anonymise 261128-1234567
    """
    if not yes:
        click.confirm(f"Remove the customer's data from {len(codes)} orders?", abort=True)
    body = {"codes": list(codes)}
    answer = operate(data, url, token, lambda operator: operator.call("POST", "/marketplace/customers/anonymise", body))
    lines = [f"{code}: removed" for code in answer["anonymised"]]
    lines += [f"{entry['code']}: kept. {' '.join(entry['messages'])}" for entry in answer["refused"]]
    show(as_json, answer, "\n".join(lines))


def _find(text: str, shop_id: str | None, data: Path, url: str, token: str) -> Any:
    query = {"q": text, "shop_id": shop_id}
    return operate(data, url, token, lambda operator: operator.call("GET", "/marketplace/customers", query=query))


def _load_commands() -> Iterable[click.Command]:
    return [customer_find, customer_export, customer_anonymise]


customer = click.Group(
    "customer",
    commands=LazyCommands(_load_commands),
    short_help="Personal data of customers: find, export, anonymise.",
    help="Personal data of customers: find, export, anonymise.",
)
