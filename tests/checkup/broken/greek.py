"""Its database refuses characters of four bytes."""

import json
from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def receive(self, event: dict[str, Any]) -> int:
        if any(character > "\uffff" for character in json.dumps(event, ensure_ascii=False)):
            return 500
        return super().receive(event)
