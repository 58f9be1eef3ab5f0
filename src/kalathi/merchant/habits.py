"""How a connector goes about its work: intervals, limits and switches."""

from msgspec import Struct

from kalathi.merchant.commands import HANDING_OVER


class Habits(Struct, frozen=True, kw_only=True):
    """How the connector goes about it. Seconds."""

    reconcile_seconds: float = 300.0
    # After a reconciliation that failed.
    reconcile_again_seconds: float = 30.0
    # How long before the deadline of an unanswered order a person is warned.
    warn_seconds: float = 7200.0
    # Say what would be done, and do nothing.
    dry_run: bool = False
    # How long the shop's own system may take for an order or a change.
    hand_over_seconds: float = HANDING_OVER.seconds
    # The shop's own system lowers the stock when it receives an order.
    told_orders_are_counted: bool = False
    # How old the numbers of a lagging source may be when it shows them.
    stock_lag_seconds: float = 0.0
