"""Signing in and out."""

import msgspec

from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.sign_in.links import LinkRefused
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.web.reply import ERRORS

SHOP_HOME = "/shop/orders"
OPERATOR_HOME = "/"


async def show_sign_in(visit: Visit) -> Answer:
    """Show the form to a visitor who wants to see a closed page."""
    return sign_in_page(visit, visit.query.get("then", ""))


async def sign_in(visit: Visit) -> Answer:
    """Begin a session, and redirect to the wanted page. Raises UNAUTHORIZED, RATE_LIMITED."""
    cookie, is_operator = await visit.panel.sessions.sign_in(visit.form.text("token"), visit.client, visit.visitor)
    then = _then(visit.form.text("then"))
    # A shop is not sent to the operator's page that it happened to ask for, nor the other way round.
    is_shops = then.startswith("/shop")
    home = OPERATOR_HOME if is_operator else SHOP_HOME
    return See(then if then and is_shops is not is_operator else home, session=cookie)


async def sign_in_again(visit: Visit) -> Answer:
    """Show the form with the reason of the refusal."""
    return sign_in_page(visit, visit.form.text("then"))


async def open_link(visit: Visit) -> Answer:
    """Sign the operator of a sandbox in by a link, once. Raises UNAUTHORIZED."""
    # Browsers load pages ahead of a click; that must not use the link up.
    if visit.is_prefetch:
        return Shown("error.html", {"messages": (LinkRefused(),), "status": 503}, 503)
    if visit.visitor.has_session and visit.visitor.is_operator:
        return See(OPERATOR_HOME)
    try:
        cookie = await visit.panel.sessions.sign_in_by_link(visit.parts["link"], visit.client, visit.visitor)
    except DomainError as error:
        refused = msgspec.structs.replace(visit, problems=error.reasons)
        return sign_in_page(refused, "")._replace(status=ERRORS[error.code].status)
    return See(OPERATOR_HOME, session=cookie)


async def sign_out(visit: Visit) -> Answer:
    """The end of the session."""
    await visit.panel.sessions.sign_out(visit.visitor)
    return See("/sign-in", done="signed_out", session="")


def sign_in_page(visit: Visit, then: str) -> Shown:
    """The form, with the reason of a refusal; signing in leads to `then`."""
    # Other windows of the same browser learn from this that the session has ended.
    whose = "nobody" if visit.visitor.is_nobody else visit.visitor.whose
    return Shown("sign_in.html", {"problems": visit.problems, "then": _then(then), "whose": whose})


def _then(path: str) -> str:
    """Return a path of this site; empty for any other text."""
    # What begins with one slash has no host; browsers read a backslash as a slash, and leave out line ends.
    is_ours = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_ours else ""
