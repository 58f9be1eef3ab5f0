"""The shop's own system behind Kalathi's connector: it writes CSV files, and does the shop's own work, namely
invoices, readiness and tracking details. The connector calls `hand_over` (`--hand-over-to`)."""

import json
import os
from pathlib import Path
from typing import Any

from kalathi.merchant import AsyncClient
from kalathi.merchant.csv_folder import CsvFolder

_done: set[tuple[str, str]] = set()
_files: list[CsvFolder] = []


async def hand_over(content: dict[str, Any]) -> None:
    """Take an order or a return."""
    if not _files:
        _files.append(CsvFolder(Path(os.environ["BACK_OFFICE_FOLDER"])))
    subject = content[content["kind"]]
    code = subject.get("code") or subject["return_code"]
    await _files[0].receive(code, json.dumps(content).encode())
    if content["kind"] == "order" and subject["state"] == "accepted":
        async with AsyncClient(os.environ["BACK_OFFICE_URL"], os.environ["BACK_OFFICE_TOKEN"]) as client:
            await _finish(client, subject)


async def _finish(client: AsyncClient, order: dict[str, Any]) -> None:
    code = order["code"]
    if order["invoice"] and _is_first(code, "invoice"):
        await client.upload_invoice(code, b"%PDF-1.4\n%%EOF\n")
    if order.get("fulfillment_mode") == "fbm" and _is_first(code, "tracking"):
        await client.tracking_details(code, [("acs", "224085551")])
    if order["set_as_ready_required"] and order["courier_voucher"] and _is_first(code, "ready"):
        await client.set_as_ready(code)


def _is_first(code: str, what: str) -> bool:
    is_first = (code, what) not in _done
    _done.add((code, what))
    return is_first
