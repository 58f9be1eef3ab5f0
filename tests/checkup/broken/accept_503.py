"""It calls accept once, and ignores a failure."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def accept(self, mine: ShopOrder, body: dict[str, Any]) -> bool:
        answer = self.client.call("POST", f"/orders/{mine.code}/accept", body)
        if answer.status in {200, 503}:
            return answer.status == 200
        self.pause(answer)
        return super().accept(mine, body)
