"""It sends a refused batch again and again without a pause."""

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def send_batch(self, uids: list[str]) -> bool:
        return any(super(Broken, self).send_batch(uids) for _ in range(5))
