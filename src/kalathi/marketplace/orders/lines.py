"""Pure arithmetic on the lines of an order: prices, the rest of a rejection, pieces that go back to the listings."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from kalathi.contract.orders import LineItem
from kalathi.contract.requests import RejectRequest
from kalathi.marketplace.kernel.money import commission_of
from kalathi.marketplace.orders.answer_checks import LineRejection, read_rejections


class OrderedLine(NamedTuple):
    """A product, how many pieces of it and at which price, on the way into an order. No id yet."""

    line: LineItem
    quantity: int


class StockMove(NamedTuple):
    """A change of a listing's quantity: pieces come back, or the shop has counted them."""

    shop_uid: str
    pieces: int
    counted: bool = False


def price_line(ordered: OrderedLine, line_id: str) -> LineItem:
    """The line with its id, its total and its commission, which is rounded here, once (docs/decisions/0010)."""
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
    """Lines that were not named, and of those in limited supply the pieces that there are."""
    left = []
    for line in lines:
        rejection = rejections.get(line.id)
        quantity = line.quantity if rejection is None else (rejection.available_quantity or 0)
        if quantity:
            left.append(OrderedLine(line, quantity))
    return left


def pieces_left(lines: Sequence[LineItem], request: RejectRequest) -> dict[str, int]:
    """The same by product; nothing is left of a request that cannot be carried out."""
    rejections, wrong = read_rejections(request, lines)
    if wrong:
        return {}
    left: dict[str, int] = {}
    for line, quantity in remaining_lines(lines, rejections):
        left[line.shop_uid] = left.get(line.shop_uid, 0) + quantity
    return left


def return_all(lines: Sequence[LineItem]) -> tuple[StockMove, ...]:
    """All of it goes back to the listings."""
    return tuple(StockMove(line.shop_uid, line.quantity) for line in lines)


def stock_after(
    lines: Sequence[LineItem], rejections: dict[str, LineRejection], *, stays: bool
) -> tuple[StockMove, ...]:
    """Lines that were not named move into the successor, piece for piece. A limited line's listing is set to the shop's
    count, and all of that goes into the successor, so nothing is left of it. With `stays`, the successor's pieces come
    from elsewhere: those of the lines that were not named go back, and what was counted stays."""
    limited = tuple(
        StockMove(entry.line.shop_uid, entry.available_quantity if stays else 0, counted=True)
        for entry in rejections.values()
        if entry.available_quantity is not None
    )
    back = [entry.line for entry in rejections.values() if entry.available_quantity is None]
    if stays:
        back += [line for line in lines if line.id not in rejections]
    return return_all(back) + limited
