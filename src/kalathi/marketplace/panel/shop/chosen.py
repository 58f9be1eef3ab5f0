"""The orders that a user has selected in the list."""

from typing import Final

from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.search.store import load_orders
from kalathi.marketplace.panel.refusals import NoOrdersChosen, TooManyOrdersChosen, UnknownOrder
from kalathi.marketplace.panel.visits import Visit

MOST_CHOSEN: Final = 100
_LONGEST_SHOWN: Final = 40


def read_chosen(visit: Visit) -> list[str]:
    """Return the codes of `order=&order=`, each once, in the form's sequence. Raises INVALID_PARAMETER for none and for
    more than a hundred."""
    codes = list(dict.fromkeys(visit.form.every("order")))
    if not codes:
        raise refuse(NoOrdersChosen())
    if len(codes) > MOST_CHOSEN:
        raise refuse(TooManyOrdersChosen(MOST_CHOSEN))
    return codes


def find_chosen(visit: Visit, view: View, codes: list[str]) -> list[FoundOrder]:
    """Return the shop's orders with these codes, in this sequence. Raises ORDER_NOT_FOUND, also for another shop's
    order."""
    found = load_orders(view, visit.shop.id, codes)
    missing = [code for code in codes if code not in found]
    if missing:
        raise refuse(UnknownOrder(missing[0][:_LONGEST_SHOWN]))
    return [found[code] for code in codes]
