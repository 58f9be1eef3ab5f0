"""People of a place, their invitations and sessions: the same pages for a shop and for the operator."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

from kalathi.marketplace.kernel.actors import Actor, ActorKind
from kalathi.marketplace.kernel.errors import DomainError, refuse
from kalathi.marketplace.kernel.ids import opaque_id, secret_token
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.entrance import OPERATOR_HOME, SHOP_HOME
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoSuchChoice, NoSuchPage
from kalathi.marketplace.panel.sign_in import store as sessions
from kalathi.marketplace.panel.sign_in.store import ListedSession
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.people import commands, refusals, store
from kalathi.marketplace.people.model import OPERATORS, Invitation, Person, Role
from kalathi.marketplace.people.passwords import check_password, hash_password, is_password
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.shops.model import hash_token

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def show_people(visit: Visit) -> Answer:
    """Show the people of the place, with their invitations and sessions."""
    place, now_millis = visit.place, visit.context.real()

    def query(view: View) -> dict[str, Any]:
        token_hash = _token_hash_of(visit, view, place)
        present = store.people(view, place)
        names = {person.id: person.name for person in present}
        listed = sessions.list_sessions(view, place, token_hash, now_millis)
        return {
            "people": present,
            "invitations": [
                (invitation, names.get(invitation.person_id, ""))
                for invitation in store.invitations(view, place, now_millis)
            ],
            "sessions": [entry for entry in listed if _may_see(visit, entry)],
        }

    content = await visit.context.database.read_list(query)
    more = {
        "problems": visit.problems,
        "given": visit.form.given,
        "roles": tuple(role.value for role in Role),
        "root": _root(visit),
        "person": visit.visitor.person,
        "is_owner": visit.visitor.role is Role.OWNER,
        "present_session": visit.visitor.session_hash,
    }
    return Shown(_template(visit, "people"), content | more)


async def invite(visit: Visit) -> Answer:
    """`role=`: invite a person, and show the link once. Raises INVALID_PARAMETER."""
    place, role, token, now_millis = visit.place, _read_role(visit), secret_token(), visit.context.real()
    await visit.context.database.run(
        lambda view: commands.invite(
            view, place, role, hash_token(token), invited_by=visit.visitor.actor.name, now_millis=now_millis
        )
    )
    return _show_link(visit, token, None)


async def offer_new_password(visit: Visit) -> Answer:
    """Make a link with which a person chooses a new password, and show it once. Raises NOT_FOUND."""
    place, token, now_millis = visit.place, secret_token(), visit.context.real()

    def command(view: View) -> tuple[ChangeSet, Person]:
        person = commands.find_person(view, place, visit.parts["person_id"])
        changes, _ = commands.offer_new_password(
            view, place, person.id, hash_token(token), invited_by=visit.visitor.actor.name, now_millis=now_millis
        )
        return changes, person

    return _show_link(visit, token, await visit.context.database.run(command))


async def remove_invitation(visit: Visit) -> Answer:
    """End an invitation. Raises NOT_FOUND."""
    try:
        token_hash = bytes.fromhex(visit.parts["invitation"])
    except ValueError:
        raise refuse(NoSuchPage()) from None

    def command(view: View) -> tuple[ChangeSet, None]:
        found = store.invitation(view, token_hash)
        if found is None or found.place != visit.place:
            raise refuse(refusals.InvitationEnded())
        return ChangeSet(store.use_invitation(found)), None

    await visit.context.database.run(command)
    return See(f"{_root(visit)}/people", done="invitation_removed")


async def change_role(visit: Visit) -> Answer:
    """`role=`: give a person another role. Raises NOT_FOUND, INVALID_PARAMETER."""
    place, role = visit.place, _read_role(visit)
    await visit.context.database.run(lambda view: commands.change_role(view, place, visit.parts["person_id"], role))
    return See(f"{_root(visit)}/people", done="role")


async def remove_person(visit: Visit) -> Answer:
    """Remove a person and end their sessions. Raises NOT_FOUND, INVALID_PARAMETER."""
    visit.form.check_confirmed()
    place = visit.place

    def command(view: View) -> tuple[ChangeSet, None]:
        changes, person = commands.remove_person(view, place, visit.parts["person_id"])
        changes.add(sessions.drop_sessions_of(sessions.hash_of_person(person.id)))
        return changes, None

    await visit.context.database.run(command)
    return See(f"{_root(visit)}/people", done="person_removed")


async def change_password(visit: Visit) -> Answer:
    """`old_password=&password=`: set the visitor's own password, and end their other sessions. Raises
    INVALID_PARAMETER, NOT_FOUND for a visitor who is not a person."""
    person, values = visit.visitor.person, visit.form.values
    if person is None:
        raise refuse(NoSuchPage())
    visit.panel.sessions.count_guess(person)
    if not await _run(visit, is_password, values.get("old_password", ""), person.password_hash):
        raise refuse(refusals.OldPasswordWrong())
    check_password(values.get("password", ""), person.name)
    password_hash = await _run(visit, hash_password, values.get("password", ""))

    def command(view: View) -> tuple[ChangeSet, Person]:
        present = commands.find_person(view, person.place, person.id)
        changes = ChangeSet(store.update_person(present, password_hash=password_hash))
        changes.add(store.drop_invitations_of(person.place, person.id))
        changes.add(sessions.drop_sessions_of(sessions.hash_of_person(person.id)))
        return changes, present._replace(password_hash=password_hash)

    changed = await visit.context.database.run(command)
    cookie = await visit.panel.sessions.begin_for_person(changed, visit.browser, visit.visitor)
    return See(f"{_root(visit)}/people", done="password", session=cookie)


async def end_session(visit: Visit) -> Answer:
    """End a session: one of the visitor's own, or as an owner any of the place. Raises NOT_FOUND."""
    place, now_millis = visit.place, visit.context.real()

    def command(view: View) -> tuple[ChangeSet, None]:
        listed = sessions.list_sessions(view, place, _token_hash_of(visit, view, place), now_millis)
        for entry in listed:
            if entry.session_hash.hex() == visit.parts["session"] and _may_see(visit, entry):
                return ChangeSet(sessions.drop_session(entry.session_hash)), None
        raise refuse(NoSuchPage())

    await visit.context.database.run(command)
    return See(f"{_root(visit)}/people", done="session_ended")


async def show_invitation(visit: Visit) -> Answer:
    """Show the form of an invitation: name and password. Raises NOT_FOUND."""

    def query(view: View) -> tuple[Invitation, Person | None, str]:
        invitation, person = commands.find_invitation(view, _hash_of_link(visit), visit.context.real())
        return invitation, person, find_shop(view, invitation.place).name if invitation.place else ""

    invitation, person, shop_name = await visit.context.database.read(query)
    content = {
        "problems": visit.problems,
        "given": visit.form.given,
        "invitation": invitation,
        "person": person,
        "shop_name": shop_name,
        "token": visit.parts["token"],
    }
    return Shown("invitation.html", content)


async def join(visit: Visit) -> Answer:
    """`name=&password=`: join by an invitation, or choose a new password, and sign in. Raises NOT_FOUND,
    INVALID_PARAMETER."""
    database, form, token_hash, now_millis = (
        visit.context.database,
        visit.form,
        _hash_of_link(visit),
        visit.context.real(),
    )

    def find_name(view: View) -> str:
        _, person = commands.find_invitation(view, token_hash, now_millis)
        return person.name if person else commands.check_name(view, form.text("name"))

    password = form.values.get("password", "")
    check_password(password, await database.read(find_name))
    password_hash = await _run(visit, hash_password, password)
    new_id, now = opaque_id(), visit.context.clock.now()

    def command(view: View) -> tuple[ChangeSet, Person]:
        changes, person = commands.join(
            view, token_hash, form.text("name"), password_hash, new_id=new_id, now=now, now_millis=now_millis
        )
        # From now on, people of this place sign in by themselves.
        for ended in (sessions.hash_of_person(person.id), _token_hash_of(visit, view, person.place)):
            changes.add(sessions.drop_sessions_of(ended))
        changes.add(
            store.insert_entry(
                person.place,
                now,
                Actor(ActorKind.SHOP if person.place else ActorKind.OPERATOR, person.name),
                "/invitation",
                person.name,
            )
        )
        return changes, person

    person = await database.run(command)
    cookie = await visit.panel.sessions.begin_for_person(person, visit.browser, visit.visitor)
    return See(OPERATOR_HOME if person.place == OPERATORS else SHOP_HOME, done="joined", session=cookie)


async def join_again(visit: Visit) -> Answer:
    """Show the invitation again with the reason of a refusal, or only the reason if the invitation has ended."""
    try:
        return await show_invitation(visit)
    except DomainError as error:
        return Shown("error.html", {"messages": error.reasons, "status": 404}, 404)


def _show_link(visit: Visit, token: str, person: Person | None) -> Shown:
    address = f"{visit.context.terms.public_url}/invitation/{token}"
    return Shown(_template(visit, "invited"), {"address": address, "person": person, "root": _root(visit)})


def _hash_of_link(visit: Visit) -> bytes:
    return hash_token(visit.parts["token"][:200])


def _read_role(visit: Visit) -> Role:
    role = visit.form.text("role")
    if role not in set(Role):
        raise refuse(NoSuchChoice())
    return Role(role)


def _may_see(visit: Visit, entry: ListedSession) -> bool:
    person = visit.visitor.person
    return visit.visitor.role is Role.OWNER or (person is not None and entry.person_id == person.id)


def _token_hash_of(visit: Visit, view: View, place: str) -> bytes:
    """Return the hash of the token with which a place signs in while it has no people; empty for none."""
    if place == OPERATORS:
        return visit.context.operator_token_hash
    return sessions.token_hash_of(view, place) or b""


async def _run(visit: Visit, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Run slow work, such as hashing, in the marketplace's thread."""
    return await asyncio.get_running_loop().run_in_executor(visit.context.threads, function, *arguments)


def _root(visit: Visit) -> str:
    return "/operator" if visit.place == OPERATORS else "/shop"


def _template(visit: Visit, name: str) -> str:
    return f"{_root(visit)[1:]}/{name}.html"
