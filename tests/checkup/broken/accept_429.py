"""It tries again at once after a 429."""

from tests.checkup.model_shop import Answer, ModelShop


class Broken(ModelShop):
    def pause(self, answer: Answer) -> None:
        pass
