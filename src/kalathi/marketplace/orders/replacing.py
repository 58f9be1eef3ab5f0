"""Pure steps of replacements: the pieces that can be replaced, and the references between the orders
(docs/contract.md#section-2, `replacements`)."""

from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.orders import Replacement
from kalathi.contract.words import ReplacementType
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.orders import refusals
from kalathi.marketplace.orders.machine import Action, Step, make_step, through
from kalathi.marketplace.orders.model import Order


def still_replaceable(order: Order) -> dict[str, int]:
    """Return the delivered pieces that were not replaced yet, by line id."""
    sent = order.sent_again or {}
    left = {line_id: count - sent.get(line_id, 0) for line_id, count in (order.delivered or {}).items()}
    return {line_id: count for line_id, count in left.items() if count > 0}


def note_replacement(order: Order, code: str, kind: ReplacementType | None, pieces: dict[str, int]) -> Step:
    """Note on the order that another one replaces these pieces. Raises ORDER_STATUS, INVALID_PARAMETER."""
    new = through(order, Action.REPLACE)
    left = still_replaceable(order)
    if not pieces or any(not 0 < count <= left.get(line_id, 0) for line_id, count in pieces.items()):
        raise refuse(refusals.WrongPieces(refusals.REPLACEABLE_PIECES, left))
    sent = dict(order.sent_again or {})
    for line_id, count in pieces.items():
        sent[line_id] = sent.get(line_id, 0) + count
    return make_step(Action.REPLACE, order, replace(_names(new, code, kind), sent_again=sent))


def note_successor(order: Order, code: str, kind: ReplacementType | None) -> Step:
    """The order that replaces this one was rejected in part: note the successor's code."""
    return make_step(Action.REPLACE, order, _names(through(order, Action.REPLACE), code, kind))


def _names(order: Order, code: str, kind: ReplacementType | None) -> Order:
    noted = Replacement(code=code, type=UNSET if kind is None else kind)
    return replace(order, replacements=(*order.replacements, noted))
