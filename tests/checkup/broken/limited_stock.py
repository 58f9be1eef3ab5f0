"""It rejects every line that it cannot send as out of stock."""

from typing import Any

from tests.checkup.model_shop import NO_STOCK, ModelShop


class Broken(ModelShop):
    def rejection_of(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"id": line["id"], "reason_id": NO_STOCK}
