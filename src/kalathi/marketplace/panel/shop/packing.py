"""Lists for the warehouse of a shop, to be printed: the picking list and the packing slips of the selected orders."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec import UNSET

from kalathi.contract.orders import LineItem
from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.model import Order
from kalathi.marketplace.panel.pages import Answer, Shown
from kalathi.marketplace.panel.refusals import TooManyLinesToPrint
from kalathi.marketplace.panel.shop.chosen import find_chosen, read_chosen
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops.model import Location

# Rendering a page with more lines would hold up other callers for a second.
_MOST_LINES: Final = 3_000


class Pick(NamedTuple):
    """A product to fetch from the shelf: all pieces of it, and the pieces of each order."""

    name: str
    uid: str
    size: str
    pieces: int
    orders: tuple[tuple[str, int], ...]


class Place(NamedTuple):
    """The products to fetch at one location; its label is empty for orders that are not accepted yet."""

    label: str
    picks: tuple[Pick, ...]

    @property
    def pieces(self) -> int:
        """The pieces to fetch at the location."""
        return sum(pick.pieces for pick in self.picks)


async def show_picking_list(visit: Visit) -> Answer:
    """`order=&order=`: the products of the orders by location, each with all its pieces. Raises INVALID_PARAMETER,
    ORDER_NOT_FOUND."""
    chosen = await _read_orders(visit)
    # An order that has ended needs no picking, and the marketplace's warehouse picks its own orders.
    orders = [entry.order for entry in chosen if _is_picked(entry.order)]
    left_out = [entry.order.code for entry in chosen if not _is_picked(entry.order)]
    places = make_picking_list(orders, visit.shop.locations)
    codes = [order.code for order in orders]
    return Shown("shop/picking_list.html", {"places": places, "codes": codes, "left_out": left_out})


async def show_packing_slips(visit: Visit) -> Answer:
    """`order=&order=`: a page for each order with its items and without prices. Raises INVALID_PARAMETER,
    ORDER_NOT_FOUND."""
    slips = [(order, order.recipient(), lines) for order, lines in await _read_orders(visit)]
    return Shown("shop/packing_slips.html", {"slips": slips})


class _Chosen(NamedTuple):
    order: Order
    lines: list[LineItem]


async def _read_orders(visit: Visit) -> list[_Chosen]:
    """Raises INVALID_PARAMETER if the orders have more lines than a page can show."""
    codes = read_chosen(visit)

    def query(view: View) -> list[_Chosen]:
        return [_Chosen(found.order, found.order.lines()) for found in find_chosen(visit, view, codes)]

    chosen = await visit.context.database.read_list(query)
    if sum(len(entry.lines) for entry in chosen) > _MOST_LINES:
        raise refuse(TooManyLinesToPrint(_MOST_LINES))
    return chosen


def _is_picked(order: Order) -> bool:
    return order.state in {OrderState.OPEN, OrderState.ACCEPTED} and not order.fulfilled_by_skroutz


def make_picking_list(orders: Iterable[Order], locations: Sequence[Location]) -> list[Place]:
    """Return the products to fetch, by location in the shop's sequence and by name."""
    by_place: dict[str, dict[tuple[str, str, str], list[tuple[str, int]]]] = {}
    for order in orders:
        for line in order.lines():
            picks = by_place.setdefault(order.pickup_address or "", {})
            picks.setdefault((line.product_name, _uid_of(line), _size_of(line)), []).append((order.code, line.quantity))
    rank = {location.label(): number for number, location in enumerate(locations)}
    return [
        Place(
            label,
            tuple(
                Pick(name, uid, size, sum(pieces for _, pieces in parts), tuple(parts))
                for (name, uid, size), parts in sorted(picks.items())
            ),
        )
        for label, picks in sorted(by_place.items(), key=lambda entry: (rank.get(entry[0], len(rank)), entry[0]))
    ]


def _uid_of(line: LineItem) -> str:
    return line.shop_uid if line.shop_variation_uid is UNSET else f"{line.shop_uid} / {line.shop_variation_uid}"


def _size_of(line: LineItem) -> str:
    return "" if line.size is UNSET else f"{line.size.label}: {line.size.value}"
