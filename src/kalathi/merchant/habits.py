"""The settings of a connector's work: intervals, limits and switches."""

from msgspec import Struct

from kalathi.merchant.commands import HANDING_OVER


class Habits(Struct, frozen=True, kw_only=True):
    """The settings of the connector's work."""

    reconcile_seconds: float = 300.0
    # The pause after a reconciliation that failed.
    reconcile_again_seconds: float = 30.0
    # Warn a person this long before the deadline of an unanswered order.
    warn_seconds: float = 7200.0
    # Report the answers, but send none.
    dry_run: bool = False
    # The time limit of a hand-over of one order or change to the shop's own system.
    hand_over_seconds: float = HANDING_OVER.seconds
    # The shop's own system lowers the stock when it receives an order (`--told-orders-are-counted`).
    told_orders_are_counted: bool = False
    # The greatest age of the numbers that a lagging source shows.
    stock_lag_seconds: float = 0.0
