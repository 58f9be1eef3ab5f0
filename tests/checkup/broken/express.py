"""It accepts express orders too."""

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def take(self, code: str) -> None:
        super().take(code)
        mine = self.find(code)
        if mine is not None and mine.state == "open":
            self.client.call("POST", f"/orders/{code}/accept", {"pickup_location": "any", "pickup_window": 1})
