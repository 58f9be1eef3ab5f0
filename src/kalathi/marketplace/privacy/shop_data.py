"""Export and erase all data of a shop."""

import base64
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import msgspec

from kalathi.contract.codec import decode, encode
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Value
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.orders.model import Cart
from kalathi.marketplace.privacy import refusals, store
from kalathi.marketplace.request_log.log import RequestLog
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.shops.model import Shop, ShopStatus, without_passwords

_ROWS_AT_ONCE: Final = 200


async def export_shop(database: Database, shop_id: str) -> AsyncIterator[bytes]:
    """Yield all data of a shop as lines of JSON, each with a `table` and its columns. Documents are JSON, files are
    Base64, and times are milliseconds since 1970 in UTC. Secrets are left out. Rows that change during the export can
    appear in their old or new form. Raises StorageError."""
    for table in store.exported_tables():
        after: list[Value] | None = None
        while True:
            rows = await database.read_list(
                partial(store.read_rows, table=table, shop_id=shop_id, after=after, limit=_ROWS_AT_ONCE)
            )
            for row in rows:
                if table.name == "shops":
                    row["document"] = encode(without_passwords(decode(bytes(row["document"]), Shop)))  # type: ignore[arg-type]  # Documents are bytes.
                yield encode({"table": str(table.name), **{name: _show(value) for name, value in row.items()}}) + b"\n"
            if len(rows) < _ROWS_AT_ONCE:
                break
            after = store.list_key(table, rows[-1])


async def erase_shop(database: Database, request_log: RequestLog | None, shop_id: str) -> None:
    """Delete a closed shop with everything that belongs to it, also its logged calls. Each table is deleted in a commit
    of its own, the shop last, so that an interrupted erasure can be repeated. Raises NOT_FOUND, StorageError, and
    CONFLICT for a shop that is not closed."""
    shop = await database.read(lambda view: find_shop(view, shop_id))
    if shop.status is not ShopStatus.CLOSED:
        raise refuse(refusals.ShopNotClosed())
    if request_log is not None:
        request_log.forget_shop(shop_id)
    await _erase_carts(database, shop_id)
    await database.run(lambda view: (store.drop_answers_of_shop(view, shop_id), None))
    # Twice, because a webhook in flight or the counting of figures can add rows meanwhile.
    for name in (*store.shop_tables(), *store.shop_tables(), "shops"):
        await database.commit(ChangeSet(Delete(name, {"shop_id": shop_id}, touches=None)))
    rest = ChangeSet(
        Delete("sessions", {"place": shop_id}, touches=None),
        Delete("sandbox_faults", {"name": shop_id}, touches=None),
        Delete("idempotency_keys", {"owner": shop_id}, touches=None),
        Delete("day_figures", {"shop_id": "", "name": f"failed={shop_id}"}, touches=None),
    )
    await database.commit(rest)


async def _erase_carts(database: Database, shop_id: str) -> None:
    """Delete the carts of which this shop has all products."""
    [table] = [table for table in store.exported_tables() if table.name == "orders"]
    after: list[Value] | None = None
    while True:
        rows = await database.read_list(
            partial(store.read_rows, table=table, shop_id=shop_id, after=after, limit=_ROWS_AT_ONCE)
        )
        cart_ids = {decode(bytes(row["document"]), _InCart).cart_id for row in rows}  # type: ignore[arg-type]  # Documents are bytes.
        carts = await database.read(partial(store.load_carts, cart_ids=cart_ids))
        own = [cart.id for cart in carts if _is_of(cart, shop_id)]
        await database.commit(ChangeSet(*(Delete("carts", {"cart_id": cart_id}, touches=None) for cart_id in own)))
        if len(rows) < _ROWS_AT_ONCE:
            return
        after = store.list_key(table, rows[-1])


class _InCart(msgspec.Struct):
    cart_id: str


def _is_of(cart: Cart, shop_id: str) -> bool:
    return all(item.shop_id == shop_id for item in cart.content.items)


def _show(value: Value) -> Any:
    """Return a column's value for the export: documents as JSON, other bytes in Base64."""
    if not isinstance(value, bytes):
        return value
    try:
        return msgspec.Raw(encode(msgspec.json.decode(value)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return base64.b64encode(value).decode()
