"""The progress of a recipe: a scenario through which `kalathi recipe` walks a person (docs/recipes)."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from kalathi.marketplace.sandbox.checkup_report import Text


class Turn(StrEnum):
    """Whose turn a step is."""

    SHOP = "shop"
    MARKETPLACE = "marketplace"
    CHECK = "check"


class Tick(Struct, frozen=True, kw_only=True):
    """A step of a recipe with its outcome. `is_done` once it was seen as expected, `is_unseen` if it cannot be seen,
    for example without a probe. `seen` is the other outcome, or the reason."""

    step: int
    turn: Turn
    say: Text
    is_done: bool = False
    is_unseen: bool = False
    seen: Text | None = None


class Progress(Struct, frozen=True, kw_only=True):
    """The progress of one recipe of a shop. `next_step` is the scenario's next step; `orders` and `returns` are those
    of the steps so far, oldest first. `forged` is the code of a forged webhook, and `stock` the pieces of the products
    before the first step."""

    recipe: str
    title: Text
    shop_id: str
    seed: str
    began_at: datetime
    ended_at: datetime | None = None
    next_step: int = 0
    orders: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    forged: str = ""
    stock: dict[str, int] = {}
    ticks: tuple[Tick, ...] = ()
