"""The published products: the last values that the marketplace has accepted, and the answers to them.

A row is marked as unconfirmed before its values are sent, and confirmed by the same transaction that stores them. So
after a lost answer or a killed process, the product counts as different and is sent again.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

import msgspec

from kalathi.contract.products import ProductUpdate
from kalathi.merchant.publishing import Count, Published, Target

# The moment since which a difference is not published.
UNPUBLISHED: Final = "unpublished since"
# The answer to values whose batch is not completed yet.
IN_PROGRESS: Final = "in progress"
_UPDATE: Final = msgspec.json.Decoder(ProductUpdate)


class Publication(NamedTuple):
    """The published values of a product. Prices are in cents, times in seconds since 1970. `answer` is the
    marketplace's: `success`, `no_change`, or a reason. `waiting_price` waits for a person. Without a confirmation, the
    marketplace may have other values."""

    product_id: str
    update: ProductUpdate | None
    counted: Count
    is_confirmed: bool
    published_at: float | None
    answer: str
    waiting_price: int | None
    allowed_price: int | None
    gone_at: float | None
    # The last values with a successful result; the values that the marketplace could not read, if they are newer.
    taken: ProductUpdate | None
    refused: ProductUpdate | None

    @property
    def published(self) -> Published:
        """The values with which new ones are compared."""
        # A batch without a result yet counts for the price too.
        baseline = self.taken or (self.update if self.answer == IN_PROGRESS else None)
        return Published(update=self.update, baseline=baseline, allowed_price=self.allowed_price)

    def has(self, update: ProductUpdate) -> bool:
        """Whether these values are published, or were refused."""
        return self.is_confirmed and update == (self.update if self.refused is None else self.refused)


class SentBatch(NamedTuple):
    """A batch whose status is still to be read. Times are in seconds since 1970."""

    batch_id: str
    tries: int
    not_before: float


_COLUMNS: Final = (
    "product_id, document, source, held, buffer, is_confirmed, published_at, answer, waiting_price, allowed_price,"
    " gone_at, taken, refused"
)


# As in the index `publications_failed`, without which each batch would read every row.
# A product that the source no longer names is gone at the marketplace too, soon.
_HAS_FAILED: Final = f"answer NOT IN ('', 'success', 'no_change', '{IN_PROGRESS}')"
_IS_FAILED: Final = f"{_HAS_FAILED} AND gone_at IS NULL"
# If a person allowed a price during the call, the product still counts as different.
_CONFIRM: Final = (
    "UPDATE publications SET document = ?1, source = ?2, held = ?3, buffer = ?4, published_at = ?5, refused = NULL,"
    " taken = CASE WHEN ?6 = '' THEN ?1 ELSE taken END, batch_id = ?7, is_confirmed = (allowed_price IS ?8),"
    " allowed_price = CASE WHEN allowed_price IS ?8 AND ?9 IS NULL THEN NULL ELSE allowed_price END,"
    # A failure stays until the next result is known.
    " answer = CASE WHEN ?6 <> '' AND answer NOT IN ('', 'success', 'no_change') THEN answer ELSE ?6 END"
    " WHERE product_id = ?10"
)
_REFUSE: Final = (
    "UPDATE publications SET refused = ?, source = ?, held = ?, buffer = ?, answer = ?, batch_id = '', is_confirmed = 1"
    " WHERE product_id = ?"
)
_IS_OFFERED: Final = "json_extract(CAST(document AS TEXT), '$.quantity') > 0"
# No batch waits for longer before its status is read. A later time comes from a clock that was ahead.
_LONGEST_WAIT_SECONDS: Final = 600.0


class Publications:
    """The published products and the open batches of one inbox file."""

    def __init__(self, connection: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._connection = connection
        self._transaction = transaction

    def of(self, product_ids: Sequence[str]) -> dict[str, Publication]:
        """Return the rows of these products, by id."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM publications WHERE product_id IN (SELECT value FROM json_each(?))",  # noqa: S608  (fixed column names)
            (json.dumps(list(product_ids)),),
        )
        return {row[0]: _read(row) for row in rows}

    def page(self, after: str, limit: int) -> list[Publication]:
        """Return rows in the order of their ids, after this id."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM publications WHERE product_id > ? ORDER BY product_id LIMIT ?",  # noqa: S608  (fixed column names)
            (after, limit),
        )
        return [_read(row) for row in rows]

    def begin(self, targets: Iterable[Target]) -> None:
        """Mark the products as unconfirmed, before their values are sent."""
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO publications (product_id, is_confirmed, answer, batch_id) VALUES (?, 0, '', '')"
                " ON CONFLICT (product_id) DO UPDATE SET is_confirmed = 0 WHERE is_confirmed",
                [(target.update.product_id,) for target in targets],
            )

    def confirm(self, targets: Sequence[Target], batch_id: str, now: float, look_at: float) -> None:
        """Store the values of a batch that the marketplace has accepted, and plan to read its status at `look_at`. An
        empty id means that there is no status."""
        with self._transaction():
            answer = IN_PROGRESS if batch_id else ""
            self._connection.executemany(_CONFIRM, [_confirmed(target, now, answer, batch_id) for target in targets])
            if batch_id:
                self._connection.execute(
                    "INSERT OR REPLACE INTO batches (batch_id, tries, not_before) VALUES (?, 0, ?)",
                    (batch_id, look_at),
                )

    def refuse(self, targets: Sequence[Target], answers: Mapping[str, str]) -> None:
        """Store values that the marketplace cannot read, with its reasons by product. They are sent again only after a
        change."""
        rows = [
            (msgspec.json.encode(update), *counted, answers[update.product_id], update.product_id)
            for update, counted, *_ in targets
        ]
        with self._transaction():
            self._connection.executemany(_REFUSE, rows)

    def note_waiting_price(self, product_id: str, price: int | None) -> None:
        """Store the price of a product that waits for a person, in cents; None if none waits."""
        self._connection.execute("UPDATE publications SET waiting_price = ? WHERE product_id = ?", (price, product_id))

    def list_allowed(self) -> list[str]:
        """Return the products whose price a person has allowed, and which are not published with it yet."""
        rows = self._connection.execute(
            "SELECT product_id FROM publications WHERE allowed_price IS NOT NULL AND NOT is_confirmed"
        )
        return [row[0] for row in rows]

    def note_moved(self, uids: Iterable[str]) -> None:
        """Record that an order has changed the marketplace's own numbers of these uids."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO moved SELECT ? WHERE EXISTS (SELECT 1 FROM publications)",
                [(uid,) for uid in uids],
            )

    def take_moved(self, products: Mapping[str, str]) -> list[str]:
        """Mark the products of these uids as unconfirmed, forget the uids, and return the products. `products`: the
        product of each variation."""
        uids = [row[0] for row in self._connection.execute("SELECT uid FROM moved")]
        if not uids:
            return []
        found = list(dict.fromkeys(products.get(uid, uid) for uid in uids))
        with self._transaction():
            self._connection.executemany(
                "UPDATE publications SET is_confirmed = 0 WHERE product_id = ?", [(product_id,) for product_id in found]
            )
            self._connection.executemany("DELETE FROM moved WHERE uid = ?", [(uid,) for uid in uids])
        return found

    def next_batch(self, now: float) -> SentBatch | None:
        """Return an open batch whose status is due, the oldest first, or None."""
        row = self._connection.execute(
            "SELECT batch_id, tries, not_before FROM batches WHERE not_before <= ? OR not_before > ?"
            " ORDER BY not_before LIMIT 1",
            (now, now + _LONGEST_WAIT_SECONDS),
        ).fetchone()
        return None if row is None else SentBatch(*row)

    def postpone_batch(self, batch: SentBatch, not_before: float) -> None:
        """Read the status of a batch again later."""
        self._connection.execute(
            "UPDATE batches SET tries = tries + 1, not_before = ? WHERE batch_id = ?", (not_before, batch.batch_id)
        )

    def end_batch(self, batch_id: str, answers: dict[str, str]) -> None:
        """Store the answers of a completed batch by product, and forget the batch. A product of a later batch keeps the
        answer to that one."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE publications SET answer = ?1, taken = CASE WHEN ?1 IN ('success', 'no_change') THEN document"
                " ELSE taken END WHERE product_id = ?2 AND batch_id = ?3",
                [(answer, product_id, batch_id) for product_id, answer in answers.items()],
            )
            if not answers:
                self._connection.execute(
                    "UPDATE publications SET answer = '', taken = document WHERE batch_id = ? AND answer = ?",
                    (batch_id, IN_PROGRESS),
                )
            self._connection.execute("DELETE FROM batches WHERE batch_id = ?", (batch_id,))

    def count_batches(self) -> int:
        """Return the number of batches whose status is not known yet."""
        count: int = self._connection.execute("SELECT count(*) FROM batches").fetchone()[0]
        return count

    def list_failed(self, limit: int) -> list[Publication]:
        """Return the products whose last values the marketplace has not taken."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM publications WHERE {_IS_FAILED} ORDER BY product_id LIMIT ?",  # noqa: S608  (fixed texts)
            (limit,),
        )
        return [_read(row) for row in rows]

    def count_failed(self) -> int:
        """Return how many products have such an answer."""
        count: int = self._connection.execute(
            f"SELECT count(*) FROM publications WHERE {_IS_FAILED}"  # noqa: S608  (a fixed text)
        ).fetchone()[0]
        return count

    def mark_all_unconfirmed(self) -> None:
        """Make every product count as different, so that everything is sent again."""
        self._connection.execute("UPDATE publications SET is_confirmed = 0 WHERE is_confirmed")

    def forget_gone(self, before: float) -> None:
        """Delete the products that the source no longer names since a time before this one (seconds since 1970), and
        that are published as such."""
        self._connection.execute(
            f"DELETE FROM publications WHERE gone_at < ? AND is_confirmed AND NOT {_IS_OFFERED}",  # noqa: S608  (a fixed text)
            (before,),
        )

    def mark_gone(self, product_ids: Iterable[str], at: float) -> None:
        """Record that the source no longer names these products, at their first absence (seconds since 1970)."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE publications SET gone_at = ?, waiting_price = NULL, allowed_price = NULL"
                " WHERE product_id = ? AND gone_at IS NULL",
                [(at, product_id) for product_id in product_ids],
            )

    def clear_gone(self, product_ids: Iterable[str]) -> None:
        """Record that the source names these products again."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE publications SET gone_at = NULL WHERE product_id = ?",
                [(product_id,) for product_id in product_ids],
            )

    def allow_prices(self, product_ids: Sequence[str]) -> list[str]:
        """Allow the prices that wait for a person: of these products, or of all if none is named. Return the
        products."""
        named = json.dumps(list(product_ids))
        rows = self._connection.execute(
            "UPDATE publications SET allowed_price = waiting_price, is_confirmed = 0 WHERE waiting_price IS NOT NULL"
            " AND (? = '[]' OR product_id IN (SELECT value FROM json_each(?))) RETURNING product_id",
            (named, named),
        )
        return sorted(row[0] for row in rows.fetchall())

    def forget_permission(self, product_id: str) -> None:
        """Forget an allowed price, because the price is no longer below the earlier one."""
        self._connection.execute("UPDATE publications SET allowed_price = NULL WHERE product_id = ?", (product_id,))

    def list_waiting_prices(self, limit: int) -> list[Publication]:
        """Return the products whose price waits for a person."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM publications WHERE waiting_price IS NOT NULL ORDER BY product_id LIMIT ?",  # noqa: S608  (fixed column names)
            (limit,),
        )
        return [_read(row) for row in rows]

    def counts(self) -> tuple[int, int]:
        """Return the number of published products, and of those that are not confirmed."""
        row = self._connection.execute(
            "SELECT count(*) FILTER (WHERE document IS NOT NULL), count(*) FILTER (WHERE NOT is_confirmed)"
            " FROM publications"
        ).fetchone()
        return row[0], row[1]


def _confirmed(target: Target, now: float, answer: str, batch_id: str) -> tuple[Any, ...]:
    """Return the parameters of `_CONFIRM`. A published price needs no permission any more."""
    update, counted, waiting_price, allowed_price = target
    values = (msgspec.json.encode(update), *counted, now, answer, batch_id)
    return (*values, allowed_price, waiting_price, update.product_id)


def _read(row: tuple[Any, ...]) -> Publication:
    product_id, document, source, held, buffer, is_confirmed, *rest = row
    update, *others = (None if text is None else _UPDATE.decode(text) for text in (document, *rest[-2:]))
    count = Count(source or 0, held or 0, buffer or 0)
    return Publication(product_id, update, count, bool(is_confirmed), *rest[:-2], *others)
