"""`kalathi shop`: the shops of a running marketplace."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from kalathi.cli.completing import complete_shops
from kalathi.cli.lazy_commands import LazyCommands
from kalathi.cli.operating import Market, fail, operate, operator_options, show
from kalathi.cli.shop_choice import find_only_shop
from kalathi.cli.tables import render_members, render_table

_LOCATION_FLAGS: Final = {"street_name": "street"}
_shop_argument = click.argument("shop_id", required=False, default="", shell_complete=complete_shops)


@click.command("add")
@click.argument("name")
@click.option("--domain", required=True, help="The shop's domain.")
@click.option("--webhook-url", default=None, help="Where order webhooks are sent.")
@click.option("--returns-webhook-url", default=None, help="Where return webhooks are sent; turns them on.")
@click.option("--street", default="Σταδίου", show_default=True, help="Street of the pickup location.")
@click.option("--street-number", default="1", show_default=True)
@click.option("--zip", "zip_code", default="10562", show_default=True)
@click.option("--city", default="Αθήνα", show_default=True)
@click.option("--region", default="Αττική", show_default=True)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the API token into this new file, which only you can read, and do not show it.",
)
@operator_options
def shop_add(
    name: str,
    domain: str,
    webhook_url: str | None,
    returns_webhook_url: str | None,
    street: str,
    street_number: str,
    zip_code: str,
    city: str,
    region: str,
    token_file: Path | None,
    data: Path,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """Add a shop and show its API token, once.

    \b
    kalathi shop add "Demo shop" --domain shop.example --webhook-url http://127.0.0.1:9000/smart_cart_orders
    kalathi shop add "Demo shop" --domain shop.example --token-file token
    """
    if token_file is not None and token_file.exists():
        fail(f"--token-file {token_file}: the file is there already. Name another one.")
    location = {
        "street_name": street,
        "street_number": street_number,
        "zip": zip_code,
        "city": city,
        "region": region,
    }
    new = {
        "name": name,
        "domain": domain,
        "webhook_url": webhook_url,
        "returns_webhook_url": returns_webhook_url,
        "returns_webhook_enabled": returns_webhook_url is not None,
        "locations": [location],
    }
    shop_id, api_token = operate(data, url, token, lambda operator: operator.add_shop(new))
    answer, where = {"id": shop_id, "api_token": api_token}, f"API token (shown once) {api_token}"
    if token_file is not None:
        _write_token(token_file, api_token)
        answer, where = {"id": shop_id}, f"API token in {token_file}"
    show(as_json, answer, f"Shop {shop_id}\n{where}")


@click.command("list")
@operator_options
def shop_list(data: Path, url: str, token: str, as_json: bool) -> None:
    """List the shops: id, name, webhook URL."""
    shops = operate(data, url, token, lambda operator: operator.shops())
    rows = [(entry["id"], entry["name"], entry["webhook_url"] or "no webhook URL") for entry in shops]
    table = render_table(("shop", "name", "webhook URL"), rows)
    show(as_json, shops, table if rows else "No shops yet: kalathi shop add --help")


@click.command("show")
@_shop_argument
@operator_options
def shop_show(shop_id: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show a shop's settings and its locations. SHOP_ID is optional if there is only one shop."""
    market = Market(data, url, token)
    path = _path(shop_id or find_only_shop(market))
    answer = operate(*market, lambda operator: operator.call("GET", path))
    show(as_json, answer, _render_shop(answer["shop"]))


@click.command("edit")
@_shop_argument
@operator_options
def shop_edit(shop_id: str, data: Path, url: str, token: str, as_json: bool, **given: Any) -> None:
    """Change the named settings of a shop. SHOP_ID is optional if there is only one shop.

    \b
    kalathi shop edit --webhook-url http://127.0.0.1:9000/hook
    kalathi shop edit YlpD0KROym --no-webhook-url --fulfillment-mode fbm
    """
    from kalathi.cli.struct_options import read_body
    from kalathi.marketplace.shops.model import ShopChanges

    market = Market(data, url, token)
    changes = read_body(ShopChanges, given)
    if not changes:
        raise click.UsageError("Name at least one setting (kalathi shop edit --help).")
    path = _path(shop_id or find_only_shop(market))
    answer = operate(*market, lambda operator: operator.call("PATCH", path, changes))
    show(as_json, answer, _render_shop(answer["shop"]))


@click.command("add-location")
@_shop_argument
@operator_options
def shop_add_location(shop_id: str, data: Path, url: str, token: str, as_json: bool, **given: Any) -> None:
    """Add a pickup location to a shop. SHOP_ID is optional if there is only one shop.

    \b
    kalathi shop add-location --street Τσιμισκή --street-number 5 --zip 54624 --city Θεσσαλονίκη
    """
    from kalathi.cli.struct_options import read_body
    from kalathi.marketplace.shops.model import NewLocation

    market = Market(data, url, token)
    path = f"{_path(shop_id or find_only_shop(market))}/locations"
    answer = operate(*market, lambda operator: operator.call("POST", path, read_body(NewLocation, given)))
    show(as_json, answer, _render_shop(answer["shop"]))


@click.command("export")
@_shop_argument
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The new file, in NDJSON."
)
@operator_options
def shop_export(shop_id: str, target: Path, data: Path, url: str, token: str, as_json: bool) -> None:
    """Write all data of a shop into a file, which only you can read: one line of JSON for each row. SHOP_ID is optional
    if there is only one shop.

    \b
    kalathi shop export YlpD0KROym --to shop.ndjson
    """
    if target.exists():
        fail(f"--to {target}: the file is there already. Name another one.")
    market = Market(data, url, token)
    path = f"{_path(shop_id or find_only_shop(market))}/export"
    target.touch(mode=0o600)
    number = operate(*market, lambda operator: operator.download(path, target))
    show(as_json, {"file": str(target), "bytes": number}, f"{number:,} bytes in {target}")


@click.command("erase")
@click.argument("shop_id", shell_complete=complete_shops)
@click.option("--yes", is_flag=True, help="Do not ask.")
@operator_options
def shop_erase(shop_id: str, yes: bool, data: Path, url: str, token: str, as_json: bool) -> None:
    """Delete a closed shop with all of its data. It cannot be undone.

    \b
    kalathi shop edit YlpD0KROym --status closed
    kalathi shop erase YlpD0KROym
    """
    if not yes:
        click.confirm(f"Delete shop {shop_id} with all of its orders, returns and files?", abort=True)
    answer = operate(data, url, token, lambda operator: operator.call("DELETE", _path(shop_id)))
    show(as_json, answer, f"Shop {shop_id} is erased.")


@click.command("reset")
@_shop_argument
@operator_options
def shop_reset(shop_id: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Delete a shop's orders, returns, webhooks, listings, stock and faults. Its settings and its token remain. Only a
    sandbox can do it. SHOP_ID is optional if there is only one shop."""
    market = Market(data, url, token)
    path = f"{_path(shop_id or find_only_shop(market))}/reset"
    answer = operate(*market, lambda operator: operator.call("POST", path))
    show(as_json, answer, f"Shop {answer['shop']['id']} was reset.")


@click.command("token")
@click.argument("shop_id", shell_complete=complete_shops)
@operator_options
def shop_token(shop_id: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Create a new API token for a shop; the old one stops working at once."""
    api_token = operate(data, url, token, lambda operator: operator.renew_token(shop_id))
    show(as_json, {"id": shop_id, "api_token": api_token}, f"API token (shown once) {api_token}")


@click.command("products-token")
@_shop_argument
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the token into this new file, which only you can read, and do not show it.",
)
@operator_options
def shop_products_token(shop_id: str, token_file: Path | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """Create a token of the Products API for a shop, with which it publishes stock and prices. An earlier one stops
    working at once. SHOP_ID is optional if there is only one shop.

    \b
    kalathi shop products-token --token-file products-token
    """
    if token_file is not None and token_file.exists():
        fail(f"--token-file {token_file}: the file is there already. Name another one.")
    market = Market(data, url, token)
    chosen = shop_id or find_only_shop(market)
    answer = operate(*market, lambda operator: operator.call("POST", f"{_path(chosen)}/products_token"))
    shown, where = {"id": chosen, **answer}, f"Products token (shown once) {answer['products_token']}"
    if token_file is not None:
        _write_token(token_file, answer["products_token"], "products-token")
        shown, where = {"id": chosen}, f"Products token in {token_file}"
    show(as_json, shown, where)


def _write_token(file: Path, api_token: str, command: str = "token") -> None:
    try:
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(f"{api_token}\n", "utf-8")
    except OSError as error:
        fail(
            f"--token-file {file}: {error.strerror}. The shop is there; make a new token: kalathi shop {command} --help"
        )


def _path(shop_id: str) -> str:
    return f"/marketplace/shops/{quote(shop_id, safe='')}"


def _render_shop(shop: dict[str, Any]) -> str:
    members = render_members({name: value for name, value in shop.items() if name != "locations"})
    rows = [
        (place["id"], f"{place['street_name']} {place['street_number']}".strip(), place["zip"], place["city"])
        for place in shop["locations"]
    ]
    return f"{members}\n\n{render_table(('location', 'street', 'zip', 'city'), rows)}"


def _commands() -> list[click.Command]:
    from kalathi.cli.struct_options import make_options
    from kalathi.marketplace.shops.model import NewLocation, ShopChanges

    shop_edit.params[1:1] = make_options(ShopChanges)
    shop_add_location.params[1:1] = make_options(NewLocation, flags=_LOCATION_FLAGS)
    tokens = [shop_token, shop_products_token]
    return [shop_add, shop_list, shop_show, shop_edit, shop_add_location, shop_reset, *tokens, shop_export, shop_erase]


shop = click.Group(
    "shop",
    commands=LazyCommands(_commands),
    short_help="Shops: add, list, show, edit, reset, renew a token.",
    help="Shops of a running marketplace: add, list, show, edit, add a location, reset, renew a token.",
)
