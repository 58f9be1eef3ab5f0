"""Find and remove the data of customers, on demand and after a time."""

import asyncio
import contextlib
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import Struct

from kalathi.contract.codec import decode
from kalathi.contract.orders import Customer, InvoiceDetails
from kalathi.contract.words import OrderState, ReturnState
from kalathi.marketplace.kernel.actors import Actor
from kalathi.marketplace.kernel.errors import DomainError, refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.orders import queries
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.search.store import find_by_words, load_orders
from kalathi.marketplace.orders.search.words import read_search
from kalathi.marketplace.people.store import insert_entry
from kalathi.marketplace.privacy import refusals, store
from kalathi.marketplace.request_log.log import RequestLog
from kalathi.marketplace.returns.model import FoundReturn
from kalathi.marketplace.returns.store import page_of_returns
from kalathi.marketplace.shops import store as shops

MOST_FOUND: Final = 200
ACTION: Final = "anonymise"
_AT_ONCE: Final = 100
_RETURNS_AT_ONCE: Final = 100
_FINISHED: Final = frozenset(
    {
        *(OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.DELIVERED),
        *(OrderState.PARTIALLY_DELIVERED, OrderState.PARTIALLY_RETURNED, OrderState.RETURNED),
    }
)
_ENDED: Final = frozenset({ReturnState.RETURNED, ReturnState.REJECTED, ReturnState.EXPIRED, ReturnState.CANCELLED})


class ReturnData(Struct, frozen=True, kw_only=True):
    """The customer's texts in a return."""

    return_code: str
    comments: list[str]
    photos: list[str]


class CustomerData(Struct, frozen=True, kw_only=True):
    """All data of a customer in one order. Times are in Athens."""

    code: str
    shop_id: str
    state: OrderState
    created_at: datetime
    customer: Customer
    comments: str
    invoice_details: InvoiceDetails | None
    returns: list[ReturnData]
    notes: list[str]
    can_be_anonymised: bool


class _Subject(NamedTuple):
    found: FoundOrder
    returns: list[FoundReturn]

    @property
    def is_finished(self) -> bool:
        """Whether neither the shop nor a courier needs the customer any more."""
        order = self.found.order
        returns_ended = all(entry.returned.state in _ENDED for entry in self.returns)
        return order.state in _FINISHED and not order.is_travelling_back and returns_ended


def find_customer(view: View, text: str, shop_id: str = "") -> list[CustomerData]:
    """Return the data of the orders with these words, such as a customer's name, of one shop or of all, the latest
    first. The search ends with the shop in which MOST_FOUND are reached. Raises INVALID_PARAMETER for a text without
    words."""
    beginnings = read_search(text)
    if not beginnings:
        raise refuse(refusals.NothingToSearch())
    found: list[CustomerData] = []
    for place in [shop_id] if shop_id else [shop.id for shop in shops.shops(view)]:
        matches = find_by_words(view, place, beginnings, (), None, MOST_FOUND)
        read = load_orders(view, place, [match.code for match in matches.found])
        found += [_show(view, entry) for entry in read.values() if not entry.order.anonymised]
        if len(found) >= MOST_FOUND:
            break
    return sorted(found, key=lambda entry: entry.created_at, reverse=True)


async def anonymise(database: Database, request_log: RequestLog | None, code: str, actor: Actor, now: datetime) -> None:
    """Remove a customer's data from an order, its returns, its cart, webhooks, files, notes, remembered answers and the
    request log. Amounts, products, states and times remain. Raises ORDER_NOT_FOUND, ORDER_STATUS for an order under
    way."""

    codes = await _anonymise(database, code, actor, now, drops_answers=True)
    if request_log is not None:
        request_log.forget_codes(codes)


async def _anonymise(database: Database, code: str, actor: Actor, now: datetime, *, drops_answers: bool) -> list[str]:
    """Remove the customer from the database. Return the codes of the order and of its returns."""

    def command(view: View) -> tuple[ChangeSet, list[str]]:
        subject = _read(view, queries.find_order(view, code))
        if not subject.is_finished:
            raise refuse(refusals.OrderUnderWay(code))
        codes = [code, *(entry.returned.return_code for entry in subject.returns)]
        changes = _remove(view, subject)
        if drops_answers:
            changes.extend([store.drop_answers(view, codes)])
        changes.add(insert_entry(subject.found.order.shop_id, now, actor, ACTION, code))
        return changes, codes

    return await database.run(command)


async def forget_customers(
    database: Database,
    request_log: RequestLog | None,
    before_millis: int,
    actor: Actor,
    now: datetime,
    ending: asyncio.Event,
) -> int:
    """Remove the customers of all finished orders that were placed before a business time, until `ending` is set.
    Return their number. Raises StorageError."""
    count = 0
    for shop in await database.read(shops.shops):
        after = (0, "")
        while not ending.is_set():
            rows = await database.read(
                partial(store.list_personal, shop_id=shop.id, before_millis=before_millis, after=after, limit=_AT_ONCE)
            )
            codes: list[str] = []
            for _, code in rows:
                # An order that is not finished yet is tried again by the next run.
                with contextlib.suppress(DomainError):
                    codes += await _anonymise(database, code, actor, now, drops_answers=False)
                    count += 1
            if codes:
                # One scan of the remembered answers for all of these orders.
                await database.run(partial(_drop_answers, codes=codes))
                if request_log is not None:
                    request_log.forget_codes(codes)
            if len(rows) < _AT_ONCE:
                break
            after = rows[-1]
    return count


def _drop_answers(view: View, codes: list[str]) -> tuple[ChangeSet, None]:
    return store.drop_answers(view, codes), None


def _read(view: View, found: FoundOrder) -> _Subject:
    order = found.order
    wanted: dict[str, Any] = {"shop_id": order.shop_id, "order_code": order.code}
    returns: list[FoundReturn] = []
    while True:
        page, count = page_of_returns(view, wanted, _RETURNS_AT_ONCE, len(returns))
        returns += page
        if not page or len(returns) >= count:
            return _Subject(found, returns)


def _remove(view: View, subject: _Subject) -> ChangeSet:
    order = subject.found.order
    changes = store.replace_order(subject.found)
    changes.add(*(store.replace_return(entry) for entry in subject.returns))
    changes.extend([store.replace_cart(view, order.cart_id), store.drop_files(order.shop_id, order.code)])
    for code in (order.code, *(entry.returned.return_code for entry in subject.returns)):
        changes.extend([store.replace_events(view, order.shop_id, code)])
    return changes


def _show(view: View, found: FoundOrder) -> CustomerData:
    order, subject = found.order, _read(view, found)
    return CustomerData(
        code=order.code,
        shop_id=order.shop_id,
        state=order.state,
        created_at=order.created_at,
        customer=decode(order.customer, Customer),
        comments=order.comments,
        invoice_details=order.invoice_details or None,
        returns=[
            ReturnData(
                return_code=entry.returned.return_code,
                comments=[line.user_comment for line in entry.returned.return_line_items if line.user_comment],
                photos=[url for line in entry.returned.return_line_items for url in line.user_photos or []],
            )
            for entry in subject.returns
        ],
        notes=store.list_notes(view, order.shop_id, order.code),
        can_be_anonymised=subject.is_finished,
    )
