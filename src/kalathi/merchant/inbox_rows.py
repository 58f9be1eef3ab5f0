"""What the inbox keeps, row by row, as it gives it."""

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
    """What has become of an event."""

    NEW = "new"
    DONE = "done"
    ASIDE = "aside"  # it cannot be read, and waits for a person


class InboxEvent(NamedTuple):
    """An event as it came. `is_verified`: its signature or its source shows that the marketplace has sent it."""

    id: int
    body: bytes
    is_verified: bool


class Subject(StrEnum):
    """What is looked at."""

    ORDER = "order"
    RETURN = "return"


class Printed(NamedTuple):
    """A voucher on paper, or in its folder. Its path is empty as long as nobody knows whether the printing has ended;
    `printed_at` is in seconds since 1970."""

    url: str
    code: str
    path: str
    printed_at: float


class Look(NamedTuple):
    """Something to look at: how often that was tried in vain, which of its reasons is the latest, and what a person was
    told of it the last time."""

    kind: Subject
    code: str
    tries: int
    wanted: int
    note: str


class Known(NamedTuple):
    """What is known of an order or a return: its state when it was last seen, until when it is to be answered (seconds
    since 1970), and why it waits for a person, if it does."""

    kind: Subject
    code: str
    state: str
    seen: str
    answer_until: float | None
    note: str


class Handover(NamedTuple):
    """Something that the shop's own system is to be told."""

    id: int
    code: str
    body: bytes
    tries: int
