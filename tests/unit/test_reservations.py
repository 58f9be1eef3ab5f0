"""Reservations: pieces that have left count until the source itself shows that it counts without them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.reservations import Claim, Reading, Reservation, recount
from kalathi.merchant.stock import Shelf

HOUR = 3600.0


class Held:
    """The reservations of a file; `says` is what a file of stock shows next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0
        self.lag_seconds = 0.0
        self.inbox = Inbox(folder / "inbox.db")

    def restart(self) -> None:
        self.inbox.close()
        self.inbox = Inbox(self.folder / "inbox.db")

    def reserve(self, code: str, *claims: tuple[str | tuple[str, ...], int]) -> None:
        self.inbox.reservations.reserve(
            code, [Claim(uids if isinstance(uids, tuple) else (uids,), quantity) for uids, quantity in claims]
        )

    def left(self, code: str, *claims: tuple[str | tuple[str, ...], int]) -> None:
        self.reserve(code, *claims)
        self.inbox.reservations.mark_left(code, self.seconds)

    def after_reading(self, unreadable: tuple[str, ...] = (), **pieces: int) -> dict[str, int]:
        named = {uid.replace("_", "-"): number for uid, number in pieces.items()}
        shelf = Shelf(named, unreadable=dict.fromkeys(unreadable, "?"))
        self.inbox.reservations.see(shelf, self.seconds, lags=True, lag_seconds=self.lag_seconds)
        return self.inbox.reservations.pieces()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    opened = Held(tmp_path)
    yield opened
    opened.inbox.close()


def test_an_order_is_held_once_and_released_as_a_whole(held: Held) -> None:
    for _ in range(2):
        held.reserve("o1", ("A", 2), ("B", 1))
    held.reserve("o2", ("A", 1))
    assert held.inbox.reservations.pieces() == {"A": 3, "B": 1}
    assert held.inbox.reservations.of("o1") == {"A": 2, "B": 1}
    held.inbox.reservations.release("o1")
    assert held.inbox.reservations.pieces() == {"A": 1}


def test_only_a_more_complete_answer_replaces_a_reservation(held: Held) -> None:
    held.after_reading(A=9, A_1=9)
    poor, rich = (("A", 2),), ((("A-1", "A"), 2), ("B", 1))
    held.reserve("o1", *poor)
    assert held.inbox.reservations.pieces() == {"A": 2}
    held.reserve("o1", *rich)
    held.reserve("o1", *poor)
    assert held.inbox.reservations.of("o1") == {"A-1": 2, "B": 1}
    held.restart()
    assert held.inbox.reservations.pieces() == {"A-1": 2, "B": 1}


def test_an_answer_without_a_line_or_uid_is_less_complete(held: Held) -> None:
    held.after_reading(A=9, A_1=9)
    held.reserve("o1", (("A-1", ""), 2))
    held.reserve("o1", (("A-1", "A"), 2))
    held.reserve("o2", ("B", 1))
    held.reserve("o2", ("A", 1), ("B", 1))
    assert held.inbox.reservations.pieces() == {"A-1": 2, "A": 1, "B": 1}
    # The source stops naming the variation, so the product's own number counts.
    assert held.after_reading(A=9) == {"A": 3, "B": 1}


def test_a_reservation_of_dispatched_pieces_is_never_replaced(held: Held) -> None:
    held.after_reading(A=9)
    held.left("o1", ("A", 2))
    held.reserve("o1", ("A", 5))
    assert held.inbox.reservations.pieces() == {"A": 2}


def test_unchanged_numbers_release_nothing(held: Held) -> None:
    held.after_reading(A=5)
    held.left("o1", ("A", 2))
    for hours in range(3):
        held.seconds = hours * HOUR
        held.restart()
        assert held.after_reading(A=5, B=hours) == {"A": 2}


def test_a_lower_number_releases_that_many_pieces_oldest_first(held: Held) -> None:
    held.after_reading(A=9)
    held.left("o2", ("A", 2))
    held.seconds = 1
    held.left("o1", ("A", 3))
    held.restart()
    assert held.after_reading(A=6) == {"A": 2}
    assert held.inbox.reservations.of("o1") == {"A": 2}
    assert held.after_reading(A=6) == {"A": 2}
    assert held.after_reading(A=1) == {}


def test_pieces_not_yet_dispatched_are_released_by_no_number(held: Held) -> None:
    held.reserve("o1", ("A", 2))
    for number in (5, 3, 9, 0):
        assert held.after_reading(A=number) == {"A": 2}


def test_a_higher_number_releases_pieces_dispatched_before(held: Held) -> None:
    held.after_reading(A=5)
    held.left("o1", ("A", 2))
    held.reserve("o2", ("A", 1))
    held.restart()
    assert held.after_reading(A=6) == {"A": 1}


def test_a_higher_number_keeps_pieces_dispatched_within_the_lag(held: Held) -> None:
    held.lag_seconds = 600
    held.after_reading(A=5)
    held.left("o1", ("A", 1))
    held.seconds = 500
    held.left("o2", ("A", 2))
    held.seconds = 999
    held.after_reading(A=5)
    held.seconds = 1000
    held.restart()
    assert held.after_reading(A=9) == {"A": 2}
    held.seconds = 9000
    assert held.after_reading(A=9) == {"A": 2}, "the same number says nothing, however late"
    assert held.after_reading(A=8) == {"A": 1}
    assert held.after_reading(A=10) == {}


def test_the_lag_is_counted_from_the_last_reading_of_the_earlier_number(held: Held) -> None:
    held.lag_seconds = 600
    held.seconds = 1000
    held.after_reading(A=5)
    held.left("o1", ("A", 1))
    held.seconds = 9000
    # The file may have been counted at 1001, even if its own time now says otherwise.
    assert held.after_reading(A=9) == {"A": 1}
    assert held.after_reading(A=10) == {}


@pytest.mark.parametrize(
    "shows", [{}, {"B": 1}, {"unreadable": ("A",)}], ids=["nothing", "other products", "no number"]
)
def test_a_reading_without_the_number_does_not_renew_the_earlier_one(held: Held, shows: dict[str, Any]) -> None:
    held.after_reading(A=5, B=1)
    held.reserve("o1", ("A", 2))
    held.seconds = 1000
    # The export has read the shelf, and has written only a part of it until now.
    held.after_reading(**shows)
    held.left("o1")
    for held.seconds in (1100, 1200):
        held.after_reading(**shows)
    held.restart()
    assert held.after_reading(A=9, B=1) == {"A": 2}, "the rest of the file may be from before the departure"
    held.seconds = 1300
    held.after_reading(A=9, B=1)
    assert held.after_reading(A=10, B=1) == {}


def test_an_unreadable_number_releases_nothing_and_is_not_compared_with(held: Held) -> None:
    held.after_reading(A=5)
    held.left("o1", ("A", 2))
    assert held.after_reading(("A",)) == {"A": 2}
    held.restart()
    assert held.after_reading(A=5) == {"A": 2}
    assert held.after_reading(("A",)) == {"A": 2}
    assert held.after_reading(A=4) == {"A": 1}


def test_a_reading_without_any_product_releases_nothing(held: Held) -> None:
    held.after_reading(A=5)
    held.left("o1", ("A", 2))
    held.after_reading()
    held.seconds = 2 * HOUR
    held.after_reading()
    assert held.after_reading(A=5) == {"A": 2}


def test_a_product_missing_for_an_hour_counts_as_zero_pieces(held: Held) -> None:
    held.after_reading(A=5, B=1)
    held.left("o1", ("A", 2))
    held.after_reading(B=1)
    held.seconds = 60
    held.restart()
    assert held.after_reading(A=5, B=1) == {"A": 2}, "the rest of the file was written later"
    held.after_reading(B=1)
    held.seconds += HOUR
    assert held.after_reading(A=5, B=1) == {}, "after none there are five: the shop has counted anew"
    held.left("o2", ("A", 1))
    held.after_reading(B=1)
    held.seconds += HOUR
    assert held.after_reading(B=2) == {}


def test_a_reservation_counts_under_the_uid_that_the_source_names_now(held: Held) -> None:
    held.reserve("o1", (("S-44", "S"), 1), (("S-42", "S"), 2))
    assert held.after_reading(S=9) == {"S": 3}
    held.restart()
    assert held.after_reading(S=9, S_44=4, S_42=5) == {"S-44": 1, "S-42": 2}
    assert held.inbox.reservations.of("o1") == {"S-44": 1, "S-42": 2}
    assert held.after_reading(("S-42",), S=9) == {"S": 1, "S-42": 2}, "what cannot be read does not fall back"
    assert held.after_reading(S=9) == {"S": 3}


def test_a_number_under_another_uid_starts_a_new_comparison(held: Held) -> None:
    held.after_reading(S=9)
    held.left("o1", (("S-44", "S"), 2))
    assert held.after_reading(S=9, S_44=4) == {"S-44": 2}, "four is not less than nine: it is another number"
    held.restart()
    assert held.after_reading(S=9, S_44=3) == {"S-44": 1}
    assert held.after_reading(S=8) == {"S": 1}
    assert held.after_reading(S=7) == {}


def test_a_dispatch_during_an_outage_is_compared_with_the_next_reading(held: Held) -> None:
    held.after_reading(A=5)
    held.reserve("o1", ("A", 1))
    held.inbox.reservations.mark_left("o1", 0, starts_anew=True)
    assert held.after_reading(A=3) == {"A": 1}
    assert held.after_reading(A=2) == {}


def test_a_live_source_releases_only_the_named_dispatched_orders(held: Held) -> None:
    held.left("o1", ("A", 1))
    held.left("o2", ("A", 2))
    held.reserve("o3", ("A", 4))
    held.inbox.reservations.release_left(["o1", "o3"])
    assert held.inbox.reservations.pieces() == {"A": 6}
    assert held.inbox.reservations.list_departed() == ["o2"]
    assert held.inbox.reservations.list_holders() == ["o3"]


_SHELVES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["S", "S-44", "S-42"]), st.integers(0, 9)),
        st.sets(st.sampled_from(["S", "S-44"])),
        st.sampled_from([0.0, 100.0, HOUR]),
    ),
    min_size=1,
    max_size=8,
)
_STEPS = st.lists(st.tuples(st.sampled_from(["reserve", "left", "release"]), st.integers(0, 5)), max_size=10)


@given(_SHELVES, _STEPS, st.sampled_from([0.0, 150.0]))
def test_reserved_sums_match_the_file_and_never_exceed_the_orders(
    tmp_path_factory: Any, shelves: list[Any], steps: list[tuple[str, int]], lag_seconds: float
) -> None:
    held = Held(tmp_path_factory.mktemp("held"))
    reserved: dict[str, int] = {}
    try:
        for pieces, unreadable, seconds in shelves:
            held.seconds += seconds
            readable = {uid: number for uid, number in pieces.items() if uid not in unreadable}
            shelf = Shelf(readable, unreadable=dict.fromkeys(unreadable, "?"))
            held.inbox.reservations.see(shelf, held.seconds, lags=True, lag_seconds=lag_seconds)
            for step, number in steps[:2]:
                code = f"o{number}"
                if step == "release":
                    held.inbox.reservations.release(code)
                    reserved.pop(code, None)
                    continue
                held.reserve(code, (("S-44", "S"), 1), (("S",), number + 1))
                reserved[code] = number + 2
                if step == "left":
                    held.inbox.reservations.mark_left(code, held.seconds)
            del steps[:2]
            beside = Inbox(held.folder / "inbox.db", beside=True)
            assert beside.reservations.pieces() == held.inbox.reservations.pieces()
            beside.close()
            for code in held.inbox.reservations.list_holders():
                assert sum(held.inbox.reservations.of(code).values()) == reserved[code], "it lies on the shelf"
            for code, quantity in reserved.items():
                assert sum(held.inbox.reservations.of(code).values()) <= quantity
    finally:
        held.inbox.close()


@given(st.integers(0, 9), st.integers(0, 9), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_a_change_of_the_number_releases_exactly_that_many_pieces(
    before: int, after: int, quantities: list[int]
) -> None:
    entries = [
        Reservation(f"o{at}", ("A",), quantity, float(at), "A", before, None) for at, quantity in enumerate(quantities)
    ]
    left = recount(entries, Shelf({"A": after}), Reading(100.0, 99.0, 0.0))
    released = sum(quantities) - sum(entry.quantity for entry in left)
    if after > before:
        assert released == sum(quantities)
    else:
        assert released == min(before - after, sum(quantities))
    assert all(entry.number == after for entry in left)
    kept = [entry.code for entry in left if entry.quantity]
    assert kept == [entry.code for entry in entries[len(entries) - len(kept) :]], "the newest are kept"


def test_a_dispatch_during_an_outage_is_released_by_the_next_change(held: Held) -> None:
    shelf = Shelf({"A": 5})
    for _ in range(2):
        held.inbox.reservations.see(shelf, held.seconds, lags=True)
    held.reserve("o1", ("A", 2))
    held.inbox.reservations.mark_left("o1", held.seconds, starts_anew=True)
    # The source is back and shows what it showed before: the very same shelf.
    held.inbox.reservations.see(shelf, held.seconds, lags=True)
    assert held.inbox.reservations.pieces() == {"A": 2}
    assert held.after_reading(A=9) == {}
