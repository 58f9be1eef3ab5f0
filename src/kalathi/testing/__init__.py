"""Test an integration against a real marketplace: `Kalathi` for tests without an event loop, `AsyncKalathi` for those
with one. Under pytest, use the fixtures `kalathi` and `async_kalathi` (docs/testing.md).

```
with Kalathi.start() as kalathi:
    kalathi.webhooks_to("http://127.0.0.1:9000/hook")
    order = kalathi.play("new_order").order
    order.wait_for("accepted")
```
"""

from kalathi.operator_calls import OperatorError
from kalathi.testing.async_kalathi import (
    AsyncClock,
    AsyncDeliveries,
    AsyncFaults,
    AsyncKalathi,
    AsyncOrder,
    AsyncPlayed,
    AsyncRequests,
)
from kalathi.testing.server import Server, ServerFailedError
from kalathi.testing.shop import Shop
from kalathi.testing.sync_kalathi import Clock, Deliveries, Faults, Kalathi, Order, Played, Requests

__all__ = [
    "AsyncClock",
    "AsyncDeliveries",
    "AsyncFaults",
    "AsyncKalathi",
    "AsyncOrder",
    "AsyncPlayed",
    "AsyncRequests",
    "Clock",
    "Deliveries",
    "Faults",
    "Kalathi",
    "OperatorError",
    "Order",
    "Played",
    "Requests",
    "Server",
    "ServerFailedError",
    "Shop",
]
