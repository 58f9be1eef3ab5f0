"""It never reads the status of a batch."""

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def read_results(self, batch_id: str) -> bool:
        return True
