"""The merchant's decision is pure: order and stock in, answer out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.orders import AcceptOptions, LineItem, LocationOption, Order, Size, WindowOption
from kalathi.contract.words import OrderState
from kalathi.merchant.decisions import Accept, LeaveToPerson, Nothing, Reject, claims, decide, unreadable_stock
from kalathi.merchant.inbox.reservations import Claim
from kalathi.merchant.policy import OrderPolicy
from kalathi.merchant.stock import Shelf

OPTIONS = AcceptOptions(
    number_of_parcels=[1, 2],
    pickup_location=[LocationOption(id="here", label="Σταδίου 1"), LocationOption(id="there", label="Ερμού 2")],
    pickup_window=[WindowOption(id=7, label="15:00 - 18:00, Τρί 03/12/19")],
)


def _order(*quantities: tuple[str, int]) -> Order:
    lines = [LineItem(id=f"line{n}", shop_uid=uid, quantity=quantity) for n, (uid, quantity) in enumerate(quantities)]
    return Order(code="261124-0000001", state=OrderState.OPEN, line_items=lines, accept_options=OPTIONS)


def test_an_order_that_is_in_stock_is_accepted_with_the_first_options() -> None:
    assert decide(_order(("A", 2), ("B", 1)), {"A": 2, "B": 5}) == Accept("here", 7, 1)


def test_limited_stock_names_the_line_and_the_available_quantity() -> None:
    decision = decide(_order(("A", 3), ("B", 1), ("C", 2)), {"A": 1, "B": 1, "C": 0})
    assert isinstance(decision, Reject)
    named = [(line.id, line.reason_id, line.available_quantity) for line in decision.lines]
    assert named == [("line0", 4, 1), ("line2", 1, None)]


def test_two_lines_of_one_product_never_get_the_same_piece() -> None:
    decision = decide(_order(("A", 2), ("A", 2)), {"A": 3})
    assert isinstance(decision, Reject)
    assert [(line.id, line.available_quantity) for line in decision.lines] == [("line1", 1)]


def test_an_order_that_cannot_be_decided_is_left_to_a_person() -> None:
    unknown = decide(_order(("A", 1), ("Z", 1)), {"A": 1})
    assert isinstance(unknown, LeaveToPerson)
    assert "Z" in unknown.reason
    without_windows = replace(OPTIONS, pickup_window=[])
    for options in (UNSET, without_windows):
        order = replace(_order(("A", 1)), accept_options=options)
        assert isinstance(decide(order, {"A": 1}), LeaveToPerson)


def test_an_order_that_is_not_open_is_not_answered() -> None:
    assert decide(replace(_order(("A", 1)), state=OrderState.CANCELLED), {"A": 1}) == Nothing()


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 9)), min_size=1, max_size=6),
    st.dictionaries(st.sampled_from("ABC"), st.integers(-3, 30), min_size=3),
)
def test_no_decision_promises_more_than_the_stock(lines: list[tuple[str, int]], stock: dict[str, int]) -> None:
    order = _order(*lines)
    decision = decide(order, stock)
    promised: dict[str, int] = {}
    named = {line.id: line.available_quantity or 0 for line in decision.lines} if isinstance(decision, Reject) else {}
    assert all(isinstance(quantity, int) for quantity in named.values())
    for line in order.line_items:
        promised[line.shop_uid] = promised.get(line.shop_uid, 0) + int(named.get(line.id, line.quantity))
    assert all(pieces <= max(stock[shop_uid], 0) for shop_uid, pieces in promised.items())


def test_a_size_is_counted_under_its_own_uid_where_the_shop_knows_it() -> None:
    line = LineItem(
        id="line", shop_uid="S", quantity=1, size=Size(label="Νούμερο", value="44", shop_variation_uid="S-44")
    )
    order = replace(_order(("A", 1)), line_items=[line])
    assert isinstance(decide(order, {"S": 5, "S-44": 0, "S-42": 5}), Reject)
    assert decide(order, {"S-44": 1}) == Accept("here", 7, 1)
    assert decide(order, {"S": 1}) == Accept("here", 7, 1)


def test_an_order_claims_pieces_under_every_uid_of_its_lines() -> None:
    sizes = [Size(label="Νούμερο", value=value, shop_variation_uid=f"S-{value}") for value in ("44", "42", "44")]
    lines = [LineItem(id=f"line{n}", shop_uid="S", quantity=n + 1, size=size) for n, size in enumerate(sizes)]
    lines.append(LineItem(id="red", shop_uid="S", shop_variation_uid="S-red", quantity=1))
    lines.append(LineItem(id="plain", shop_uid="S", shop_variation_uid="S", quantity=2))
    assert claims(replace(_order(("A", 1)), line_items=lines)) == [
        Claim(("S-44", "S"), 4),
        Claim(("S-42", "S"), 2),
        Claim(("S-red", "S"), 1),
        Claim(("S",), 2),
    ]


def test_an_order_of_unknown_quantities_is_left_to_a_person() -> None:
    for order, told in (
        (_order(("A", 1), ("B", 0)), "The quantity of B is not known."),
        (_order(("A", -1)), "The quantity of A is not known."),
        (_order(), "It names no lines."),
    ):
        assert decide(order, {"A": 5, "B": 5}) == LeaveToPerson(told)
    assert decide(replace(_order(), express=True), {}) == Nothing()


def _sized(quantity: int = 1) -> LineItem:
    size = Size(label="Νούμερο", value="44", shop_variation_uid="S-44")
    return LineItem(id="line", shop_uid="S", quantity=quantity, size=size)


def test_an_unreadable_size_does_not_fall_back_to_the_products_stock() -> None:
    order = replace(_order(("A", 1)), line_items=[_sized()])
    shelf = Shelf({"S": 5}, unreadable={"S-44": 'stock.csv, line 7: the quantity "?" is not a number'})
    assert unreadable_stock(order, shelf) == (
        'The stock of S-44 cannot be read: stock.csv, line 7: the quantity "?" is not a number.'
    )
    assert unreadable_stock(order, Shelf({"S-44": 5}, unreadable={"S": "?"})) == "", "the size is counted by itself"
    assert unreadable_stock(order, Shelf({"A": 5}, unreadable={"S": "?"})) == "The stock of S cannot be read: ?."
    for other in (replace(order, express=True), replace(order, state=OrderState.CANCELLED)):
        assert unreadable_stock(other, shelf) == ""


def test_an_unreadable_price_counts_only_if_prices_are_compared() -> None:
    order = replace(_order(("A", 1)), line_items=[_sized()])
    shelf = Shelf({"S": 5}, {"S": order.line_items[0].unit_price}, unreadable_prices={"S-44": "line 2: ?"})
    careful = OrderPolicy(price_tolerance=order.line_items[0].unit_price)
    assert unreadable_stock(order, shelf) == ""
    assert unreadable_stock(order, shelf, careful) == "The price of S-44 cannot be read: line 2: ?."
    without_vat = replace(order, line_items=[replace(_sized(), price_includes_vat=False)])
    assert unreadable_stock(without_vat, shelf, careful) == ""


def test_a_replacement_with_the_same_items_is_left_to_a_person() -> None:
    for word in ("[RETURN-AS-IS]", "[RETURN-FROM-SERVICE]"):
        assert isinstance(decide(replace(_order(("A", 1)), custom=word), {"A": 0}), LeaveToPerson)


@pytest.mark.parametrize(
    ("unit_price", "total_price", "waits"),
    [("900", "0", True), ("0", "900", True), ("900", "900", True), ("0", "0", True), ("50", "0", False)],
)
def test_a_missing_price_does_not_disable_the_amount_limit(unit_price: str, total_price: str, waits: bool) -> None:
    order = _order(("A", 1))
    line = replace(order.line_items[0], unit_price=Decimal(unit_price), total_price=Decimal(total_price))
    order = replace(order, line_items=[line])
    decision = decide(order, {"A": 9}, OrderPolicy(person_above=Decimal(100)))
    assert isinstance(decision, LeaveToPerson) is waits
