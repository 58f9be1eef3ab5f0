"""The history of a place: which person, or which call of the operator's API, did what and when.

The edge of the pages notes each form that succeeded, so that no form can be forgotten. It does so after the form's own
commit: a process that is killed in between loses the entry, but never the change. The timelines of orders and returns
name the actor of each transition in the transition's own commit.
"""

from typing import Any, Final

from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.lists import PER_PAGE
from kalathi.marketplace.panel.pages import Answer, Page, Shown, Who
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.people import store
from kalathi.marketplace.people.model import OPERATORS
from kalathi.marketplace.web.history import note_entry
from kalathi.marketplace.web.paging import page_of

# The parts of a path that say what a form does, and not to what.
_WORDS: Final = frozenset({"action", "operation"})
_CODES_SHOWN: Final = 5


async def note_action(page: Page, visit: Visit) -> None:
    """Note the form that this visitor has sent, in the history of the visitor's place and of the shop that an operator
    changed."""
    if page.who is Who.PUBLIC:
        return
    action = page.path
    for word in _WORDS & visit.parts.keys():
        action = action.replace(f"{{{word}}}", visit.parts[word][:40])
    subject = ", ".join(part for name, part in visit.parts.items() if name not in _WORDS)
    if not subject and visit.form.encoded:
        subject = ", ".join(visit.form.every("order")[:_CODES_SHOWN])
    places = {visit.place} | ({visit.parts["shop_id"]} if "shop_id" in visit.parts else set())
    await note_entry(visit.context, places, visit.visitor.actor, action, subject)


async def show_history(visit: Visit) -> Answer:
    """Show the history of the place, the latest first."""
    page = page_of({"per": str(PER_PAGE), "page": visit.query.get("page", "1")})

    def query(view: View) -> dict[str, Any]:
        # One entry more than the page shows says whether there is a next page.
        return {"entries": store.history(view, visit.place, page.per + 1, page.offset)}

    content = await visit.context.database.read_list(query)
    entries = content["entries"]
    more = {
        "entries": entries[: page.per],
        "before": page.number - 1,
        "after": page.number + 1 if len(entries) > page.per else 0,
    }
    return Shown(f"{'operator' if visit.place == OPERATORS else 'shop'}/history.html", more)
