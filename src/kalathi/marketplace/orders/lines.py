"""Pure arithmetic on an order's lines: prices, the rest after a rejection, and pieces returned to the listings."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from kalathi.contract.orders import LineItem
from kalathi.contract.requests import RejectRequest
from kalathi.marketplace.kernel.money import commission_of
from kalathi.marketplace.orders.answer_checks import LineRejection, read_rejections


class OrderedLine(NamedTuple):
    """A line of an order that is being placed: product, price and quantity. It has no id yet."""

    line: LineItem
    quantity: int


class StockMove(NamedTuple):
    """A change of a listing's quantity. `pieces` is added to it; with `counted`, it replaces the quantity.

    A variation's pieces are counted in the variation and in its listing. A counted move of a variation changes its
    listing by the difference.
    """

    shop_uid: str
    pieces: int
    counted: bool = False
    variation_id: str = ""


def price_line(ordered: OrderedLine, line_id: str) -> LineItem:
    """Return the line with its id, total and commission. Only this step rounds the commission (docs/decisions/0010)."""
    line, quantity = ordered
    total_price = line.unit_price * quantity
    return replace(
        line,
        id=line_id,
        quantity=quantity,
        total_price=total_price,
        commission=commission_of(total_price, line.commission_rate),
    )


def remaining_lines(lines: Sequence[LineItem], rejections: dict[str, LineRejection]) -> list[OrderedLine]:
    """Return the lines that the shop did not reject, and the available pieces of lines in limited supply."""
    left = []
    for line in lines:
        rejection = rejections.get(line.id)
        quantity = line.quantity if rejection is None else (rejection.available_quantity or 0)
        if quantity:
            left.append(OrderedLine(line, quantity))
    return left


def pieces_left(lines: Sequence[LineItem], request: RejectRequest) -> dict[str, int]:
    """Return the pieces left after a rejection, by product; empty if the request is invalid."""
    rejections, wrong = read_rejections(request, lines)
    if wrong:
        return {}
    left: dict[str, int] = {}
    for line, quantity in remaining_lines(lines, rejections):
        left[line.shop_uid] = left.get(line.shop_uid, 0) + quantity
    return left


def return_all(lines: Sequence[LineItem]) -> tuple[StockMove, ...]:
    """Return all pieces to the listings."""
    return tuple(StockMove(line.shop_uid, line.quantity, variation_id=line.shop_variation_uid or "") for line in lines)


def stock_after(
    lines: Sequence[LineItem], rejections: dict[str, LineRejection], *, stays: bool
) -> tuple[StockMove, ...]:
    """Return the stock moves of a rejection.

    The pieces of rejected lines return to their listings, and the successor keeps those of the other lines. The
    available pieces of a limited line go into the successor, so its listing is set to zero. With `stays`, the warehouse
    supplies the successor: the other lines return to their listings as well, and the listing of a limited line is set
    to its available quantity."""
    limited = tuple(
        StockMove(
            entry.line.shop_uid,
            entry.available_quantity if stays else 0,
            counted=True,
            variation_id=entry.line.shop_variation_uid or "",
        )
        for entry in rejections.values()
        if entry.available_quantity is not None
    )
    back = [entry.line for entry in rejections.values() if entry.available_quantity is None]
    if stays:
        back += [line for line in lines if line.id not in rejections]
    return return_all(back) + limited
