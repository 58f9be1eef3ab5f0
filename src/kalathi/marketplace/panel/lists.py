"""Lists on pages: which part is shown, the filters, and a row of a list of orders."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct

from kalathi.contract.codec import decode
from kalathi.contract.words import OrderState, ReturnState
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.search.listing import find_deadline
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.refusals import NoSuchState
from kalathi.marketplace.web.paging import Page, page_of

PER_PAGE = 50
_PRODUCTS_IN_ROW: Final = 3
_CODE: Final = re.compile(r"[A-Za-z0-9-]{1,40}")


class ListPosition(NamedTuple):
    """The position of a page in its list. With `has_more`, the list has more entries than `entries`."""

    number: int
    pages: int
    entries: int
    has_more: bool = False

    @property
    def before(self) -> int | None:
        """The number of the previous page; None on the first."""
        return min(self.number - 1, self.pages) if self.number > 1 else None

    @property
    def after(self) -> int | None:
        """The number of the next page; None on the last."""
        return self.number + 1 if self.number < self.pages else None


def read_page(query: Mapping[str, str]) -> Page:
    """Return the requested page of the list. Raises INVALID_PARAMETER."""
    return page_of({"per": str(PER_PAGE), "page": query.get("page", "1")})


def locate_page(page: Page, count: int, most: int | None = None) -> ListPosition:
    """Return the page's position in a list of `count` results. A number above `most` stands for any larger one."""
    has_more = most is not None and count > most
    entries = most if has_more and most is not None else count
    return ListPosition(page.number, max(1, -(-entries // page.per)), entries, has_more)


def state_of(query: Mapping[str, str]) -> str:
    """Return the state of a filter for returns, or an empty text. Raises INVALID_PARAMETER."""
    state = query.get("state", "")
    if state and state not in set(ReturnState):
        raise refuse(NoSuchState())
    return state


class _Line(Struct):
    product_name: str = ""
    quantity: int = 0
    total_price: Decimal = Decimal(0)


class _Named(Struct):
    first_name: str = ""
    last_name: str = ""


class _Listed(Struct):
    """The members of an order's document that a row needs; a list decodes no others."""

    code: str
    shop_id: str
    state: OrderState
    customer: _Named
    line_items: list[_Line]
    created_at: datetime
    expires_at: datetime
    dispatch_until: datetime | None = None
    courier_voucher: str | None = None
    express: bool = False
    fulfilled_by_skroutz: bool = False
    shipping_cost: Decimal = Decimal(0)
    scheduled_shipment: date | None = None


class ListedProduct(NamedTuple):
    """A product of a row."""

    quantity: int
    name: str


class OrderRow(NamedTuple):
    """A row, ready to be shown: times and money are texts in the reader's language. `products` are the first three;
    `more` is the number of the others."""

    code: str
    shop_id: str
    shop_name: str
    state: str
    customer: str
    products: tuple[ListedProduct, ...]
    more: int
    pieces: int
    total: str
    amount: Decimal
    created: str
    # The deadline of the shop's answer or of the dispatch; empty without one.
    deadline: str
    left: str
    is_late: bool
    has_voucher: bool
    is_express: bool


def is_code(text: str) -> bool:
    """Whether the text can be part of a code. Other texts are not searched for."""
    return _CODE.fullmatch(text) is not None


def row_of(found: FoundOrder, now: datetime, words: Words) -> OrderRow:
    """Return the row of an order."""
    order = decode(found.document, _Listed)
    until = find_deadline(order.state, order.expires_at, order.dispatch_until, is_fbs=order.fulfilled_by_skroutz)
    amount = total(line.total_price for line in order.line_items) + order.shipping_cost
    first = order.line_items[:_PRODUCTS_IN_ROW]
    return OrderRow(
        code=order.code,
        shop_id=order.shop_id,
        shop_name=found.shop.name,
        state=order.state.value,
        customer=f"{order.customer.first_name} {order.customer.last_name}".strip(),
        products=tuple(ListedProduct(line.quantity, line.product_name) for line in first),
        more=len(order.line_items) - len(first),
        pieces=sum(line.quantity for line in order.line_items),
        total=words.money(amount),
        amount=amount,
        created=words.short_moment(order.created_at, now),
        deadline=words.short_moment(until, now) if until else "",
        left=words.time_left(until, now) if until else "",
        is_late=until is not None and until <= now,
        has_voucher=order.courier_voucher is not None,
        is_express=order.express,
    )
