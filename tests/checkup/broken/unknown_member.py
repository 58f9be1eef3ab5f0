"""It refuses a webhook with a member that it does not know."""

import json
from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def receive(self, event: dict[str, Any]) -> int:
        if "new_member" in json.dumps(event):
            return 422
        return super().receive(event)
