"""It gives the marketplace one second to answer accept, and then fails."""

import time
from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def accept(self, mine: ShopOrder, body: dict[str, Any]) -> bool:
        began = time.monotonic()
        is_accepted = super().accept(mine, body)
        if time.monotonic() - began > 1.5:
            raise TimeoutError("accept took too long")
        return is_accepted
