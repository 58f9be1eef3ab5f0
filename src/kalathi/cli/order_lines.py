"""Lines of an order on the command line: a line is named by its id, or by the shop's own id of the product."""

from collections.abc import Iterable
from typing import Any


def replace_line_ids(entries: Iterable[dict[str, Any]], order: dict[str, Any]) -> list[dict[str, Any]]:
    """Replace the names of the entries by the ids of the order's lines. An unknown name stays, and the marketplace
    refuses it."""
    lines = order["line_items"]
    ids = {line["id"] for line in lines}
    by_uid = {line[name]: line["id"] for name in ("shop_uid", "shop_variation_uid") for line in lines if name in line}
    return [entry if entry["id"] in ids else entry | {"id": by_uid.get(entry["id"], entry["id"])} for entry in entries]
