"""Reservations: pieces are reserved from the acceptance of an order until the stock source no longer counts them.

While an order waits for the courier, its pieces are on the shelf, and the source counts them. After they have left, a
source that lags, such as a file, still counts them. When it stops doing so, its number of that product changes; there
is no other sign. `recount` contains the rule, and docs/decisions/0026 the reasons.

A reservation stores every uid of its order line: the size, the variation, the product. It counts under the uid that the
source names now. So it stays correct if an export begins or stops to name sizes.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NamedTuple

from kalathi.merchant.stock.shelf import Shelf

# A product may be missing because the file is incomplete. After this time, the source no longer lists it.
_GONE_SECONDS: Final = 3600.0
_STOCK_READ: Final = "stock read"
# The time of the last reading is written to the inbox file at most this often.
_READ_KEPT_SECONDS: Final = 60.0


class Claim(NamedTuple):
    """Pieces of an order, and the uids under which a source may count them, the most specific one first."""

    uids: tuple[str, ...]
    quantity: int


class Reservation(NamedTuple):
    """A claim of one order. Times are in seconds since 1970."""

    code: str
    uids: tuple[str, ...]
    quantity: int
    # The time at which the pieces left, as far as the connector knows; None while they are on the shelf.
    left_at: float | None
    # The uid under which the reservation counts.
    counted_as: str
    # The source's last readable number of that uid; None if there was none yet.
    number: int | None
    # The time of the first reading without the product; None while the source names it.
    gone_at: float | None
    # The last time at which the source showed `number`, if readings without a usable number have followed; else None.
    shown_until: float | None = None


class Reading(NamedTuple):
    """The time at which a lagging source was read, and the lag. Times are in seconds since 1970."""

    at: float
    # The reading before this one.
    before: float
    # The greatest delay of the source's numbers behind the shelf.
    lag_seconds: float


def recount(held: Sequence[Reservation], shelf: Shelf, reading: Reading) -> list[Reservation]:
    """Return the reservations after reading a lagging source. A reservation with quantity 0 is released.

    An unchanged number releases nothing. If a product's number fell, release as many pieces, the oldest departures
    first. If it rose, the shop has counted its stock again: release all departed pieces, except those that the source
    may not know yet. Those left after the earlier number was last read, or within the lag before.
    """
    if shelf.is_empty():
        return [_without_number(entry, reading) for entry in held]
    by_uid: defaultdict[str, list[Reservation]] = defaultdict(list)
    for entry in held:
        moved = _move_to_present_uid(entry, shelf)
        by_uid[moved.counted_as].append(moved)
    recounted: list[Reservation] = []
    for uid, entries in by_uid.items():
        if uid in shelf.pieces:
            recounted += _recount_product(entries, shelf.pieces[uid], reading)
        elif uid in shelf.unreadable:
            recounted += [_without_number(entry, reading) for entry in entries]
        else:
            recounted += [_without_product(_without_number(entry, reading), reading.at) for entry in entries]
    return recounted


def _move_to_present_uid(entry: Reservation, shelf: Shelf) -> Reservation:
    """Return the reservation under the uid that the source names now. Under a new uid, it has no earlier number."""
    uid = shelf.uid_of(entry.uids) or entry.counted_as
    if uid == entry.counted_as:
        return entry
    return entry._replace(counted_as=uid, number=None, gone_at=None, shown_until=None)


def _recount_product(entries: list[Reservation], number: int, reading: Reading) -> Iterator[Reservation]:
    before = [_number_before(entry, reading.at) for entry in entries]
    fallen = max((was - number for was in before if was is not None), default=0)
    oldest_first = sorted(zip(entries, before, strict=True), key=lambda pair: (pair[0].left_at or 0.0, pair[0].code))
    for entry, was in oldest_first:
        quantity = entry.quantity
        if entry.left_at is not None and was is not None:
            if number > was and entry.left_at <= _find_last_shown(entry, reading) - reading.lag_seconds:
                quantity = 0
            elif number < was:
                known = min(quantity, fallen, was - number)
                fallen -= known
                quantity -= known
        counted = entry._replace(quantity=quantity, number=number, gone_at=None, shown_until=None)
        yield entry if counted == entry else counted


def _find_last_shown(entry: Reservation, reading: Reading) -> float:
    """Return the last time at which the source showed the entry's number. The current number was written after that. An
    incomplete file is no proof, because the export may write the rest later with old numbers."""
    return reading.before if entry.shown_until is None else entry.shown_until


def _without_number(entry: Reservation, reading: Reading) -> Reservation:
    """Return the reservation after a reading without a usable number of its product."""
    return entry if entry.shown_until is not None else entry._replace(shown_until=reading.before)


def _number_before(entry: Reservation, now: float) -> int | None:
    was_gone = entry.gone_at is not None and now - entry.gone_at >= _GONE_SECONDS
    return 0 if was_gone else entry.number


def _without_product(entry: Reservation, now: float) -> Reservation:
    if entry.gone_at is None:
        return entry._replace(gone_at=now)
    if entry.left_at is not None and _number_before(entry, now) == 0:
        return entry._replace(quantity=0)
    return entry


def _fullness(claims: Sequence[Claim]) -> tuple[int, int]:
    """Return the number of pieces, and the number of uids that are not empty."""
    return sum(claim.quantity for claim in claims), sum(1 for claim in claims for uid in claim.uids if uid)


class Reservations:
    """The reservations of the merchant's file. Their sums are cached in memory, because adding up ten thousand
    reservations made each order take 2.5 ms longer."""

    def __init__(self, connection: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._connection = connection
        self._transaction = transaction
        self._sums: Counter[str] | None = None
        self._data_version = 0
        self._seen: Shelf | None = None
        # The time of the last reading, and the one that is stored in the file.
        self._last_read: float | None = None
        self._kept_read = 0.0

    def reserve(self, code: str, claims: Iterable[Claim]) -> None:
        """Reserve the pieces of an order. This works without the source: a claim moves to another uid as soon as the
        source names that uid.

        A second call changes nothing, with one exception: if the marketplace's first answer lacked a uid or a quantity,
        more complete claims replace the first ones while the pieces are on the shelf.
        """
        claims = list(claims)
        with self._changing():
            held = self._claims_of(code)
            if held is None or _fullness(claims) <= _fullness(held):
                return
            self._delete(code)
            for uids, quantity in claims:
                uid = uids[-1] if self._seen is None else self._seen.uid_of(uids) or uids[-1]
                number = None if self._seen is None else self._seen.pieces.get(uid)
                self._connection.execute(
                    "INSERT INTO reservations VALUES (?, ?, ?, NULL, ?, ?, NULL, NULL)",
                    (code, json.dumps(uids), quantity, uid, number),
                )
                if self._sums is not None:
                    self._sums[uid] += quantity

    def _claims_of(self, code: str) -> list[Claim] | None:
        """Return the reserved claims of an order; None if some of its pieces have left."""
        rows = self._connection.execute("SELECT uids, quantity, left_at FROM reservations WHERE code = ?", (code,))
        held = rows.fetchall()
        if any(left_at is not None for _, _, left_at in held):
            return None
        return [Claim(tuple(json.loads(uids)), quantity) for uids, quantity, _ in held]

    def release(self, code: str) -> None:
        """Free the pieces of an order."""
        with self._changing():
            self._delete(code)

    def _delete(self, code: str) -> None:
        gone = self._connection.execute(
            "DELETE FROM reservations WHERE code = ? RETURNING counted_as, quantity", (code,)
        ).fetchall()
        self._subtract(gone)

    def mark_left(self, code: str, at: float, *, starts_anew: bool = False) -> None:
        """Record that the pieces of an order have left the shelf at `at` (seconds since 1970); a later call does not
        change the time. `starts_anew`: the source is unreadable now, so later numbers are compared with its next
        one."""
        self._connection.execute(
            "UPDATE reservations SET left_at = ?, number = CASE WHEN ? THEN NULL ELSE number END"
            " WHERE code = ? AND left_at IS NULL",
            (at, starts_anew, code),
        )
        if starts_anew:
            # Compare the next shelf even if it is the same object.
            self._seen = None

    def release_left(self, codes: Iterable[str]) -> None:
        """Release the departed pieces of these orders, after a live source was read."""
        with self._changing():
            for code in codes:
                gone = self._connection.execute(
                    "DELETE FROM reservations WHERE code = ? AND left_at IS NOT NULL RETURNING counted_as, quantity",
                    (code,),
                ).fetchall()
                self._subtract(gone)

    def see(self, shelf: Shelf, now: float, *, lags: bool, lag_seconds: float = 0.0) -> None:
        """Apply the shelf to all reservations. Skip the work if it is the same object as before."""
        if shelf is self._seen:
            self._note_read(now)
            return
        held = self._all()
        # The file's own time is not used, because a program can write the same content again.
        reading = Reading(now, self._read_at(), lag_seconds)
        after = recount(held, shelf, reading) if lags else [_move_to_present_uid(entry, shelf) for entry in held]
        unchanged = {id(entry) for entry in held}
        changed = [entry for entry in after if id(entry) not in unchanged]
        if changed:
            with self._changing():
                self._sums = None
                for entry in changed:
                    self._write(entry)
        self._seen = shelf
        self._note_read(now)

    def _read_at(self) -> float:
        """Return the time of the last reading, in seconds since 1970. After a restart it can be a minute too old."""
        if self._last_read is None:
            row = self._connection.execute("SELECT at FROM moments WHERE name = ?", (_STOCK_READ,)).fetchone()
            self._last_read = self._kept_read = row[0] if row else 0.0
        return self._last_read

    def _note_read(self, now: float) -> None:
        self._read_at()
        self._last_read = now
        if now < self._kept_read or now - self._kept_read >= _READ_KEPT_SECONDS:
            self._kept_read = now
            self._connection.execute("INSERT OR REPLACE INTO moments VALUES (?, ?)", (_STOCK_READ, now))

    def of(self, code: str) -> dict[str, int]:
        """Return the pieces that an order holds, by the uids under which they count."""
        rows = self._connection.execute(
            "SELECT counted_as, sum(quantity) FROM reservations WHERE code = ? GROUP BY counted_as", (code,)
        )
        return dict(rows)

    def pieces(self) -> dict[str, int]:
        """Return how many pieces of each product are held, over all orders, by the uids under which they count."""
        # `kalathi merchant settle` releases pieces in a process of its own. The number changes after its commit.
        data_version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if self._sums is None or data_version != self._data_version:
            self._data_version = data_version
            rows = self._connection.execute("SELECT counted_as, sum(quantity) FROM reservations GROUP BY counted_as")
            self._sums = Counter(dict(rows))
        return dict(self._sums)

    def find_holders(self, codes: Sequence[str]) -> set[str]:
        """Return those of these orders that hold pieces."""
        rows = self._connection.execute(
            "SELECT DISTINCT code FROM reservations WHERE code IN (SELECT value FROM json_each(?))",
            (json.dumps(list(codes)),),
        )
        return {row[0] for row in rows}

    def list_holders(self) -> list[str]:
        """Return the orders that hold pieces on the shelf."""
        rows = self._connection.execute("SELECT DISTINCT code FROM reservations WHERE left_at IS NULL ORDER BY code")
        return [row[0] for row in rows]

    def list_departed(self) -> list[str]:
        """Return the orders with departed pieces that are still reserved, because the source may still count them."""
        rows = self._connection.execute(
            "SELECT DISTINCT code FROM reservations WHERE left_at IS NOT NULL ORDER BY code"
        )
        return [row[0] for row in rows]

    def _all(self) -> list[Reservation]:
        rows = self._connection.execute(
            "SELECT code, uids, quantity, left_at, counted_as, number, gone_at, shown_until FROM reservations"
        )
        return [Reservation(code, tuple(json.loads(uids)), *rest) for code, uids, *rest in rows]

    def _write(self, entry: Reservation) -> None:
        key = (entry.code, json.dumps(entry.uids))
        if entry.quantity <= 0:
            self._connection.execute("DELETE FROM reservations WHERE code = ? AND uids = ?", key)
        else:
            self._connection.execute(
                "UPDATE reservations SET quantity = ?, counted_as = ?, number = ?, gone_at = ?, shown_until = ?"
                " WHERE code = ? AND uids = ?",
                (entry.quantity, entry.counted_as, entry.number, entry.gone_at, entry.shown_until, *key),
            )

    def _subtract(self, rows: list[tuple[str, int]]) -> None:
        if self._sums is not None:
            for uid, quantity in rows:
                self._sums[uid] -= quantity
                if not self._sums[uid]:
                    del self._sums[uid]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._transaction():
                yield
        except BaseException:
            # After a rollback, the cached sums are wrong.
            self._sums = None
            raise
