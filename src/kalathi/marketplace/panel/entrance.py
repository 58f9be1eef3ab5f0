"""Signing in and out, and joining by an invitation."""

import msgspec

from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.sign_in.links import LinkRefused
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.people.store import has_people
from kalathi.marketplace.web.reply import ERRORS

SHOP_HOME = "/shop/orders"
OPERATOR_HOME = "/"


async def show_sign_in(visit: Visit) -> Answer:
    """Show the sign-in form."""
    return await sign_in_page(visit, visit.query.get("then", ""))


async def sign_in(visit: Visit) -> Answer:
    """Begin a session, and redirect to the wanted page. Raises UNAUTHORIZED, RATE_LIMITED."""
    sessions, form = visit.panel.sessions, visit.form
    if form.text("name"):
        cookie, is_operator = await sessions.sign_in_person(
            form.text("name"), form.values.get("password", ""), visit.browser, visit.visitor
        )
    else:
        cookie, is_operator = await sessions.sign_in(form.text("token"), visit.browser, visit.visitor)
    then = _then(form.text("then"))
    # Do not redirect a shop to one of the operator's pages, or the operator to a shop's page.
    is_shops = then.startswith("/shop")
    home = OPERATOR_HOME if is_operator else SHOP_HOME
    return See(then if then and is_shops is not is_operator else home, session=cookie)


async def sign_in_again(visit: Visit) -> Answer:
    """Show the form with the reason of the refusal."""
    return await sign_in_page(visit, visit.form.text("then"))


async def open_link(visit: Visit) -> Answer:
    """Sign the operator of a sandbox in by a link, once. Raises UNAUTHORIZED."""
    # Browsers prefetch pages before a click. A prefetch must not use up the link.
    if visit.is_prefetch:
        return Shown("error.html", {"messages": (LinkRefused(),), "status": 503}, 503)
    if visit.visitor.has_session and visit.visitor.is_operator:
        return See(OPERATOR_HOME)
    try:
        cookie = await visit.panel.sessions.sign_in_by_link(visit.parts["link"], visit.browser, visit.visitor)
    except DomainError as error:
        refused = msgspec.structs.replace(visit, problems=error.reasons)
        return (await sign_in_page(refused, ""))._replace(status=ERRORS[error.code].status)
    return See(OPERATOR_HOME, session=cookie)


async def sign_out(visit: Visit) -> Answer:
    """End the session."""
    await visit.panel.sessions.sign_out(visit.visitor)
    return See("/sign-in", done="signed_out", session="")


async def sign_in_page(visit: Visit, then: str) -> Shown:
    """Return the sign-in page, with the reason of a refusal. After signing in, the user is redirected to `then`."""
    # Other windows of the same browser learn from this that the session has ended.
    whose = "anonymous" if visit.visitor.is_anonymous else visit.visitor.whose
    content = {
        "problems": visit.problems,
        "given": visit.form.given,
        "then": _then(then),
        "whose": whose,
        "has_people": await visit.context.database.read(has_people),
    }
    return Shown("sign_in.html", content)


def _then(path: str) -> str:
    """Return a path of this site; empty for any other text."""
    # A path with exactly one slash at the start has no host. Browsers read a backslash as a slash and drop line breaks.
    is_ours = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_ours else ""
