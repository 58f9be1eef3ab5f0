"""It looks for the product, not for its variation."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def uid_of(self, line: dict[str, Any]) -> str:
        return str(line["shop_uid"])
