"""It sends each batch four times."""

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def send_batch(self, uids: list[str]) -> bool:
        sent = [super(Broken, self).send_batch(uids) for _ in range(4)]
        return all(sent)
