"""Find the orders of lost webhooks: compare the marketplace's orders with the known ones.

The connector lists open and accepted orders, returns in review, and the changes since the last time. The contract marks
these list calls as undocumented. If they do not exist or are unreadable, the connector fetches every order and return
that was last in such a state by its code.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import structlog

from kalathi.contract.reading import seconds_of
from kalathi.contract.words import OrderState, ReturnState
from kalathi.merchant.client import AsyncClient, CallError, RedirectedError
from kalathi.merchant.client.flows import OrderReading, following_page
from kalathi.merchant.decisions import answer_until
from kalathi.merchant.handing_over import order_body
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.subjects import Subject

_log = structlog.get_logger("kalathi.merchant")

# States that an order, or a return, leaves again.
_GOES_ON: Final = (OrderState.OPEN, OrderState.ACCEPTED)
_RETURN_GOES_ON: Final = (ReturnState.RETURNING, ReturnState.PENDING_PHYSICAL_REVIEW)
# The marketplace's clock may differ from ours, so changes are requested from this much earlier.
_TO_SPARE: Final = timedelta(hours=1)
_LAST: Final = "reconciled"
_LAST_THERE: Final = "reconciled by the marketplace's clock"
# Limit for a list with endless pagination.
_MOST_PAGES: Final = 200


class Found(NamedTuple):
    """The number of orders and returns that were unknown or in another state. `has_lists`: the marketplace returned a
    list of orders."""

    unknown: int
    has_lists: bool


class _Listing:
    """The list of orders, and the newest creation time in it."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        # In seconds since 1970; None while no order was listed.
        self.newest_at: float | None = None
        self.was_shown = False

    async def orders(
        self, *, state: str | None = None, updated_since: datetime | None = None
    ) -> AsyncIterator[OrderReading | str]:
        """Yield every order of the list, page after page; for an unreadable entry only its code."""
        page: int | None = 1
        while page is not None and page <= _MOST_PAGES:
            listed = await self._client.read_orders(state=state, updated_since=updated_since, page=page)
            self.was_shown = True
            for reading in listed.readings:
                created_at = seconds_of(reading.order.created_at)
                if created_at is not None:
                    self.newest_at = max(created_at, self.newest_at or 0.0)
                yield reading
            for code in listed.unread_codes:
                yield code
            # Count the pages here, because a list that always reports page 1 would never end.
            page = None if following_page(listed.meta) is None else page + 1


async def reconcile(
    client: AsyncClient, inbox: Inbox, now: float, *, answers: bool = True, hands_over: bool = False
) -> Found:
    """Plan to fetch every order and return that is unknown or changed. With `answers`, also plan to fetch every open
    order, because the stock may have changed.

    `now` is in seconds since 1970. `hands_over`: a change is also one that was not handed over to the shop's own
    system. If a part fails, complete the others, then raise CallError.
    """
    found = 0
    failed: CallError | None = None
    listing = _Listing(client)
    parts = (
        partial(_orders, client, listing, inbox, answers=answers),
        partial(_find_changed, listing, inbox, hands_over=hands_over),
        partial(_returns, client, inbox),
    )
    for part in parts:
        try:
            found += await part()
        except CallError as error:
            failed = error
    # Orders and returns that wait for a person may be readable or settled by now.
    for kind, code in inbox.jobs.waiting_for_person():
        inbox.jobs.plan(kind, code)
    if failed is not None:
        raise failed
    inbox.mark_moment(_LAST, now)
    # Use the marketplace's clock. If ours is hours ahead, the next reconciliation would skip the changes in between.
    inbox.mark_moment(_LAST_THERE, client.marketplace_time or _time_without_date(listing, inbox, now))
    return Found(found, listing.was_shown)


def _time_without_date(listing: _Listing, inbox: Inbox, now: float) -> float:
    """Return a time that the marketplace's clock has reached, in seconds since 1970, for answers without `Date`: the
    creation time of the newest listed order, or else the previous time, or else our own time."""
    if listing.newest_at is not None:
        return listing.newest_at
    before = inbox.moment(_LAST_THERE)
    return now if before is None else before


async def _orders(client: AsyncClient, listing: _Listing, inbox: Inbox, *, answers: bool) -> int:
    found = 0
    known = {
        entry.code: entry.seen
        for state in _GOES_ON
        for entry in inbox.subjects.in_state(state)
        if entry.kind is Subject.ORDER
    }
    # Fetch orders with reserved pieces too.
    known |= {code: "" for code in inbox.reservations.list_holders() if code not in known}
    try:
        for state in _GOES_ON:
            async for listed in listing.orders(state=state):
                if isinstance(listed, str):
                    # The entry in the list is unreadable, but the order itself may be readable.
                    known.pop(listed, None)
                    inbox.jobs.plan(Subject.ORDER, listed)
                    continue
                order = listed.order
                unprinted = order.courier_voucher and inbox.vouchers.find_printed(order.courier_voucher) is None
                if known.pop(order.code, None) != order.state or unprinted:
                    inbox.jobs.plan(Subject.ORDER, order.code)
                    found += 1
                elif order.state == OrderState.OPEN and answers:
                    inbox.jobs.plan(Subject.ORDER, order.code)
    except CallError as error:
        if not _has_no_list(error):
            raise
        _log.info("orders_not_listed", error=str(error))
        for code in await _codes(client):
            if code not in known:
                inbox.jobs.plan(Subject.ORDER, code)
                found += 1
    # The rest is no longer listed, or could not be listed.
    for code in known:
        inbox.jobs.plan(Subject.ORDER, code)
    return found + len(known)


def _has_no_list(error: CallError) -> bool:
    """Whether the marketplace has no such list, or an unreadable one. A redirect does not show that."""
    return not error.may_pass and not isinstance(error, RedirectedError)


async def _codes(client: AsyncClient) -> set[str]:
    """Return the codes of a list that is otherwise unreadable, for example one without pagination. Return an empty set
    if there is no list."""
    found: set[str] = set()
    for state in _GOES_ON:
        for page in range(1, _MOST_PAGES + 1):
            try:
                codes = set(await client.order_codes(state=state, page=page))
            except CallError as error:
                if not _has_no_list(error):
                    raise
                break
            if codes <= found:
                break  # The list has ended, or every page is the same.
            found |= codes
    return found


async def _find_changed(listing: _Listing, inbox: Inbox, *, hands_over: bool) -> int:
    last = inbox.moment(_LAST_THERE)
    if last is None:
        return 0
    found = 0
    try:
        async for listed in listing.orders(updated_since=datetime.fromtimestamp(last, UTC) - _TO_SPARE):
            code = listed if isinstance(listed, str) else listed.order.code
            if isinstance(listed, str) or not _is_known(inbox, listed, hands_over=hands_over):
                inbox.jobs.plan(Subject.ORDER, code)
                found += 1
    except CallError as error:
        if not _has_no_list(error):
            raise
    return found


def _is_known(inbox: Inbox, listed: OrderReading, *, hands_over: bool) -> bool:
    order, handed = listed.order, order_body(listed.received) if hands_over else None
    return inbox.subjects.is_unchanged(Subject.ORDER, order.code, order.state, answer_until(order), handed)


async def _returns(client: AsyncClient, inbox: Inbox) -> int:
    found = 0
    pending = ReturnState.PENDING_MERCHANT_REVIEW
    known = {entry.code for entry in inbox.subjects.in_state(pending) if entry.kind is Subject.RETURN}
    try:
        for page in range(1, _MOST_PAGES + 1):
            listed = await client.return_requests(state=pending, page=page)
            for code in [*(returned.return_code for returned in listed.returns), *listed.unread_codes]:
                if code in known:
                    known.discard(code)
                else:
                    inbox.jobs.plan(Subject.RETURN, code)
                    found += 1
            if following_page(listed.meta) is None:
                break
    except CallError as error:
        if not _has_no_list(error):
            raise
        _log.info("returns_not_listed", error=str(error))
    for code in known:
        inbox.jobs.plan(Subject.RETURN, code)
    # Only webhooks announce changes of these, so they are fetched here.
    for state in _RETURN_GOES_ON:
        for entry in inbox.subjects.in_state(state):
            inbox.jobs.plan(Subject.RETURN, entry.code)
    return found + len(known)
