"""The rows of the inbox."""

from enum import StrEnum
from typing import Final, NamedTuple

from kalathi.contract.words import OrderState

# States of an order that the courier has, or has had.
HAS_LEFT: Final = frozenset(
    {
        OrderState.DISPATCHED,
        OrderState.DELIVERED,
        OrderState.PARTIALLY_DELIVERED,
        OrderState.FOR_RETURN,
        OrderState.PARTIALLY_RETURNED,
        OrderState.RETURNED,
    }
)


class InboxInUseError(Exception):
    """Another connector works on this inbox; two would answer every order twice."""


class InboxVersionError(Exception):
    """The file is there and is not one of this version; the sentence says what to do."""


class EventState(StrEnum):
    """The states of an event."""

    NEW = "new"
    DONE = "done"
    ASIDE = "aside"  # it cannot be read, and waits for a person


class InboxEvent(NamedTuple):
    """An event as it came. `is_verified`: its signature or its source shows that the marketplace has sent it."""

    id: int
    body: bytes
    is_verified: bool


class Subject(StrEnum):
    """An order or a return."""

    ORDER = "order"
    RETURN = "return"


class Printed(NamedTuple):
    """A voucher on paper, or in its folder. Its path is empty as long as the result of the printing is unknown;
    `printed_at` is in seconds since 1970."""

    url: str
    code: str
    path: str
    printed_at: float


class Look(NamedTuple):
    """An order or return to look at: its failed attempts, its latest reason, and the last message to a person."""

    kind: Subject
    code: str
    tries: int
    wanted: int
    note: str


class Known(NamedTuple):
    """A known order or return: its last state, its deadline (seconds since 1970), and why it waits for a person, if it
    does."""

    kind: Subject
    code: str
    state: str
    seen: str
    answer_until: float | None
    note: str


class Handover(NamedTuple):
    """A change for the shop's own system."""

    id: int
    code: str
    body: bytes
    tries: int
