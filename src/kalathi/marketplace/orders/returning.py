"""The effects of returns on their order (docs/contract.md#section-6): pure steps.

The shop sees no change of the order's state before the return is `returned`. But the order counts the pieces of a
return from its request on, and each return raises the order's version. So two returns can never contain the same piece.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import LineItem, OrderReturn
from kalathi.contract.words import LINE_RETURN_REASONS
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.orders import refusals
from kalathi.marketplace.orders.machine import Action, Step, make_step, through
from kalathi.marketplace.orders.model import Order

Pieces = Mapping[str, int]


def still_returnable(order: Order) -> dict[str, int]:
    """Return the delivered pieces that are in no live or finished return, by line id."""
    asked = order.asked_back or {}
    left = {line_id: count - asked.get(line_id, 0) for line_id, count in (order.delivered or {}).items()}
    return {line_id: count for line_id, count in left.items() if count > 0}


def request_return(order: Order, pieces: Pieces) -> Step:
    """Reserve these pieces for a requested return. Raises ORDER_STATUS, INVALID_PARAMETER."""
    new = through(order, Action.ASK_RETURN)
    left = still_returnable(order)
    if not pieces or any(not 0 < count <= left.get(line_id, 0) for line_id, count in pieces.items()):
        raise refuse(refusals.WrongPieces(refusals.RETURNABLE_PIECES, left))
    return make_step(Action.ASK_RETURN, order, replace(new, asked_back=_sum(order.asked_back, pieces)))


def drop_return(order: Order, pieces: Pieces) -> Step:
    """Release the pieces of a return that was rejected, expired or cancelled. Raises ORDER_STATUS."""
    new = through(order, Action.DROP_RETURN)
    asked = _sum(order.asked_back, {line_id: -count for line_id, count in pieces.items()})
    return make_step(Action.DROP_RETURN, order, replace(new, asked_back=asked))


def ship_return(order: Order, return_uuid: str, tracking_ids: Iterable[str]) -> Step:
    """Note the shipment of a return, or its new tracking ids. Raises ORDER_STATUS."""
    new = through(order, Action.SHIP_RETURN)
    entry = OrderReturn(return_uuid=return_uuid, tracking_ids=list(tracking_ids))
    known = {noted.return_uuid: noted for noted in order.returns} | {return_uuid: entry}
    return make_step(Action.SHIP_RETURN, order, replace(new, returns=tuple(known.values())))


def take_back(order: Order, pieces: Pieces, reasons: Mapping[str, str]) -> Step:
    """Record pieces that the shop has received back. The order becomes partially returned, or returned once all
    delivered pieces are back. `reasons` are the customer's, by line id. Raises ORDER_STATUS."""
    back = _sum(order.came_back, pieces)
    action = Action.TAKE_BACK if back == order.delivered else Action.TAKE_BACK_PARTLY
    lines = [_with_reason(line, reasons.get(line.id)) for line in order.lines()]
    new = replace(through(order, action), came_back=back, line_items=msgspec.Raw(encode(lines)))
    return make_step(action, order, new)


def _with_reason(line: LineItem, reason: str | None) -> LineItem:
    shown = LINE_RETURN_REASONS.get(reason or "", UNSET)
    return line if shown is UNSET else replace(line, return_reason=shown)


def _sum(before: Pieces | None, more: Pieces) -> dict[str, int]:
    counts = dict(before or {})
    for line_id, count in more.items():
        counts[line_id] = counts.get(line_id, 0) + count
    return {line_id: count for line_id, count in counts.items() if count}
