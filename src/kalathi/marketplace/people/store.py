"""People, invitations and the history in the database."""

import asyncio
import secrets
import time
from datetime import datetime
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.actors import Actor
from kalathi.marketplace.kernel.clock import athens, from_millis, to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Holds, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import Database, Row, View
from kalathi.marketplace.people.model import Invitation, Person, Role, fold_name

_FORGOTTEN_AT_ONCE: Final = 500
_PERSON = "SELECT person_id, shop_id, name, role, password_hash, created_at FROM people"
_INVITATION = "SELECT token_hash, shop_id, role, person_id, invited_by, expires_at FROM invitations"


class Entry(NamedTuple):
    """An action in the history of a place, in Athens time. `action` names a form or a call, `subject` the order, shop
    or person that it changed."""

    at: datetime
    actor: str
    action: str
    subject: str


def has_people(view: View) -> bool:
    """Whether the marketplace has any people."""
    return view.one("SELECT 1 FROM people LIMIT 1", {}) is not None


def people(view: View, place: str) -> list[Person]:
    """Return the people of a place, by name."""
    rows = view.all(f"{_PERSON} WHERE shop_id = :place ORDER BY folded", {"place": place})
    return [read_person(row) for row in rows]


def person(view: View, place: str, person_id: str) -> Person | None:
    """Return a person of a place, or None."""
    row = view.one(f"{_PERSON} WHERE shop_id = :place AND person_id = :id", {"place": place, "id": person_id})
    return None if row is None else read_person(row)


def person_of_name(view: View, name: str) -> Person | None:
    """Return the person with this name, of any place, or None."""
    row = view.one(f"{_PERSON} WHERE folded = :folded", {"folded": fold_name(name)})
    return None if row is None else read_person(row)


def insert_person(new: Person) -> Insert:
    """Return the row of a new person. It fails if the name is taken at the same moment."""
    row: dict[str, Value] = {
        "shop_id": new.place,
        "person_id": new.id,
        "name": new.name,
        "folded": fold_name(new.name),
        "role": new.role,
        "password_hash": new.password_hash,
        "created_at": to_millis(new.created_at),
    }
    return Insert("people", row)


def update_person(old: Person, *, role: Role | None = None, password_hash: str | None = None) -> Update:
    """Return the change of a person's role or password, if both are still as they were read."""
    values: dict[str, Value] = {"role": role or old.role, "password_hash": password_hash or old.password_hash}
    unchanged: dict[str, Value] = {"role": old.role, "password_hash": old.password_hash}
    return Update("people", {"shop_id": old.place, "person_id": old.id}, {**values}, when={**unchanged})


def hold_role(other: Person) -> Holds:
    """Return the condition that a person keeps their role."""
    return Holds("people", {"shop_id": other.place, "person_id": other.id}, {"role": other.role})


def drop_person(old: Person) -> Delete:
    """Return the deletion of a person with this role."""
    return Delete("people", {"shop_id": old.place, "person_id": old.id}, when={"role": old.role})


def invitations(view: View, place: str, now_millis: int) -> list[Invitation]:
    """Return the invitations of a place that can still be used, the newest first. The time is real."""
    rows = view.all(
        f"{_INVITATION} WHERE shop_id = :place AND expires_at > :now ORDER BY expires_at DESC",
        {"place": place, "now": now_millis},
    )
    return [_read_invitation(row) for row in rows]


def invitation(view: View, token_hash: bytes) -> Invitation | None:
    """Return the invitation with this token, or None."""
    row = view.one(f"{_INVITATION} WHERE token_hash = :token_hash", {"token_hash": token_hash})
    return None if row is None else _read_invitation(row)


def insert_invitation(new: Invitation) -> Insert:
    """Return the row of a new invitation."""
    row: dict[str, Value] = {
        "token_hash": new.token_hash,
        "shop_id": new.place,
        "role": new.role,
        "person_id": new.person_id,
        "invited_by": new.invited_by,
        "expires_at": new.expires_at,
    }
    return Insert("invitations", row)


def use_invitation(used: Invitation) -> Delete:
    """Return the deletion of an invitation that was used or removed. It fails if that happens twice at the same
    moment."""
    return Delete("invitations", {"token_hash": used.token_hash})


def drop_invitations_by(person: Person) -> Delete:
    """Return the deletion of all invitations that a person has made."""
    return Delete("invitations", {"shop_id": person.place, "invited_by": person.name}, touches=None)


def drop_invitations_of(place: str, person_id: str) -> Delete:
    """Return the deletion of all links with which a person could choose a new password."""
    return Delete("invitations", {"shop_id": place, "person_id": person_id}, touches=None)


def drop_expired_invitations(view: View, now_millis: int) -> ChangeSet:
    """Return the deletion of expired invitations, up to 500 at once. The time is real."""
    rows = view.all("SELECT token_hash FROM invitations WHERE expires_at <= :now LIMIT 500", {"now": now_millis})
    return ChangeSet(*(Delete("invitations", {"token_hash": row[0]}, touches=None) for row in rows))


def history(view: View, place: str, limit: int, offset: int) -> list[Entry]:
    """Return actions of a place, the latest first."""
    rows = view.all(
        "SELECT at, actor, action, subject FROM history WHERE shop_id = :place"
        " ORDER BY at DESC, entry DESC LIMIT :limit OFFSET :offset",
        {"place": place, "limit": limit, "offset": offset},
    )
    return [Entry(athens(from_millis(at)), actor, action, subject) for at, actor, action, subject in rows]


def insert_entry(place: str, at: datetime, actor: Actor, action: str, subject: str) -> Insert:
    """Return the row of an action in the history of a place."""
    # Actions of one moment keep their order.
    entry_id = f"{time.time_ns():016x}{secrets.token_hex(3)}"
    row: dict[str, Value] = {
        "shop_id": place,
        "at": to_millis(at),
        "entry": entry_id,
        "actor": str(actor),
        "action": action,
        "subject": subject,
    }
    return Insert("history", row)


async def forget_history(database: Database, before_millis: int, ending: asyncio.Event) -> None:
    """Delete the actions before a business time, of all places, until `ending` is set. Raises StorageError."""

    def command(view: View) -> tuple[ChangeSet, int]:
        rows = view.all(
            "SELECT shop_id, at, entry FROM history WHERE at < :before LIMIT :limit",
            {"before": before_millis, "limit": _FORGOTTEN_AT_ONCE},
        )
        keys = [{"shop_id": place, "at": at, "entry": entry} for place, at, entry in rows]
        return ChangeSet(*(Delete("history", key, touches=None) for key in keys)), len(rows)

    while not ending.is_set() and await database.run(command) == _FORGOTTEN_AT_ONCE:
        pass


def read_person(row: Row) -> Person:
    """Return the person of a row with the columns of `_PERSON`."""
    person_id, place, name, role, password_hash, created_at = row
    return Person(person_id, place, name, Role(role), password_hash, athens(from_millis(created_at)))


def _read_invitation(row: Row) -> Invitation:
    token_hash, place, role, person_id, invited_by, expires_at = row
    return Invitation(token_hash, place, Role(role), person_id, invited_by, expires_at)
