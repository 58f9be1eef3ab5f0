"""Finding what a lost webhook has left out: what the marketplace shows as open is compared with what is known here.

Where the list calls are (the contract marks them as undocumented), what is open, accepted or waits for a review is
listed, and what has changed since the last time, for the sake of whom it is handed over to; where they are not, every
order and return that was such the last time is asked for by its code.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from kalathi.contract.words import OrderState, ReturnState
from kalathi.merchant.client import AsyncClient, MarketplaceError
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox_rows import Subject

# States that an order does not stay in.
_GOES_ON: Final = (OrderState.OPEN, OrderState.ACCEPTED)
# The marketplace's clock may be another one than ours; what has changed is asked for with this much to spare.
_TO_SPARE: Final = timedelta(hours=1)
_LAST: Final = "reconciled"
_NO_SUCH_CALL: Final = frozenset({404, 405, 501})


async def reconcile(client: AsyncClient, inbox: Inbox, now: float, *, answers: bool = True) -> int:
    """Has looked at whatever is not known as it is, and gives how many there are; and, where orders are answered at
    all, once more at what is open still: the stock may be another one by now. `now` is in seconds since 1970. Raises
    CallError."""
    found = await _orders(client, inbox, answers=answers) + await _returns(client, inbox)
    inbox.mark_moment(_LAST, now)
    return found


async def _orders(client: AsyncClient, inbox: Inbox, *, answers: bool) -> int:
    known = {
        entry.code: entry.seen for state in _GOES_ON for entry in inbox.known(state) if entry.kind is Subject.ORDER
    }
    # Whatever holds pieces must go on too.
    known |= {code: "" for code in inbox.holders() if code not in known}
    wanted, open_still = set(), set()
    try:
        for state in _GOES_ON:
            async for order in client.all_orders(state=state):
                unprinted = order.courier_voucher and inbox.printed(order.courier_voucher) is None
                if known.pop(order.code, None) != order.state or unprinted:
                    wanted.add(order.code)
                elif order.state is OrderState.OPEN and answers:
                    open_still.add(order.code)
        wanted |= await _changed(client, inbox)
    except MarketplaceError as error:
        if error.status not in _NO_SUCH_CALL:
            raise
    # What is not among them any more, or cannot be listed.
    wanted |= known.keys()
    for code in sorted(wanted | open_still):
        inbox.want(Subject.ORDER, code)
    return len(wanted)


async def _changed(client: AsyncClient, inbox: Inbox) -> set[str]:
    last = inbox.moment(_LAST)
    if last is None:
        return set()
    since = datetime.fromtimestamp(last, UTC) - _TO_SPARE
    return {
        order.code
        async for order in client.all_orders(updated_since=since)
        if inbox.seen(Subject.ORDER, order.code) != order.state
    }


async def _returns(client: AsyncClient, inbox: Inbox) -> int:
    pending = ReturnState.PENDING_MERCHANT_REVIEW
    known = {entry.code for entry in inbox.known(pending) if entry.kind is Subject.RETURN}
    wanted = set()
    try:
        async for returned in client.all_return_requests(state=pending):
            if returned.return_code in known:
                known.discard(returned.return_code)
            else:
                wanted.add(returned.return_code)
    except MarketplaceError as error:
        if error.status not in _NO_SUCH_CALL:
            raise
    wanted |= known
    for code in sorted(wanted):
        inbox.want(Subject.RETURN, code)
    return len(wanted)
