"""Promises: the pieces of open orders, which are not offered again."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kalathi.contract.orders import LineItem, Order
from kalathi.contract.words import OrderState
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.promises import Promises
from kalathi.merchant.publishing import Count, Target
from kalathi.merchant.stock import Shelf
from tests.unit.test_publishing_commands import make_update

SHELF = Shelf(pieces={"A": 5})


def _order(state: OrderState, *, code: str = "o1", from_warehouse: bool = False) -> Order:
    line = LineItem(id="l", shop_uid="A", quantity=2)
    return Order(code=code, state=state, line_items=[line], fulfilled_by_skroutz=from_warehouse)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "inbox.db")
    opened.publications.begin([Target(make_update("A"), Count(5, 0, 0))])
    yield opened
    opened.close()


def test_the_pieces_of_an_open_order_are_promised_until_they_are_reserved(inbox: Inbox) -> None:
    promises = Promises(inbox.publications)
    promises.note(_order(OrderState.OPEN), has_ended=False)
    assert promises.list_open() == ["o1"]
    assert promises.pieces(SHELF, ()) == {"A": 2}
    assert promises.pieces(SHELF, {"o1"}) == {}
    promises.drop("o1")
    assert promises.pieces(SHELF, ()) == {}


def test_the_orders_are_known_when_each_was_fetched_or_could_not_be_for_ten_minutes(inbox: Inbox) -> None:
    promises = Promises(inbox.publications)
    assert not promises.are_known(0.0)
    promises.await_orders(["o1", "o2", "o3"], 0.0)
    promises.await_orders(["o4"], 1.0)
    promises.note(_order(OrderState.OPEN), has_ended=False)
    promises.note(_order(OrderState.DELIVERED, code="o2"), has_ended=False)
    assert not promises.are_known(599.0)
    assert promises.are_known(600.0)
    promises.drop("o3")
    assert promises.are_known(1.0)


def test_a_move_that_cannot_be_recorded_is_recorded_with_the_next_look(inbox: Inbox) -> None:
    promises = Promises(inbox.publications)
    inbox.close()
    with pytest.raises(sqlite3.ProgrammingError):
        promises.note(_order(OrderState.OPEN), has_ended=False)
    assert promises.list_open() == []


@pytest.mark.parametrize("state", [state for state in OrderState if state != OrderState.OPEN])
def test_in_any_other_state_nothing_is_promised(inbox: Inbox, state: OrderState) -> None:
    promises = Promises(inbox.publications)
    promises.note(_order(OrderState.OPEN), has_ended=False)
    promises.note(_order(state), has_ended=False)
    assert promises.pieces(SHELF, ()) == {}


def test_an_order_moves_the_number_of_the_marketplace_when_it_comes_and_when_it_ends(inbox: Inbox) -> None:
    promises = Promises(inbox.publications)
    steps = [
        (OrderState.OPEN, False, ["A"]),
        (OrderState.OPEN, False, []),
        (OrderState.ACCEPTED, False, []),
        (OrderState.ACCEPTED, False, []),
        (OrderState.DISPATCHED, False, []),
        (OrderState.CANCELLED, True, ["A"]),
    ]
    for state, has_ended, moved in steps:
        promises.note(_order(state), has_ended=has_ended)
        assert inbox.publications.take_moved({}) == moved, state
    # An order that a person has accepted before the connector has seen it.
    promises.note(_order(OrderState.ACCEPTED, code="o2"), has_ended=False)
    assert inbox.publications.take_moved({"A": "P"}) == ["P"]


def test_the_pieces_of_the_marketplaces_warehouse_are_not_the_shops(inbox: Inbox) -> None:
    promises = Promises(inbox.publications)
    promises.note(_order(OrderState.OPEN, from_warehouse=True), has_ended=False)
    assert promises.pieces(SHELF, ()) == {}
    assert inbox.publications.take_moved({}) == []


def test_a_shop_that_publishes_nothing_records_no_moves(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "other.db")
    Promises(inbox.publications).note(_order(OrderState.OPEN), has_ended=False)
    assert inbox.publications.take_moved({}) == []
    inbox.close()
