"""It rejects for limited stock without the number of pieces."""

from typing import Any

from tests.checkup.model_shop import LIMITED_STOCK, ModelShop


class Broken(ModelShop):
    def rejection_of(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"id": line["id"], "reason_id": LIMITED_STOCK}
