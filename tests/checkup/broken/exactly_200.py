"""It answers 202, because it only queues the webhook."""

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    success = 202
