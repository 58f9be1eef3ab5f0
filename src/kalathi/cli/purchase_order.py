"""`kalathi purchase-order`: a shop announces goods to the marketplace's warehouse."""

import asyncio
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from kalathi.cli.operating import check_address, fail, show, token_of


@click.command("purchase-order")
@click.argument("goods", type=click.Path(path_type=Path))
@click.option("--supplier", required=True, help="The supplier's id or code.")
@click.option("--expected", required=True, type=click.DateTime(["%Y-%m-%d"]), help="When the goods arrive.")
@click.option("--url", envvar="KALATHI_URL", required=True, help="The marketplace's address.")
@click.option("--token", envvar="KALATHI_TOKEN", default="", help="The shop's API token.")
@click.option(
    "--token-file", envvar="KALATHI_TOKEN_FILE", type=click.Path(path_type=Path), help="A file that holds the token."
)
@click.option(
    "--vendor", envvar="KALATHI_VENDOR", default="skroutz", show_default=True, help="Vendor name in the Accept header."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def purchase_order(as_json: bool, **given: Any) -> None:
    """Announce the GOODS of a CSV file to the marketplace's warehouse: product_uid, expected_quantity, and if need be
    keep_serial_numbers, has_expiration_date (yes or no) and storage_conditions (0 dry, 1 air conditioned,
    2 refrigerated, 3 frozen). The same file for the same day and supplier is announced once a day, however often it is
    sent.

    \b
    kalathi purchase-order goods.csv --supplier s1 --expected 2026-12-01 --url http://127.0.0.1:8090 --token-file token
    """
    from kalathi.merchant.client import CallError
    from kalathi.merchant.purchasing import PurchaseFileError, read_goods

    check_address(given["url"])
    token = token_of(given["token"], given["token_file"])
    try:
        lines = read_goods(given["goods"])
        code = asyncio.run(_announce_goods(given, token, lines))
    except PurchaseFileError as error:
        fail(f"{error}.")
    except CallError as error:
        fail(str(error))
    show(as_json, {"code": code}, f"{code}: {len(lines)} products are announced for {_day(given['expected'])}.")


async def _announce_goods(given: dict[str, Any], token: str, lines: list[Any]) -> str:
    from kalathi.contract.requests import PurchaseOrderRequest
    from kalathi.merchant.client import AsyncClient

    async with AsyncClient(given["url"], token, vendor=given["vendor"]) as client:
        known = [supplier async for supplier in client.all_suppliers()]
        found = next((entry for entry in known if given["supplier"] in {entry.id, entry.code}), None)
        if found is None:
            codes = ", ".join(entry.code for entry in known) or "none; POST /fbs/suppliers makes one"
            fail(f"there is no supplier {given['supplier']}. Known: {codes}.")
        request = PurchaseOrderRequest(expected_date=_day(given["expected"]), supplier_id=found.id, line_items=lines)
        # The key makes the command safe to repeat after a lost answer: the same goods for the same day are announced
        # once.
        key = hashlib.sha256(f"{found.id} {_day(given['expected'])} ".encode() + given["goods"].read_bytes())
        return await client.create_purchase_order(request, idempotency_key=key.hexdigest())


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
