"""It never marks a parcel as ready."""

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def set_as_ready(self, mine: ShopOrder) -> None:
        pass
