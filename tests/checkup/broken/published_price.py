"""It publishes prices in whole euros."""

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    price = 10
