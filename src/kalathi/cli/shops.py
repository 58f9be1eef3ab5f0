"""`kalathi shop`: the shops of a running marketplace."""

from pathlib import Path

import click

from kalathi.cli.operating import operate, operator_options, show


@click.group()
def shop() -> None:
    """Shops of a running marketplace: add, list, renew a token."""


@shop.command("add")
@click.argument("name")
@click.option("--domain", required=True, help="The shop's domain.")
@click.option("--webhook-url", default=None, help="Where order webhooks are sent.")
@click.option("--returns-webhook-url", default=None, help="Where return webhooks are sent; turns them on.")
@click.option("--street", default="Σταδίου", show_default=True, help="Street of the pickup location.")
@click.option("--street-number", default="1", show_default=True)
@click.option("--zip", "zip_code", default="10562", show_default=True)
@click.option("--city", default="Αθήνα", show_default=True)
@click.option("--region", default="Αττική", show_default=True)
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
    data: Path,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """Add a shop and show its API token, once.

    \b
    kalathi shop add "Demo shop" --domain shop.example --webhook-url http://127.0.0.1:9000/smart_cart_orders
    """
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
    show(as_json, {"id": shop_id, "api_token": api_token}, f"Shop {shop_id}\nAPI token (shown once) {api_token}")


@shop.command("list")
@operator_options
def shop_list(data: Path, url: str, token: str, as_json: bool) -> None:
    """List the shops: id, name, webhook URL."""
    shops = operate(data, url, token, lambda operator: operator.shops())
    lines = [f"{entry['id']}  {entry['name']}  {entry['webhook_url'] or 'no webhook URL'}" for entry in shops]
    show(as_json, shops, "\n".join(lines) or "No shops yet: kalathi shop add --help")


@shop.command("token")
@click.argument("shop_id")
@operator_options
def shop_token(shop_id: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Create a new API token for a shop; the old one stops working at once."""
    api_token = operate(data, url, token, lambda operator: operator.renew_token(shop_id))
    show(as_json, {"id": shop_id, "api_token": api_token}, f"API token (shown once) {api_token}")
