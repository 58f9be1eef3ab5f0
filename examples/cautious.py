"""A policy in Python: `kalathi merchant --policy cautious:policy`.

What the usual decision would accept waits for a person when it is gift-wrapped; everything else is as usual.
"""

from typing import Any

from kalathi.contract.orders import Order
from kalathi.merchant.decisions import Accept, Decision, LeaveToPerson, decide
from kalathi.merchant.policy import OrderPolicy, Policy


def wrap_by_hand(order: Order, available: dict[str, int], usual: OrderPolicy, **more: Any) -> Decision:
    """Pure: the order, the free pieces and the shop's own policy in, the answer out."""
    decision = decide(order, available, usual, **more)
    # The marketplace says it in two places, and either may be missing.
    is_gift = order.gift_wrap or (isinstance(order.custom, str) and "[GIFT-WRAP]" in order.custom)
    if is_gift and isinstance(decision, Accept):
        return LeaveToPerson("It is to be wrapped as a gift: is there paper?")
    return decision


policy = Policy(orders=OrderPolicy(window="last"), decide=wrap_by_hand)
