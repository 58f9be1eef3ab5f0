"""One request of a person's browser, as the handler of a page sees it."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.datastructures import QueryParams

from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.panel.forms import Form
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.live import OPERATOR, ChangeSignals, Mark, Stream
from kalathi.marketplace.panel.refusals import NotTheShop
from kalathi.marketplace.panel.sign_in.sessions import Sessions, Visitor
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.web.context import Context


class PanelContext(Struct, frozen=True, kw_only=True):
    """The parts that every page uses; the edge makes it."""

    context: Context
    sessions: Sessions
    signals: ChangeSignals
    # The shops that are testing a webhook: a test takes connections from deliveries.
    trying: set[str] = msgspec.field(default_factory=set)


class Visit(Struct, frozen=True, kw_only=True):
    """One request for a page: visitor, page and form. `parts` are the parameters of the path; `problems` are the
    reasons for which the form was refused that was sent last."""

    panel: PanelContext
    visitor: Visitor
    client: str
    path: str
    parts: Mapping[str, str]
    query: QueryParams
    words: Words
    # The browser loads the page ahead of a click.
    is_prefetch: bool = False
    form: Form = Form()
    problems: tuple[Refusal | str, ...] = ()

    @property
    def context(self) -> Context:
        """The marketplace."""
        return self.panel.context

    def follow(self, tables: tuple[str, ...], mark: Mark) -> Stream:
        """Return a stream of changes that this page has not seen yet. Raises RATE_LIMITED."""
        seen = self.query.get("seen", "")
        name = self.visitor.shop.id if self.visitor.shop else OPERATOR
        return Stream(self.panel.signals, tables, mark, visitor=name, seen=seen)

    @property
    def shop(self) -> Shop:
        """The shop of these pages. Raises UNAUTHORIZED without a shop's session."""
        if self.visitor.shop is None:
            raise refuse(NotTheShop())
        return self.visitor.shop
