"""Actors: the person or the program that caused a change, for timelines and the history of a shop."""

from enum import StrEnum
from typing import Final, NamedTuple


class ActorKind(StrEnum):
    """The kinds of actors."""

    # A call of the shop's own system.
    API = "api"
    # A person on the shop's pages.
    SHOP = "shop"
    # The operator, on the pages or by the operator's API. The operator also acts for customers and couriers.
    OPERATOR = "operator"
    # A job whose time has come.
    CLOCK = "clock"
    # A scenario of the sandbox.
    SCENARIO = "scenario"


class Actor(NamedTuple):
    """The cause of a change. `name` is the person's name, or the name of an additional API token; empty if there is
    none, for example for a session that began with a token."""

    kind: ActorKind
    name: str = ""

    def __str__(self) -> str:
        """Return the text that the database stores."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


CLOCK: Final = Actor(ActorKind.CLOCK)
API: Final = Actor(ActorKind.API)
OPERATOR: Final = Actor(ActorKind.OPERATOR)
SCENARIO: Final = Actor(ActorKind.SCENARIO)


def read_actor(text: str) -> Actor | None:
    """Return the actor of a stored text; None for a change of an earlier version, which stored none."""
    kind, _, name = text.partition(":")
    return Actor(ActorKind(kind), name) if kind in set(ActorKind) else None
