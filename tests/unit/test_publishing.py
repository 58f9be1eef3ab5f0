"""The published numbers: a pure function of the source, the held pieces and the policy."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.products import ProductUpdate, VariationUpdate
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.publishing import (
    Blocked,
    Count,
    Obstacle,
    Published,
    Target,
    list_products,
    make_gone_target,
    make_target,
)
from kalathi.merchant.stock import Shelf

USUAL = StockPolicy()
SHELF = Shelf(pieces={"A": 7}, prices={"A": Decimal("10.40")})


def _target(shelf: Shelf, held: dict[str, int] | None = None, policy: StockPolicy = USUAL, **published: Any) -> Target:
    found = make_target("A", list_products(shelf)["A"], shelf, held or {}, policy, _as_taken(published))
    assert isinstance(found, Target)
    return found


def _as_taken(published: dict[str, Any]) -> Published:
    return Published(**{"baseline": published.get("update"), **published})


def _blocked(shelf: Shelf) -> Blocked:
    found = make_target("A", list_products(shelf)["A"], shelf, {}, USUAL)
    assert isinstance(found, Blocked)
    return found


def _published(price: int, **members: Any) -> ProductUpdate:
    return ProductUpdate(product_id="A", quantity=1, enabled=True, price=price, **members)


def test_the_number_is_the_source_minus_held_minus_the_buffer() -> None:
    policy = StockPolicy(buffer=1)
    target = _target(SHELF, {"A": 2}, policy)
    assert target.update == ProductUpdate(product_id="A", quantity=4, enabled=True, price=1040)
    assert target.counted == Count(source=7, held=2, buffer=1)
    assert _target(SHELF, {"A": 2}, StockPolicy(buffer=1, buffers={"A": 3})).update.quantity == 2
    assert _target(SHELF, {"A": 9}, policy).update.quantity == 0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**9), st.booleans())
def test_no_more_is_published_than_is_free(
    source: int,
    held: int,
    buffer: int,
    unassigned: int,
    has_sizes: bool,
) -> None:
    uid = "A-38" if has_sizes else "A"
    products = {uid: "A"} if has_sizes else {}
    shelf = Shelf(pieces={uid: source}, prices={"A": Decimal(1)}, products=products)
    update = _target(shelf, {uid: held, "A": held + unassigned}, StockPolicy(buffer=buffer)).update
    most = max(source - held - buffer - (unassigned + held if has_sizes else unassigned), 0)
    assert 0 <= update.quantity <= min(most, 1_000_000)
    for variation in update.variations or ():
        assert variation.quantity <= update.quantity


def test_a_product_without_pieces_is_taken_off_sale_by_choice() -> None:
    empty = Shelf(pieces={"A": 0}, prices={"A": Decimal(1)})
    assert _target(empty).update.enabled
    assert not _target(empty, policy=StockPolicy(disable_at_zero=True)).update.enabled
    assert _target(SHELF, policy=StockPolicy(disable_at_zero=True)).update.enabled


@pytest.mark.parametrize(
    ("shelf", "obstacle"),
    [
        (Shelf(unreadable={"A": "stock.csv, line 2: no number"}, prices={"A": Decimal(1)}), Obstacle.UNREADABLE),
        (Shelf(pieces={"A": 1}), Obstacle.NO_PRICE),
        (Shelf(pieces={"A": 1}, unreadable_prices={"A": "line 2"}), Obstacle.UNREADABLE),
        (Shelf(pieces={"A": 1}, prices={"A": Decimal("1.005")}), Obstacle.UNREADABLE),
        (Shelf(pieces={"A": 1}, prices={"A": Decimal(0)}), Obstacle.UNREADABLE),
        (Shelf(pieces={"A": 1}, prices={"A": Decimal(10**8)}), Obstacle.UNREADABLE),
    ],
)
def test_an_unreadable_product_and_one_without_a_price_are_not_published(shelf: Shelf, obstacle: Obstacle) -> None:
    assert _blocked(shelf).obstacle is obstacle


def test_one_unreadable_size_blocks_its_product() -> None:
    shelf = Shelf(
        pieces={"A-38": 2}, unreadable={"A-39": "line 3"}, prices={"A": Decimal(1)}, products={"A-38": "A", "A-39": "A"}
    )
    assert _blocked(shelf).obstacle is Obstacle.UNREADABLE


def test_a_product_with_sizes_has_their_sum_and_the_lowest_price() -> None:
    shelf = Shelf(
        pieces={"A-38": 3, "A-39": 4, "B": 1},
        prices={"A-38": Decimal("12.50"), "A": Decimal("11.00")},
        products={"A-38": "A", "A-39": "A"},
    )
    assert list_products(shelf) == {"A": ("A-38", "A-39"), "B": ("B",)}
    target = _target(shelf, {"A-38": 1})
    assert target.update.quantity == 6
    assert target.update.price == 1100
    sizes = target.update.variations
    assert sizes is not UNSET
    assert [(size.variation_id, size.quantity, size.price) for size in sizes] == [("A-38", 2, 1250), ("A-39", 4, 1100)]
    # An order has named no size, so its piece may be of each.
    held = _target(shelf, {"A": 4}).update
    assert held.variations is not UNSET
    assert (held.quantity, [size.quantity for size in held.variations]) == (3, [3, 3])


def test_a_price_that_falls_by_too_much_waits_and_the_number_is_published_with_the_earlier_price() -> None:
    cheap = Shelf(pieces={"A": 7}, prices={"A": Decimal("1.04")})
    target = _target(cheap, update=_published(1040))
    assert (target.update.price, target.update.quantity, target.waiting_price) == (1040, 7, 104)
    assert _target(cheap, update=_published(1040), allowed_price=104).update.price == 104
    assert _target(cheap, update=_published(1040), allowed_price=105).update.price == 1040
    half = Shelf(pieces={"A": 7}, prices={"A": Decimal("5.20")})
    assert _target(half, update=_published(1040)).update.price == 520
    assert _target(cheap).update.price == 104  # Never published before.
    risen = Shelf(pieces={"A": 7}, prices={"A": Decimal("99.00")})
    assert _target(risen, update=_published(1040)).waiting_price is None


def test_the_price_of_a_size_waits_alone() -> None:
    shelf = Shelf(
        pieces={"A-38": 1, "A-39": 1},
        prices={"A-38": Decimal(1), "A-39": Decimal(10)},
        products={"A-38": "A", "A-39": "A"},
    )
    sizes = [VariationUpdate(variation_id=uid, quantity=1, enabled=True, price=1000) for uid in ("A-38", "A-39")]
    target = _target(shelf, update=_published(1000, variations=sizes))
    assert target.update.variations == sizes
    assert target.waiting_price == 100


def test_a_product_that_is_gone_has_no_pieces_and_its_earlier_price() -> None:
    size = VariationUpdate(variation_id="A-38", quantity=5, enabled=True, price=1040)
    before = _published(1040, variations=[size])
    gone = make_gone_target(Published(update=before), USUAL)
    assert gone is not None
    assert gone.update == replace(before, quantity=0, variations=[replace(size, quantity=0)])
    off = make_gone_target(Published(update=before), StockPolicy(disable_at_zero=True))
    assert off is not None
    assert not off.update.enabled
    assert make_gone_target(Published(), USUAL) is None


def test_a_variation_that_is_gone_is_published_once_without_pieces() -> None:
    shelf = Shelf(pieces={"A-38": 7}, prices={"A-38": Decimal("10.40")}, products={"A-38": "A"})
    sizes = [VariationUpdate(variation_id=uid, quantity=7, enabled=True, price=1040) for uid in ("A-38", "A-39")]
    first = make_target("A", ("A-38",), shelf, {}, USUAL, Published(update=_published(1040, variations=sizes)))
    assert isinstance(first, Target)
    assert first.update.quantity == 7
    assert first.update.variations == [sizes[0], replace(sizes[1], quantity=0)]
    second = make_target("A", ("A-38",), shelf, {}, USUAL, Published(update=first.update))
    assert isinstance(second, Target)
    assert second.update.variations == [sizes[0]]


def test_a_product_that_loses_all_its_variations_takes_their_pieces_with_them() -> None:
    size = VariationUpdate(variation_id="A-38", quantity=7, enabled=True, price=1040)
    target = _target(SHELF, update=_published(1040, variations=[size]))
    assert target.update.variations == [replace(size, quantity=0)]
    assert _target(SHELF, update=target.update).update.variations is UNSET


@pytest.mark.parametrize("uid", ["A-38", "A-39"])
def test_an_unreadable_variation_blocks_its_product_even_if_its_row_does_not_name_the_product(uid: str) -> None:
    sizes = [VariationUpdate(variation_id=name, quantity=7, enabled=True, price=1040) for name in ("A-38", "A-39")]
    shelf = Shelf(
        pieces={"A-40": 1}, prices={"A-40": Decimal(10)}, products={"A-40": "A"}, unreadable={uid: "half a line"}
    )
    found = make_target("A", ("A-40",), shelf, {}, USUAL, Published(update=_published(1040, variations=sizes)))
    assert found == Blocked("A", Obstacle.UNREADABLE, "half a line")


def test_a_price_that_falls_waits_even_if_variations_appear_or_go() -> None:
    shelf = Shelf(pieces={"A-38": 1}, prices={"A-38": Decimal("0.50")}, products={"A-38": "A"})
    appeared = make_target(
        "A", ("A-38",), shelf, {}, USUAL, Published(update=_published(5000), baseline=_published(5000))
    )
    assert isinstance(appeared, Target)
    assert (appeared.update.price, appeared.waiting_price) == (5000, 50)
    size = VariationUpdate(variation_id="A-38", quantity=0, enabled=True, price=5000)
    gone = _target(Shelf(pieces={"A": 1}, prices={"A": Decimal("0.50")}), update=_published(5000, variations=[size]))
    assert (gone.update.price, gone.waiting_price) == (5000, 50)
