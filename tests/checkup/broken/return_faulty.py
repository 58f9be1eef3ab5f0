"""It reviews with a word that is not on offer."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def review(self, code: str, returned: dict[str, Any]) -> None:
        self.client.call("POST", f"/returns/{code}/review", {"option": "accept"})
