"""It decodes every webhook with strict types, and refuses other values."""

import json
from typing import Any

import msgspec
from msgspec import Struct

from tests.checkup.model_shop import ModelShop


class Line(Struct):
    """The members of a line that the shop needs."""

    id: str | int
    shop_uid: str
    quantity: int
    unit_price: float
    ean: str | None = None


class Order(Struct):
    """The members of an order that the shop needs."""

    code: str
    state: str
    line_items: list[Line]
    courier_tracking_codes: list[str]
    courier: str | None = None
    dispatch_until: str | None = None


class Return(Struct):
    """The members of a return that the shop needs."""

    return_code: str
    state: str


class Event(Struct):
    """A webhook."""

    event_type: str
    order: Order | None = None
    return_: Return | None = msgspec.field(default=None, name="return")


class StrictShop(ModelShop):
    """The model shop behind a typed reader."""

    def receive(self, event: dict[str, Any]) -> int:
        try:
            msgspec.json.decode(json.dumps(event), type=Event)
        except msgspec.ValidationError:
            return 422
        return super().receive(event)
