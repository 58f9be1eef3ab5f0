"""Returns in the database: reads, and the rows of their change sets."""

from typing import Final

from kalathi.contract.codec import decode, encode
from kalathi.contract.words import ReturnState
from kalathi.marketplace.kernel.actors import Actor
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import Row, View
from kalathi.marketplace.orders.store import insert_move
from kalathi.marketplace.returns.machine import Step
from kalathi.marketplace.returns.model import FoundReturn, Return
from kalathi.marketplace.shops.store import shop_of

# A condition on a due row `d`: its return still waits for the shop's review.
STILL_UNDER_REVIEW: Final = (
    "EXISTS (SELECT 1 FROM returns r WHERE r.shop_id = d.shop_id AND r.code = d.subject"  # noqa: S608  (fixed text only)
    f" AND r.state = '{ReturnState.PENDING_MERCHANT_REVIEW}')"
)


_FOUND = "SELECT s.document, r.document, r.version FROM"
_BY_CODE = (
    f"{_FOUND} returns r JOIN shops s ON s.shop_id = r.shop_id"  # noqa: S608  (fixed text only)
    " WHERE r.code = :code AND r.shop_id = (SELECT shop_id FROM directory WHERE code = :code)"
)


def by_code(view: View, code: str) -> FoundReturn | None:
    """The return with this code, of any shop."""
    row = view.one(_BY_CODE, {"code": code})
    return None if row is None else _read_return(row)


def page_of_returns(view: View, filters: dict[str, Value], limit: int, offset: int) -> tuple[list[FoundReturn], int]:
    """Return a page of returns, newest first, and their total number. `filters` can have `shop_id`, `state` and
    `order_code`."""
    conditions = " AND ".join(f"r.{name} = :{name}" for name in filters)
    where = f"WHERE {conditions}" if conditions else ""
    rows = view.all(
        f"{_FOUND} returns r JOIN shops s ON s.shop_id = r.shop_id {where}"
        " ORDER BY r.created_at DESC, r.code DESC LIMIT :limit OFFSET :offset",
        {**filters, "limit": limit, "offset": offset},
    )
    counted = view.one(f"SELECT count(*) FROM returns r {where}", filters)  # noqa: S608  (names only)
    return [_read_return(row) for row in rows], counted[0] if counted else 0


def insert_return(step: Step, at_millis: int, actor: Actor) -> ChangeSet:
    """Return the rows of a new return, without its event."""
    returned = step.returned
    row: dict[str, Value] = {
        "shop_id": returned.shop_id,
        "code": returned.return_code,
        "order_code": returned.order_code,
        "state": returned.state,
        "version": 1,
        "created_at": to_millis(returned.created_at),
        "document": encode(returned),
    }
    directory: dict[str, Value] = {"code": returned.return_code, "shop_id": returned.shop_id}
    return ChangeSet(
        Insert("returns", row),
        Insert("directory", directory),
        _timeline_row(step, 1, at_millis, actor),
        insert_move(returned.shop_id, returned.return_code, 1, at_millis, step.action, "", ""),
    )


def update_return(found: FoundReturn, step: Step, at_millis: int, actor: Actor) -> ChangeSet:
    """Return the rows of a transition. They apply only if the return is still at the version that was read."""
    returned, version = step.returned, found.version + 1
    values: dict[str, Value] = {"state": returned.state, "version": version, "document": encode(returned)}
    key: dict[str, Value] = {"shop_id": returned.shop_id, "code": returned.return_code}
    return ChangeSet(
        Update("returns", key, {**values}, when={"version": found.version}),
        _timeline_row(step, version, at_millis, actor),
    )


def _timeline_row(step: Step, version: int, at_millis: int, actor: Actor) -> Insert:
    row: dict[str, Value] = {
        "shop_id": step.returned.shop_id,
        "code": step.returned.return_code,
        "version": version,
        "at": at_millis,
        "event": step.action,
        "state": step.returned.state,
        "actor": str(actor),
    }
    return Insert("timeline", row)


def _read_return(row: Row) -> FoundReturn:
    return FoundReturn(decode(row[1], Return), row[2], shop_of(row[0]))
