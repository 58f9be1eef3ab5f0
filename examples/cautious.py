"""A policy in Python: `kalathi merchant --policy cautious:policy`.

It leaves gift-wrapped orders to a person if the default decision would accept them. All other decisions are unchanged.
"""

from typing import Any

from kalathi.contract.orders import Order
from kalathi.merchant.decisions import Accept, Decision, LeaveToPerson, decide
from kalathi.merchant.policy import OrderPolicy, Policy


def wrap_by_hand(order: Order, available: dict[str, int], usual: OrderPolicy, **more: Any) -> Decision:
    """Return the answer to an order, from the order, the free pieces and the shop's policy. This function is pure."""
    decision = decide(order, available, usual, **more)
    # The marketplace marks a gift in two places, and either may be missing.
    is_gift = order.gift_wrap or (isinstance(order.custom, str) and "[GIFT-WRAP]" in order.custom)
    if is_gift and isinstance(decision, Accept):
        return LeaveToPerson("It must be gift-wrapped: is there paper?")
    return decision


policy = Policy(orders=OrderPolicy(window="last"), decide=wrap_by_hand)
