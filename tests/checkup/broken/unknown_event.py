"""It answers 400 to an event type that it does not know."""

from typing import Any

from tests.checkup.model_shop import ModelShop

KNOWN = {"new_order", "order_updated", "merchant_return_created", "merchant_return_updated"}


class Broken(ModelShop):
    def receive(self, event: dict[str, Any]) -> int:
        return super().receive(event) if event["event_type"] in KNOWN else 400
