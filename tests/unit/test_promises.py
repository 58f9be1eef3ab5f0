"""Promises: the pieces of open orders, which are not offered again."""

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
    assert promises.pieces(SHELF) == {"A": 2}
    promises.keep("o1")
    assert promises.pieces(SHELF) == {}


@pytest.mark.parametrize("state", [state for state in OrderState if state != OrderState.OPEN])
def test_in_any_other_state_nothing_is_promised(inbox: Inbox, state: OrderState) -> None:
    promises = Promises(inbox.publications)
    promises.note(_order(OrderState.OPEN), has_ended=False)
    promises.note(_order(state), has_ended=False)
    assert promises.pieces(SHELF) == {}


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
    assert promises.pieces(SHELF) == {}
    assert inbox.publications.take_moved({}) == []


def test_a_shop_that_publishes_nothing_records_no_moves(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "other.db")
    Promises(inbox.publications).note(_order(OrderState.OPEN), has_ended=False)
    assert inbox.publications.take_moved({}) == []
    inbox.close()
