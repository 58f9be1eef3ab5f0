"""The stock and the prices that a shop publishes (docs/contract.md#section-10), pure.

The published number is the number by which orders are accepted, minus a buffer: the pieces of the source, minus the
pieces that orders hold. Open orders count too: the marketplace has already promised their pieces. A product with an
unreadable number, or without a price, is not published.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import UNSET, Struct
from msgspec.structs import replace

from kalathi.contract.products import ProductUpdate, VariationUpdate
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.stock.shelf import Shelf

_LARGEST_CENTS: Final = 1_000_000_000
_LARGEST_QUANTITY: Final = 1_000_000


class Obstacle(StrEnum):
    """A reason why a product is not published."""

    UNREADABLE = "unreadable"
    NO_PRICE = "no_price"


class Count(NamedTuple):
    """The parts of a published number: the pieces of the source, those that orders hold, and the buffer."""

    source: int
    held: int
    buffer: int

    @property
    def free(self) -> int:
        """The pieces that customers can order."""
        return min(max(self.source - self.held - self.buffer, 0), _LARGEST_QUANTITY)


class Target(NamedTuple):
    """The values that a product should have at the marketplace, and the count behind its number. `waiting_price` is a
    price in cents that waits for a person, because it falls by too much; the update has the earlier one.
    `allowed_price` is the lowest price that a person had allowed when the target was made."""

    update: ProductUpdate
    counted: Count
    waiting_price: int | None = None
    allowed_price: int | None = None


class Blocked(NamedTuple):
    """A product that waits for a person, with the reason. `detail` is a sentence, such as that of the source."""

    product_id: str
    obstacle: Obstacle
    detail: str


class Published(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last values of a product that the marketplace has accepted, those whose prices it has taken for certain, and
    the lowest price that a person allows."""

    update: ProductUpdate | None = None
    baseline: ProductUpdate | None = None
    allowed_price: int | None = None


NOT_PUBLISHED: Final = Published()


def list_products(shelf: Shelf) -> dict[str, tuple[str, ...]]:
    """Return the products of the shelf with the uids under which the source counts them: the variations of a product
    with variations, else its own uid."""
    if not shelf.products:
        return {uid: (uid,) for uid in (*shelf.pieces, *shelf.unreadable)}
    grouped: dict[str, list[str]] = {}
    for uid in (*shelf.pieces, *shelf.unreadable):
        product = shelf.products.get(uid)
        if product is not None:
            grouped.setdefault(product, []).append(uid)
    found = {product: tuple(sorted(uids)) for product, uids in grouped.items()}
    for uid in (*shelf.pieces, *shelf.unreadable):
        if uid not in shelf.products:
            found.setdefault(uid, (uid,))
    return found


def make_target(
    product_id: str,
    uids: tuple[str, ...],
    shelf: Shelf,
    held: Mapping[str, int],
    policy: StockPolicy,
    published: Published = NOT_PUBLISHED,
) -> Target | Blocked:
    """Return the values that the product should have at the marketplace, or the reason why it has none.

    While a price waits for a person, the number of pieces is published with the earlier price.
    """
    earlier = _variations_of(published.update)
    # A row that cannot be read may not show of which product it is, so the published variations count too.
    every = (*uids, product_id, *earlier)
    unreadable = next((shelf.unreadable[uid] for uid in every if uid in shelf.unreadable), None)
    if unreadable is not None:
        return Blocked(product_id, Obstacle.UNREADABLE, unreadable)
    prices: dict[str, int] = {}
    for uid in uids:
        price = _read_price(uid, product_id, shelf)
        if isinstance(price, Blocked):
            return price
        prices[uid] = price
    guarded = _guard_prices(prices, product_id, published, policy)
    counts = {uid: Count(shelf.pieces.get(uid, 0), held.get(uid, 0), policy.buffer_of(uid, product_id)) for uid in uids}
    # Orders can hold pieces of a product whose size they do not name. They count under the product's own uid.
    unassigned = 0 if uids == (product_id,) else held.get(product_id, 0)
    free = max(sum(count.free for count in counts.values()) - unassigned, 0)
    variations = [
        VariationUpdate(
            variation_id=uid,
            quantity=min(counts[uid].free, free),
            enabled=_is_on(counts[uid].free, policy),
            price=guarded.by_uid[uid],
        )
        for uid in uids
        if uids != (product_id,)
    ]
    variations += _list_gone_variations(earlier, uids, policy)
    update = ProductUpdate(
        product_id=product_id,
        quantity=min(free, _LARGEST_QUANTITY),
        enabled=_is_on(free, policy),
        price=min(guarded.by_uid.values()),
        variations=variations or UNSET,
    )
    return Target(update, _add_counts(counts.values(), unassigned), guarded.waiting, published.allowed_price)


def _list_gone_variations(
    earlier: Mapping[str, VariationUpdate], uids: tuple[str, ...], policy: StockPolicy
) -> list[VariationUpdate]:
    """Return the variations that the source no longer names. They are published once more, without pieces."""
    gone = [variation for uid, variation in earlier.items() if uid not in uids and variation.quantity]
    return [replace(variation, quantity=0, enabled=_is_on(0, policy)) for variation in gone]


def make_gone_target(published: Published, policy: StockPolicy) -> Target | None:
    """Return the target of a published product that the source no longer names: no pieces, with the earlier price. None
    if it was never published."""
    before = published.update
    if before is None:
        return None
    is_on = _is_on(0, policy)
    variations = before.variations
    if variations is not UNSET:
        variations = [replace(variation, quantity=0, enabled=is_on) for variation in variations]
    update = replace(before, quantity=0, enabled=is_on, variations=variations)
    return Target(update, Count(0, 0, 0), allowed_price=published.allowed_price)


def _variations_of(update: ProductUpdate | None) -> dict[str, VariationUpdate]:
    if update is None or update.variations is UNSET:
        return {}
    return {variation.variation_id: variation for variation in update.variations}


def _add_counts(counts: Iterable[Count], unassigned: int) -> Count:
    parts = list(counts)
    held = sum(part.held for part in parts) + unassigned
    return Count(sum(part.source for part in parts), held, sum(part.buffer for part in parts))


class _Prices(NamedTuple):
    """The prices of a product and its variations in cents, by uid; the lowest one that waits for a person, if any."""

    by_uid: dict[str, int]
    waiting: int | None


def _guard_prices(prices: Mapping[str, int], product_id: str, published: Published, policy: StockPolicy) -> _Prices:
    """Keep the earlier price of each product or variation whose price falls by more than allowed. A new variation is
    compared with the price of its product, and so is a product that no longer has variations."""
    before = _prices_of(published.baseline)
    of_product = None if published.baseline is None else published.baseline.price
    guarded = dict(prices)
    waiting = []
    for uid, price in prices.items():
        earlier = before.get(uid, price if of_product is None else of_product)
        is_allowed = published.allowed_price is not None and price >= published.allowed_price
        if price < earlier * (1 - policy.largest_price_fall) and not is_allowed:
            guarded[uid] = earlier
            waiting.append(price)
    return _Prices(guarded, min(waiting, default=None))


def _prices_of(update: ProductUpdate | None) -> dict[str, int]:
    if update is None:
        return {}
    if update.variations is UNSET:
        return {update.product_id: update.price}
    return {variation.variation_id: variation.price for variation in update.variations}


def _read_price(uid: str, product_id: str, shelf: Shelf) -> int | Blocked:
    """Return the price of a product or a variation in cents. A variation without a price has the product's."""
    for name in dict.fromkeys((uid, product_id)):
        if name in shelf.unreadable_prices:
            return Blocked(product_id, Obstacle.UNREADABLE, shelf.unreadable_prices[name])
        price = shelf.prices.get(name)
        if price is not None:
            return _as_cents(price, product_id)
    return Blocked(product_id, Obstacle.NO_PRICE, "the source has no price")


def _as_cents(price: Decimal, product_id: str) -> int | Blocked:
    cents = price * 100
    if cents != cents.to_integral_value() or not 0 < cents <= _LARGEST_CENTS:
        detail = f"the price {price} is not an amount above zero in whole cents"
        return Blocked(product_id, Obstacle.UNREADABLE, detail)
    return int(cents)


def _is_on(quantity: int, policy: StockPolicy) -> bool:
    return quantity > 0 or not policy.disable_at_zero
