"""The operator's calls on people: invitations, the list of people, and the history of a place."""

from datetime import datetime

from msgspec import Struct

from kalathi.marketplace.api.calls import Call, reply
from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.ids import secret_token
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.people import commands, store
from kalathi.marketplace.people.model import OPERATORS, NewInvitation, Role
from kalathi.marketplace.people.refusals import PersonNotFound
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.shops.model import hash_token
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.paging import page_of
from kalathi.marketplace.web.reply import Reply


class ShownPerson(Struct, frozen=True, kw_only=True):
    """A user of the pages. `shop_id` is null for a person of the operator."""

    id: str
    name: str
    role: Role
    shop_id: str | None
    created_at: datetime


class PeopleList(Struct, frozen=True, kw_only=True):
    """`GET /marketplace/people`"""

    people: list[ShownPerson]


class ShownInvitation(Struct, frozen=True, kw_only=True):
    """The link of an invitation. It works once, until `expires_at`. Only this answer shows it."""

    link: str
    expires_at: datetime


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """An action: its cause as a kind and perhaps a name, such as `shop:Maria`, the form or call, and its subject."""

    at: datetime
    actor: str
    action: str
    subject: str


class HistoryList(Struct, frozen=True, kw_only=True):
    """`GET /marketplace/history`"""

    history: list[HistoryEntry]


async def list_people(context: Context, call: Call) -> Reply:
    """List the people of a shop, or without `shop_id` those of the operator."""
    place = call.query.get("shop_id", OPERATORS)
    found = await context.database.read(lambda view: store.people(view, place))
    shown = [
        ShownPerson(
            id=person.id,
            name=person.name,
            role=person.role,
            shop_id=person.place or None,
            created_at=person.created_at,
        )
        for person in found
    ]
    return reply(200, PeopleList(people=shown))


async def invite(context: Context, call: Call) -> Reply:
    """Make a link with which a new person joins a shop, or joins the operator without `shop_id`. With `name`, an
    existing person chooses a new password with it."""
    new: NewInvitation = call.body
    token, now_millis, place = secret_token(), context.real(), new.shop_id or OPERATORS

    def command(view: View) -> tuple[ChangeSet, int]:
        if place != OPERATORS:
            find_shop(view, place)
        if not new.name:
            changes, invitation = commands.invite(
                view, place, new.role, hash_token(token), invited_by="", now_millis=now_millis
            )
            return changes, invitation.expires_at
        person = store.person_of_name(view, new.name)
        if person is None or person.place != place:
            raise refuse(PersonNotFound())
        changes, invitation = commands.offer_new_password(
            view, place, person.id, hash_token(token), invited_by="", now_millis=now_millis
        )
        return changes, invitation.expires_at

    expires_at = athens(from_millis(await context.database.run(command)))
    link = f"{context.terms.public_url}/invitation/{token}"
    return reply(201, ShownInvitation(link=link, expires_at=expires_at))


async def list_history(context: Context, call: Call) -> Reply:
    """Show who did what in a shop, or without `shop_id` on the operator's side: the latest first."""
    page = page_of(call.query)
    place = call.query.get("shop_id", OPERATORS)
    found = await context.database.read(lambda view: store.history(view, place, page.per, page.offset))
    entries = [HistoryEntry(at=at, actor=actor, action=action, subject=subject) for at, actor, action, subject in found]
    return reply(200, HistoryList(history=entries))
