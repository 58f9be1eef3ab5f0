"""It expects options in every webhook of a return that was not reviewed."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def on_return(self, event: dict[str, Any]) -> None:
        if event["return"]["state"] == "expired":
            event["return"]["review_options"][0]
        super().on_return(event)
