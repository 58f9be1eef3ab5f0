"""A browser's request, as the handler of a page receives it."""

import asyncio
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.datastructures import QueryParams

from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.panel.forms import Form
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.live import OPERATOR, ChangeSignals, Mark, Stream
from kalathi.marketplace.panel.refusals import NotTheShop
from kalathi.marketplace.panel.sign_in.sessions import Browser, Sessions, Visitor
from kalathi.marketplace.people.model import OPERATORS
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.web.context import Context


class PanelContext(Struct, frozen=True, kw_only=True):
    """The parts that every page uses. The edge creates it."""

    context: Context
    sessions: Sessions
    signals: ChangeSignals
    # The ids of shops with a running test webhook. The number is limited, because tests share the connections of
    # deliveries.
    trying: set[str] = msgspec.field(default_factory=set)
    # Held during an export, because each needs much memory.
    exporting: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)


class Visit(Struct, frozen=True, kw_only=True):
    """One request for a page: visitor, page and form. `parts` are the parameters of the path. `problems` are the
    reasons why the sent form was refused."""

    panel: PanelContext
    visitor: Visitor
    browser: Browser
    path: str
    parts: Mapping[str, str]
    query: QueryParams
    words: Words
    # Whether the browser prefetches the page.
    is_prefetch: bool = False
    form: Form = Form()
    problems: tuple[Refusal | str, ...] = ()

    @property
    def context(self) -> Context:
        """The marketplace."""
        return self.panel.context

    @property
    def commands(self) -> CommandRunner:
        """The runner of commands, on behalf of this visitor."""
        return self.panel.context.commands.acting_as(self.visitor.actor)

    @property
    def place(self) -> str:
        """The shop's id on a shop's pages, and OPERATORS on the operator's."""
        return self.shop.id if self.path.startswith("/shop") else OPERATORS

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
