"""It takes a lost answer to accept for a refusal, and closes the order."""

from tests.checkup.model_shop import Client, ModelShop, ShopOrder


class Broken(ModelShop):
    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._closed: set[str] = set()

    def take(self, code: str) -> None:
        if code not in self._closed:
            super().take(code)

    def is_accepted(self, mine: ShopOrder) -> bool:
        self._closed.add(mine.code)
        self.release(mine)
        mine.state = "failed"
        return True
