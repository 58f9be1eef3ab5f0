"""People and their roles: structs and pure rules."""

import re
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from kalathi.marketplace.kernel.clock import athens, from_millis

# The place of people who work for the marketplace. All others belong to a shop, and its id is their place.
OPERATORS: Final = ""
INVITATION_DAYS: Final = 7
LONGEST_NAME: Final = 80
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 200
MOST_PEOPLE: Final = 200
MOST_INVITATIONS: Final = 50
_BLANKS: Final = re.compile(r"\s+")


class Role(StrEnum):
    """The roles of people, of a shop and of the operator."""

    # Also manages people, tokens and secrets.
    OWNER = "owner"
    STAFF = "staff"
    READ_ONLY = "read_only"

    def covers(self, other: "Role") -> bool:
        """Whether a person with this role may do everything that a person with the other role may do."""
        return _RANKS[self] >= _RANKS[other]


_RANKS: Final = {Role.READ_ONLY: 0, Role.STAFF: 1, Role.OWNER: 2}


class Person(NamedTuple):
    """A user of the pages. `place` is a shop's id, or OPERATORS. The time is in Athens."""

    id: str
    place: str
    name: str
    role: Role
    password_hash: str
    created_at: datetime


class Invitation(NamedTuple):
    """A link with which a new person joins a place, or with which a person chooses a new password. It can be used once,
    until a real time in milliseconds since 1970. `person_id` is empty for a new person."""

    token_hash: bytes
    place: str
    role: Role
    person_id: str
    invited_by: str
    expires_at: int

    @property
    def ends_at(self) -> datetime:
        """The end, in Athens time."""
        return athens(from_millis(self.expires_at))


class NewInvitation(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/invitations`"""

    role: Annotated[
        Role, Meta(description="owner: also manages people, tokens and secrets; staff; read_only: changes nothing.")
    ] = Role.OWNER
    shop_id: (
        Annotated[str, Meta(max_length=200, description="The person's shop; null for a person of the operator.")] | None
    ) = None
    name: Annotated[str, Meta(max_length=200, description="An existing person, who chooses a new password.")] | None = (
        None
    )


def clean_name(name: str) -> str:
    """Return a name without superfluous blanks, in one Unicode form."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", name)).strip()


def fold_name(name: str) -> str:
    """Return the form in which two names are compared: `Μαρία` and `μαρια` are the same person."""
    decomposed = unicodedata.normalize("NFKD", clean_name(name).casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
