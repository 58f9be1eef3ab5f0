"""Commands on people, one function each. Each returns a change set and its result. Callers check the actor's role."""

from datetime import datetime

from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.people import refusals, store
from kalathi.marketplace.people.model import (
    INVITATION_DAYS,
    LONGEST_NAME,
    MOST_PEOPLE,
    OPERATORS,
    Invitation,
    Person,
    Role,
    clean_name,
    fold_name,
)
from kalathi.marketplace.shops.commands import find_open_shop

_DAY_MILLIS = 86_400_000


def invite(
    view: View, place: str, role: Role, token_hash: bytes, *, invited_by: str, now_millis: int
) -> tuple[ChangeSet, Invitation]:
    """Invite a new person to a place. The time is real. Raises INVALID_PARAMETER."""
    if place != OPERATORS:
        find_open_shop(view, place)
    present = store.people(view, place)
    if not present and role is not Role.OWNER:
        raise refuse(refusals.FirstMustBeOwner())
    if len(present) + len(store.invitations(view, place, now_millis)) >= MOST_PEOPLE:
        raise refuse(refusals.TooManyPeople(MOST_PEOPLE))
    invitation = Invitation(token_hash, place, role, "", invited_by, now_millis + INVITATION_DAYS * _DAY_MILLIS)
    changes = store.drop_expired_invitations(view, now_millis)
    changes.add(store.insert_invitation(invitation))
    return changes, invitation


def offer_new_password(
    view: View, place: str, person_id: str, token_hash: bytes, *, invited_by: str, now_millis: int
) -> tuple[ChangeSet, Invitation]:
    """Make a link with which a person chooses a new password. Earlier ones end. The time is real. Raises NOT_FOUND."""
    person = find_person(view, place, person_id)
    expires_at = now_millis + INVITATION_DAYS * _DAY_MILLIS
    invitation = Invitation(token_hash, place, person.role, person_id, invited_by, expires_at)
    return ChangeSet(store.drop_invitations_of(place, person_id), store.insert_invitation(invitation)), invitation


def find_invitation(view: View, token_hash: bytes, now_millis: int) -> tuple[Invitation, Person | None]:
    """Return an invitation that can be used, and its person if it is for a new password. The time is real. Raises
    NOT_FOUND."""
    found = store.invitation(view, token_hash)
    if found is None or found.expires_at <= now_millis:
        raise refuse(refusals.InvitationEnded())
    if found.place != OPERATORS:
        find_open_shop(view, found.place)
    person = store.person(view, found.place, found.person_id) if found.person_id else None
    if found.person_id and person is None:
        raise refuse(refusals.InvitationEnded())
    return found, person


def check_name(view: View, name: str) -> str:
    """Return the cleaned name of a new person. Raises INVALID_PARAMETER for a blank, long or taken name."""
    cleaned = clean_name(name)
    # Signs that are invisible would make two names look the same.
    if not fold_name(cleaned) or len(cleaned) > LONGEST_NAME or not cleaned.isprintable():
        raise refuse(refusals.NoName(LONGEST_NAME))
    if store.person_of_name(view, cleaned) is not None:
        raise refuse(refusals.NameTaken())
    return cleaned


def join(
    view: View, token_hash: bytes, name: str, password_hash: str, *, new_id: str, now: datetime, now_millis: int
) -> tuple[ChangeSet, Person]:
    """Use an invitation: add its person, or set the new password of an existing one. `now` is business time, and
    `now_millis` real time. Raises NOT_FOUND, INVALID_PARAMETER."""
    invitation, present = find_invitation(view, token_hash, now_millis)
    changes = ChangeSet(store.use_invitation(invitation))
    if present is not None:
        changes.add(store.update_person(present, password_hash=password_hash))
        return changes, present._replace(password_hash=password_hash)
    person = Person(new_id, invitation.place, check_name(view, name), invitation.role, password_hash, now)
    changes.add(store.insert_person(person))
    return changes, person


def change_role(view: View, place: str, person_id: str, role: Role) -> tuple[ChangeSet, Person]:
    """Give a person another role. Raises NOT_FOUND, INVALID_PARAMETER for the last owner."""
    person = find_person(view, place, person_id)
    changes = ChangeSet(store.update_person(person, role=role))
    if role is not Role.OWNER:
        changes.add(store.drop_invitations_by(person))
        _keep_an_owner(view, person, changes)
    return changes, person._replace(role=role)


def remove_person(view: View, place: str, person_id: str) -> tuple[ChangeSet, Person]:
    """Remove a person. Raises NOT_FOUND, INVALID_PARAMETER for the last owner."""
    person = find_person(view, place, person_id)
    changes = ChangeSet(store.drop_person(person), store.drop_invitations_of(place, person_id))
    changes.add(store.drop_invitations_by(person))
    _keep_an_owner(view, person, changes)
    return changes, person


def find_person(view: View, place: str, person_id: str) -> Person:
    """Return a person of a place. Raises NOT_FOUND."""
    found = store.person(view, place, person_id)
    if found is None:
        raise refuse(refusals.PersonNotFound())
    return found


def _keep_an_owner(view: View, person: Person, changes: ChangeSet) -> None:
    """Let the change set apply only if another owner stays one. Raises INVALID_PARAMETER if there is no other."""
    if person.role is not Role.OWNER:
        return
    others = [other for other in store.people(view, person.place) if other.role is Role.OWNER and other.id != person.id]
    if not others:
        raise refuse(refusals.LastOwner())
    changes.add(store.hold_role(others[0]))
