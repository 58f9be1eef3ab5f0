"""The next step of one order: answer it, reserve its pieces, print its voucher, or withdraw the label."""

import contextlib
from collections.abc import Awaitable
from typing import Final

from kalathi.contract.orders import Order
from kalathi.contract.words import OrderState
from kalathi.merchant.client import OrderStatusError
from kalathi.merchant.client.flows import OrderReading
from kalathi.merchant.context import Context
from kalathi.merchant.decisions import (
    Accept,
    Decision,
    LeaveToPerson,
    Nothing,
    Reject,
    claims,
    decide,
    find_unassigned_pieces,
    find_uncounted_lines,
    unreadable_stock,
)
from kalathi.merchant.inbox.notices import label_topic
from kalathi.merchant.inbox.subjects import HAS_LEFT
from kalathi.merchant.labels import Labels
from kalathi.merchant.policy import Policy
from kalathi.merchant.promises import Promises
from kalathi.merchant.sentences import describe_answer, would_answer
from kalathi.merchant.stock import Shelf
from kalathi.merchant.stock_reader import StockReader

# The parcel will not be sent in these states, so a printed label must be withdrawn.
_NOT_SENT: Final = frozenset({OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})


class OrderSteps:
    """Run steps. Each step is recorded in the inbox before and after, and can be repeated."""

    def __init__(
        self, context: Context, stock: StockReader, labels: Labels, policy: Policy, promises: Promises | None = None
    ) -> None:
        """`promises`: the pieces of open orders, if stock is published."""
        self._context = context
        self._subjects = context.inbox.subjects
        self._reservations = context.inbox.reservations
        self._stock = stock
        self._labels = labels
        self._policy = policy
        self._promises = promises

    async def advance(self, reading: OrderReading) -> tuple[OrderReading, str]:
        """Run the order's next step. Return the order after it, and a sentence if the order needs a person."""
        order, note = reading.order, ""
        if order.state in HAS_LEFT or order.state in _NOT_SENT:
            # One of its labels is on the parcel, or none is needed.
            self._context.inbox.notices.settle(label_topic(order.code))
        if order.state == OrderState.OPEN:
            note, reading = await self._answer(reading)
            order = reading.order
            self.note_promise(order)
        if order.state == OrderState.OPEN:
            return reading, note
        if order.state == OrderState.ACCEPTED:
            note = await self._hold_and_print(order)
        elif order.state == OrderState.RETURNED:
            # The goods are back in the shop.
            self._reservations.release(order.code)
        elif order.state in HAS_LEFT or (order.state in _NOT_SENT and self._subjects.has_left(order.code)):
            # A parcel that was cancelled after dispatch travels for days, with its label on it.
            await self._stock.leave(order.code)
        elif order.state in _NOT_SENT:
            self._reservations.release(order.code)
            await self._labels.withdraw(order.code)
        else:
            note = f'its state "{order.state}" is unknown to this version: check what it means for this order'
        return reading, note

    def note_promise(self, order: Order) -> None:
        """Record the pieces of the order as it is now, if stock is published."""
        if self._promises is not None:
            has_ended = order.state in _NOT_SENT and not self._subjects.has_left(order.code)
            self._promises.note(order, has_ended=has_ended)
            if order.state == OrderState.OPEN and self._is_counted(order):
                self._promises.drop(order.code)

    def drop_promise(self, code: str) -> None:
        """Forget the pieces of an order that cannot be fetched."""
        if self._promises is not None:
            self._promises.drop(code)

    def _is_counted(self, order: Order) -> bool:
        """Whether the shop's system has received the order, and counts without its pieces."""
        return self._context.habits.told_orders_are_counted and self._subjects.was_handed_over(order.code)

    def hold(self, order: Order) -> None:
        """Reserve the pieces of an order that the shop sends itself, until the shop's system counts without them."""
        if not order.fulfilled_by_skroutz and not self._is_counted(order):
            self._reservations.reserve(order.code, claims(order))

    async def _hold_and_print(self, order: Order) -> str:
        """Reserve the pieces of an accepted order and print its voucher, even if the marketplace or a person accepted
        it. Neither step needs the stock source."""
        notes = []
        if not order.fulfilled_by_skroutz and not self._is_counted(order):
            self._reservations.reserve(order.code, claims(order))
            if uncounted := find_uncounted_lines(order):
                notes.append(f"{uncounted} No pieces are held for that: lower the stock yourself.")
        if order.courier_voucher and not self._context.habits.dry_run:
            notes.append(await self._labels.print(order, order.courier_voucher))
        return " ".join(note for note in notes if note)

    async def _answer(self, reading: OrderReading) -> tuple[str, OrderReading]:
        order = reading.order
        shelf = await self._stock.read()
        # There must be no await from here to the reservation, so that no other order is decided in between.
        decision = self._decide(order, shelf)
        if self._context.habits.dry_run:
            self._context.tell(f"would {would_answer(order, decision)}")
            return "", reading
        if isinstance(decision, LeaveToPerson):
            return decision.reason, reading
        if isinstance(decision, Nothing):
            return "", reading
        if isinstance(decision, Accept):
            # Reserve before the call, so that no other order gets the pieces if the connector crashes in between.
            self._reservations.reserve(order.code, claims(order))
        present = await self._read_after(order, self._call(order, decision))
        wanted = OrderState.ACCEPTED if isinstance(decision, Accept) else OrderState.REJECTED
        if present.order.state == OrderState.OPEN:
            # The marketplace refused the answer because of the order's state, but the order is still open. The next job
            # decides again.
            self._reservations.release(order.code)
        if present.order.state == wanted:
            self._context.report(str(wanted), order.code, describe_answer(order, decision))
        else:
            self._context.tell(f"{order.code} was answered already: {present.order.state}")
        return "", present

    def _decide(self, order: Order, shelf: Shelf) -> Decision:
        free = self._free_for(order, shelf)
        reason = unreadable_stock(order, shelf, self._policy.orders) or find_unassigned_pieces(
            order, shelf, free, self._count_held_by_others(order)
        )
        if reason:
            return LeaveToPerson(reason)
        decision: Decision = (self._policy.decide or decide)(
            order,
            free,
            self._policy.orders,
            prices=shelf.prices,
            sends_itself=self._stock.sends_itself,
        )
        return decision

    def _call(self, order: Order, decision: Accept | Reject) -> Awaitable[None]:
        if isinstance(decision, Accept):
            return self._context.client.accept(
                order.code, decision.pickup_location, decision.pickup_window, decision.number_of_parcels
            )
        return self._context.client.reject_lines(order.code, decision.lines)

    async def _read_after(self, order: Order, call: Awaitable[None]) -> OrderReading:
        """Send the answer and return the order that the marketplace then shows, as proof. If another answer came first,
        perhaps our own before a crash, the order shows that one."""
        with contextlib.suppress(OrderStatusError):
            await call
        return await self._context.client.read_order(order.code)

    def _free_for(self, order: Order, shelf: Shelf) -> dict[str, int]:
        """Return the free pieces for this order: the pieces on the shelf minus the reservations of other orders. The
        order's own reservation, for example from before a crash, counts as free."""
        held = self._count_held_by_others(order)
        return {shop_uid: pieces - held.get(shop_uid, 0) for shop_uid, pieces in shelf.pieces.items()}

    def _count_held_by_others(self, order: Order) -> dict[str, int]:
        held = self._reservations.pieces()
        for shop_uid, quantity in self._reservations.of(order.code).items():
            held[shop_uid] -= quantity
        return held
