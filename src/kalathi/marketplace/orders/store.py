"""Orders in the database: reads, and the rows of their change sets."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec import Struct

from kalathi.contract.codec import decode, encode
from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.actors import Actor
from kalathi.marketplace.kernel.clock import athens, from_millis, to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import Row, View
from kalathi.marketplace.orders.machine import Step
from kalathi.marketplace.orders.model import Cart, FoundOrder, Order
from kalathi.marketplace.orders.uploads import Upload, UploadKind
from kalathi.marketplace.shops.model import Shop, ShopStatus
from kalathi.marketplace.shops.store import shop_of

# A condition on a due row `d`: its order is still open.
STILL_OPEN: Final = (
    "EXISTS (SELECT 1 FROM orders o WHERE o.shop_id = d.shop_id AND o.code = d.subject"  # noqa: S608  (fixed text only)
    f" AND o.state = '{OrderState.OPEN}')"
)


class Caller(NamedTuple):
    """The shop of a token with its version, and the requested order if it is the shop's."""

    shop: Shop
    found: FoundOrder | None
    shop_version: int = 0
    # The name of an additional token; empty for the shop's own.
    token_name: str = ""


class Versions(NamedTuple):
    """The shop of a token with its version, and the version of the requested order."""

    shop_id: str
    shop_version: int
    version: int


class TimelineEntry(Struct, frozen=True, kw_only=True):
    """One transition of an order: its business time, its action as `event`, the new state, and its cause as a kind and
    perhaps a name, such as `shop:Maria`; empty for a transition of an earlier version."""

    at: datetime
    event: str
    version: int
    state: str
    actor: str = ""


# Token, shop and order in one statement: the hot path of the merchants' API reads the database once. A subquery of this
# form finds the shop also in a database that is spread over nodes, where it becomes a statement of its own.
_CALLER = """
SELECT s.document, o.document, o.version, s.version FROM shops s
LEFT JOIN orders o ON o.shop_id = s.shop_id AND o.code = :code
WHERE s.shop_id = (SELECT shop_id FROM api_tokens WHERE token_hash = :token_hash)"""
# For a token that is not in api_tokens, if shops may have additional ones.
_EXTRA_CALLER = _CALLER.replace("api_tokens", "extra_tokens")
_VERSIONS = """
SELECT s.shop_id, s.version, o.version FROM shops s JOIN orders o ON o.shop_id = s.shop_id AND o.code = :code
WHERE s.shop_id = (SELECT shop_id FROM api_tokens WHERE token_hash = :token_hash)"""

_BY_CODE = """
SELECT s.document, o.document, o.version FROM orders o JOIN shops s ON s.shop_id = o.shop_id
WHERE o.code = :code AND o.shop_id = (SELECT shop_id FROM directory WHERE code = :code)"""


def for_token(view: View, token_hash: bytes, code: str, *, takes_extra: bool = False) -> Caller | None:
    """Return the shop of this token, with its order of this code if there is one. None for an unknown token. With
    `takes_extra`, the token may be an additional one."""
    row = view.one(_CALLER, {"token_hash": token_hash, "code": code})
    name = ""
    if row is None and takes_extra:
        row = view.one(_EXTRA_CALLER, {"token_hash": token_hash, "code": code})
        named = view.one("SELECT name FROM extra_tokens WHERE token_hash = :token_hash", {"token_hash": token_hash})
        name = named[0] if row and named else ""
    if row is None or (shop := shop_of(row[0])).status is ShopStatus.CLOSED:
        return None
    return Caller(shop, None if row[1] is None else _read_order(row), row[3], name)


def versions_for_token(view: View, token_hash: bytes, code: str) -> Versions | None:
    """Return the versions of a token's shop and its order of this code; None if one of them does not exist."""
    row = view.one(_VERSIONS, {"token_hash": token_hash, "code": code})
    return None if row is None else Versions(*row)


def by_code(view: View, code: str) -> FoundOrder | None:
    """The order with this code, of any shop."""
    row = view.one(_BY_CODE, {"code": code})
    return None if row is None else _read_order(row)


def cart(view: View, cart_id: str) -> Cart | None:
    """The cart of an order."""
    row = view.one("SELECT document FROM carts WHERE cart_id = :cart_id", {"cart_id": cart_id})
    return None if row is None else decode(row[0], Cart)


def timeline(view: View, shop_id: str, code: str) -> list[TimelineEntry]:
    """The timeline of an order, oldest first."""
    rows = view.all(
        "SELECT at, event, version, state, actor FROM timeline"
        " WHERE shop_id = :shop_id AND code = :code ORDER BY version",
        {"shop_id": shop_id, "code": code},
    )
    return [
        TimelineEntry(at=athens(from_millis(at)), event=event, version=version, state=state, actor=actor)
        for at, event, version, state, actor in rows
    ]


def orders_in(view: View, shop_id: str, state: OrderState, since_millis: int) -> list[Order]:
    """Return the shop's orders in this state whose last change was at or after a business time."""
    rows = view.all(
        "SELECT document FROM orders WHERE shop_id = :shop_id AND state = :state AND updated_at >= :since",
        {"shop_id": shop_id, "state": state, "since": since_millis},
    )
    return [decode(row[0], Order) for row in rows]


def recent_orders(
    view: View, state: str | None, limit: int, offset: int, shop_id: str = ""
) -> tuple[list[FoundOrder], int]:
    """Return a page of the orders of one shop or of all shops, newest first, and their total number."""
    parameters: dict[str, Value] = {}
    parameters |= {"state": state} if state else {}
    parameters |= {"shop_id": shop_id} if shop_id else {}
    conditions = " AND ".join(f"o.{name} = :{name}" for name in parameters)
    where = f"WHERE {conditions}" if conditions else ""
    rows = view.all(
        "SELECT s.document, o.document, o.version FROM orders o JOIN shops s ON s.shop_id = o.shop_id"  # noqa: S608  (names only)
        f" {where} ORDER BY o.created_at DESC, o.code DESC LIMIT :limit OFFSET :offset",
        {**parameters, "limit": limit, "offset": offset},
    )
    counted = view.one(f"SELECT count(*) FROM orders o {where}", parameters)  # noqa: S608  (fixed text only)
    return [_read_order(row) for row in rows], counted[0] if counted else 0


def latest_orders(
    view: View, state: str | None, part_of_code: str, limit: int, offset: int, most: int
) -> tuple[list[FoundOrder], int]:
    """Return a page of the orders of all shops in this state, whose code contains this text of letters, digits and
    dashes, newest first, and their number: among the latest `most` orders only."""
    parameters: dict[str, Value] = {"most": most}
    parameters |= ({"state": state} if state else {}) | ({"part": f"%{part_of_code}%"} if part_of_code else {})
    latest = "SELECT shop_id, code, state, created_at FROM orders ORDER BY created_at DESC, code DESC LIMIT :most"
    tests = {"state": "x.state = :state", "part": "x.code LIKE :part"}
    where = " AND ".join(tests[name] for name in parameters if name in tests)
    among = f"({latest}) x" + (f" WHERE {where}" if where else "")
    rows = view.all(
        "SELECT s.document, o.document, o.version FROM"  # noqa: S608  (fixed text only)
        f" (SELECT * FROM {among} ORDER BY x.created_at DESC, x.code DESC LIMIT :limit OFFSET :offset) p"
        " JOIN orders o ON o.shop_id = p.shop_id AND o.code = p.code JOIN shops s ON s.shop_id = p.shop_id"
        " ORDER BY p.created_at DESC, p.code DESC",
        {**parameters, "limit": limit, "offset": offset},
    )
    counted = view.one(f"SELECT count(*) FROM {among}", parameters)  # noqa: S608  (fixed text only)
    return [_read_order(row) for row in rows], counted[0] if counted else 0


def codes_with_beginning(view: View, beginning: str, limit: int) -> list[str]:
    """Return up to `limit` codes of orders with this beginning of letters, digits and dashes, the latest first."""
    found: list[str] = []
    last = beginning + "~"
    while len(found) < limit:
        # The directory also has the codes of returns and purchase orders.
        rows = view.all(
            "SELECT code, shop_id FROM directory WHERE code >= :first AND code < :last ORDER BY code DESC LIMIT :limit",
            {"first": beginning, "last": last, "limit": limit},
        )
        keys = [(shop_id, code) for code, shop_id in rows]
        sql = "SELECT code FROM orders WHERE shop_id = :shop_id AND code = :code"
        present = {row[0] for row in view.for_each(("shop_id", "code"), keys, sql, {})} if keys else set()
        found += [code for code, _ in rows if code in present]
        if len(rows) < limit:
            break
        last = rows[-1][0]
    return found[:limit]


def orders_of_shop(
    view: View, shop_id: str, states: Sequence[OrderState], since_millis: int, limit: int, offset: int
) -> tuple[list[FoundOrder], int]:
    """Return a page of a shop's orders in these states, changed at or after a time, newest change first; and the
    total."""
    parameters: dict[str, Value] = {f"state{number}": state for number, state in enumerate(states)}
    names = ", ".join(f":{name}" for name in parameters)
    counted = view.one(
        "SELECT count(*) FROM orders WHERE shop_id = :shop_id AND updated_at >= :since"  # noqa: S608  (names only)
        f" AND state IN ({names})",
        {**parameters, "shop_id": shop_id, "since": since_millis},
    )
    return page_of_shop(view, shop_id, states, since_millis, limit, offset), counted[0] if counted else 0


def page_of_shop(
    view: View, shop_id: str, states: Sequence[OrderState], since_millis: int, limit: int, offset: int
) -> list[FoundOrder]:
    """Return a page of a shop's orders in these states, changed at or after a time, newest change first.

    The statement reads each state's part of the index separately, so the cost depends on the page and not on the number
    of orders.
    """
    parameters: dict[str, Value] = {"shop_id": shop_id, "since": since_millis, "limit": limit, "offset": offset}
    parameters["most"] = limit + offset
    places = []
    for number, state in enumerate(states):
        parameters[f"state{number}"] = state
        places.append(
            "SELECT * FROM (SELECT code, updated_at FROM orders WHERE shop_id = :shop_id"  # noqa: S608  (names only)
            f" AND state = :state{number} AND updated_at >= :since"
            f" ORDER BY updated_at DESC, code LIMIT :most) s{number}"
        )
    rows = view.all(
        "SELECT s.document, o.document, o.version FROM"  # noqa: S608  (names only)
        f" (SELECT code, updated_at FROM ({' UNION ALL '.join(places)}) u"
        " ORDER BY updated_at DESC, code LIMIT :limit OFFSET :offset) p"
        " JOIN orders o ON o.shop_id = :shop_id AND o.code = p.code JOIN shops s ON s.shop_id = o.shop_id"
        " ORDER BY p.updated_at DESC, p.code",
        parameters,
    )
    return [_read_order(row) for row in rows]


def orders_after(
    view: View, shop_id: str, states: Sequence[OrderState], after: tuple[int, str], until_millis: int, limit: int
) -> list[tuple[FoundOrder, int]]:
    """Return a shop's orders in these states that changed after a position (time in milliseconds since 1970, then code)
    and until a time, oldest change first. Each order comes with the time of its change, in milliseconds."""
    parameters: dict[str, Value] = {"shop_id": shop_id, "at": after[0], "code": after[1], "until": until_millis}
    parameters["limit"] = limit
    places = []
    for number, state in enumerate(states):
        parameters[f"state{number}"] = state
        places.append(
            "SELECT * FROM (SELECT code, updated_at FROM orders WHERE shop_id = :shop_id"  # noqa: S608  (names only)
            f" AND state = :state{number} AND updated_at >= :at AND updated_at <= :until"
            " AND (updated_at > :at OR code > :code)"
            f" ORDER BY updated_at, code LIMIT :limit) s{number}"
        )
    rows = view.all(
        "SELECT s.document, o.document, o.version, p.updated_at FROM"  # noqa: S608  (names only)
        f" (SELECT code, updated_at FROM ({' UNION ALL '.join(places)}) u ORDER BY updated_at, code LIMIT :limit) p"
        " JOIN orders o ON o.shop_id = :shop_id AND o.code = p.code JOIN shops s ON s.shop_id = o.shop_id"
        " ORDER BY p.updated_at, p.code",
        parameters,
    )
    return [(_read_order(row[:3]), row[3]) for row in rows]


def shop_of_code(view: View, code: str) -> str | None:
    """Return the id of the shop of an order, a return or a purchase order; None for an unknown code."""
    row = view.one("SELECT shop_id FROM directory WHERE code = :code", {"code": code})
    return None if row is None else row[0]


def orders_of_code(
    view: View, shop_id: str | None, state: str | None, part_of_code: str, limit: int, offset: int
) -> tuple[list[FoundOrder], int]:
    """Return a page of the orders whose code contains this text (letters, digits and dashes), newest code first, and
    the total. None as shop or state means any. The query scans the whole index."""
    named: dict[str, Value] = {"shop_id": shop_id, "state": state}
    parameters: dict[str, Value] = {name: value for name, value in named.items() if value is not None}
    where = " AND ".join([*(f"o.{name} = :{name}" for name in parameters), "o.code LIKE :part"])
    parameters["part"] = f"%{part_of_code}%"
    rows = view.all(
        "SELECT s.document, o.document, o.version FROM"  # noqa: S608  (fixed text only)
        f" (SELECT o.shop_id, o.code FROM orders o WHERE {where} ORDER BY o.code DESC LIMIT :limit OFFSET :offset) p"
        " JOIN orders o ON o.shop_id = p.shop_id AND o.code = p.code JOIN shops s ON s.shop_id = o.shop_id"
        " ORDER BY o.code DESC",
        {**parameters, "limit": limit, "offset": offset},
    )
    counted = view.one(f"SELECT count(*) FROM orders o WHERE {where}", parameters)  # noqa: S608  (fixed text only)
    return [_read_order(row) for row in rows], counted[0] if counted else 0


def change_mark(view: View, shop_id: str) -> str:
    """Return a mark that changes whenever one of the shop's orders changes: the time of the latest change, and the sum
    of the versions of the orders that changed in that millisecond. It reads the last index entry of each state."""
    parameters: dict[str, Value] = {"shop_id": shop_id}
    latest = []
    for number, state in enumerate(OrderState):
        parameters[f"state{number}"] = state
        latest.append(
            f"(SELECT max(updated_at) FROM orders WHERE shop_id = :shop_id AND state = :state{number})"  # noqa: S608  (names only)
        )
    row = view.one(f"SELECT {', '.join(latest)}", parameters) or ()
    changed_at = max((at for at in row if at is not None), default=0)
    names = ", ".join(f":state{number}" for number in range(len(OrderState)))
    versions = view.one(
        "SELECT sum(version) FROM orders WHERE shop_id = :shop_id AND updated_at = :changed_at"  # noqa: S608  (names only)
        f" AND state IN ({names})",
        {**parameters, "changed_at": changed_at},
    )
    return f"{changed_at}.{(versions[0] or 0) if versions else 0}"


def insert_cart(new: Cart) -> Insert:
    """Return the row of a new cart."""
    return Insert("carts", {"cart_id": new.id, "document": encode(new)})


def insert_order(step: Step, document: bytes, at_millis: int, actor: Actor) -> ChangeSet:
    """Return the rows of a new order, without its event."""
    order = step.order
    row: dict[str, Value] = {
        "shop_id": order.shop_id,
        "code": order.code,
        "state": order.state,
        "version": 1,
        "created_at": to_millis(order.created_at),
        "updated_at": at_millis,
        "document": document,
    }
    return ChangeSet(
        Insert("orders", row),
        Insert("directory", {"code": order.code, "shop_id": order.shop_id}),
        _timeline_row(step, 1, at_millis, actor),
        insert_move(order.shop_id, order.code, 1, at_millis, step.action, "", order.state),
    )


def update_order(found: FoundOrder, step: Step, document: bytes, at_millis: int, actor: Actor) -> ChangeSet:
    """Return the rows of a transition. They apply only if the order is still at the version that was read."""
    order = step.order
    version = found.version + 1
    values: dict[str, Value] = {"state": order.state, "version": version, "updated_at": at_millis, "document": document}
    key: dict[str, Value] = {"shop_id": order.shop_id, "code": order.code}
    before = found.order.state
    changes = ChangeSet(
        Update("orders", key, {**values}, when={"version": found.version}),
        _timeline_row(step, version, at_millis, actor),
    )
    if order.state is not before:
        changes.add(insert_move(order.shop_id, order.code, version, at_millis, step.action, before, order.state))
    return changes


def insert_move(shop_id: str, code: str, version: int, at_millis: int, event: str, before: str, after: str) -> Insert:
    """Return the row of a transition that the figures have to count, of an order or of a return."""
    row: dict[str, Value] = {"shop_id": shop_id, "code": code, "version": version, "at": at_millis, "event": event}
    return Insert("moves", row | {"before": before, "after": after})


def replace_upload(order: Order, kind: UploadKind, link: str, upload: Upload) -> ChangeSet:
    """Store a file of an order. It replaces an earlier file of this kind; the earlier link stops working."""
    key: dict[str, Value] = {"shop_id": order.shop_id, "code": order.code, "kind": kind}
    row: dict[str, Value] = {**key, "link": link, "mime_type": upload.mime_type, "content": upload.content}
    return ChangeSet(Delete("uploads", key, touches=None), Insert("uploads", row))


def upload(view: View, shop_id: str, link: str) -> Upload | None:
    """The file behind an unguessable link, or None."""
    row = view.one(
        "SELECT mime_type, content FROM uploads WHERE shop_id = :shop_id AND link = :link",
        {"shop_id": shop_id, "link": link},
    )
    return None if row is None else Upload(row[0], row[1])


def upload_links(view: View, shop_id: str, code: str) -> dict[str, tuple[str, str]]:
    """Return the link and the MIME type of an order's files, by kind."""
    rows = view.all(
        "SELECT kind, link, mime_type FROM uploads WHERE shop_id = :shop_id AND code = :code",
        {"shop_id": shop_id, "code": code},
    )
    return {kind: (link, mime_type) for kind, link, mime_type in rows}


def _timeline_row(step: Step, version: int, at_millis: int, actor: Actor) -> Insert:
    row: dict[str, Value] = {
        "shop_id": step.order.shop_id,
        "code": step.order.code,
        "version": version,
        "at": at_millis,
        "event": step.action,
        "state": step.order.state,
        "actor": str(actor),
    }
    return Insert("timeline", row)


def _read_order(row: Row) -> FoundOrder:
    return FoundOrder(row[1], row[2], shop_of(row[0]))
