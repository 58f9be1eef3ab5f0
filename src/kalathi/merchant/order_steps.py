"""What is done for one order: answer it, hold its pieces, print its voucher, or take the label back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from kalathi.contract.orders import Order
from kalathi.contract.words import OrderState
from kalathi.merchant.client import AsyncClient, OrderStatusError
from kalathi.merchant.decisions import Accept, Decision, LeaveToPerson, Nothing, Reject, decide, wanted_pieces
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.policy import Policy
from kalathi.merchant.printing import FolderPrinter, UnsurePrinterError
from kalathi.merchant.sentences import done, would_answer
from kalathi.merchant.stock import Stock

# States in which an order's pieces still lie on the shelf, or may have to.
_HERE: Final = frozenset({OrderState.OPEN, OrderState.ACCEPTED})
# States in which nothing is sent any more: a label that was printed must leave the pile.
_NOT_SENT: Final = frozenset({OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})


class OrderSteps:
    """Each step is a row before and after it, and may be repeated.

    `did` is told what was done: a word for the metrics, the order's code, and the line for a person.
    """

    def __init__(
        self,
        client: AsyncClient,
        inbox: Inbox,
        stock: Stock,
        printer: FolderPrinter,
        policy: Policy,
        *,
        did: Callable[[str, str, str], None],
        tell: Callable[[str], None],
        clock: Callable[[], float],
        dry_run: bool,
        told_orders_are_counted: bool,
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._stock = stock
        self._printer = printer
        self._policy = policy
        self._did = did
        self._tell = tell
        self._clock = clock
        self._dry_run = dry_run
        self._told_orders_are_counted = told_orders_are_counted

    async def take(self, order: Order) -> tuple[Order, str]:
        """Does what the order asks for; gives it as it then is, and a sentence when a person has to look at it."""
        note = ""
        if order.state is OrderState.OPEN:
            note, order = await self._answer(order)
        if order.state in _NOT_SENT:
            self._inbox.release(order.code)
            await self._withdraw(order.code)
        elif order.state not in _HERE:
            await self.leave(order.code)
        elif order.state is OrderState.ACCEPTED:
            is_counted = self._told_orders_are_counted and self._inbox.was_told(order.code)
            if not order.fulfilled_by_skroutz and not is_counted:
                # Whoever has accepted it, the marketplace for an express order or a person by hand.
                self._inbox.reserve(order.code, wanted_pieces(order, await self._stock.available()))
            if order.courier_voucher and not self._dry_run:
                note = await self._print(order, order.courier_voucher)
        return order, note

    async def _answer(self, order: Order) -> tuple[str, Order]:
        prices = await self._stock.prices()
        available = await self._free_for(order)
        # From here to the reservation nothing is waited for: no other order is decided in between.
        decision: Decision = (self._policy.decide or decide)(
            order, available, self._policy.orders, prices=prices, sends_itself=self._stock.sends_itself
        )
        if self._dry_run:
            self._tell(f"would {would_answer(order, decision)}")
            return "", order
        if isinstance(decision, LeaveToPerson):
            return decision.reason, order
        if isinstance(decision, Nothing):
            return "", order
        if isinstance(decision, Accept):
            # Reserved before the call: after a crash in between, nobody else has got the pieces.
            self._inbox.reserve(order.code, wanted_pieces(order, available))
        present = await self._answered(order, self._call(order, decision))
        wanted = OrderState.ACCEPTED if isinstance(decision, Accept) else OrderState.REJECTED
        if present.state is OrderState.OPEN:
            # The answer was refused for where the order was, and it is open still: the next look decides anew.
            self._inbox.release(order.code)
        if present.state is wanted:
            self._did(str(wanted), order.code, done(order, decision))
        else:
            self._tell(f"{order.code} was answered already: {present.state}")
        return "", present

    def _call(self, order: Order, decision: Accept | Reject) -> Awaitable[None]:
        if isinstance(decision, Accept):
            return self._client.accept(
                order.code, decision.pickup_location, decision.pickup_window, decision.number_of_parcels
            )
        return self._client.reject_lines(order.code, decision.lines)

    async def _answered(self, order: Order, call: Awaitable[None]) -> Order:
        """The order after our answer, as the marketplace shows it: that is the proof. If somebody was faster, us before
        a crash included, it says what it is now."""
        with contextlib.suppress(OrderStatusError):
            await call
        return await self._client.order(order.code)

    async def _free_for(self, order: Order) -> dict[str, int]:
        """The stock as this order sees it: what it has reserved itself, before a crash, is still free for it."""
        available = await self._stock.available()
        for shop_uid, quantity in self._inbox.reserved(order.code).items():
            if shop_uid in available:
                available[shop_uid] += quantity
        return available

    async def leave(self, code: str) -> None:
        """The source of stock lowers what it counts by this order, which the courier has, or which it was told of: its
        pieces are held as long as it may still count them. Raises StockError, CallError."""
        if not self._inbox.reserved(code):
            return
        stamp = await self._stock.renewed()
        if stamp is None:
            self._inbox.release(code)
        else:
            self._inbox.leave(code, stamp)

    async def _print(self, order: Order, url: str) -> str:
        """Prints a voucher that was not printed; gives a sentence when a person has to look whether it was."""
        printed = self._inbox.printed(url)
        if printed is not None and printed.path:
            return ""
        unsure = f"look whether its label is there; if not, kalathi merchant reprint {order.code}"
        if printed is not None and not self._printer.may_repeat:
            return f"the connector was stopped while its voucher was printed: {unsure}"
        pdf = await self._client.download(url)
        is_another = self._inbox.was_printed(order.code)
        self._inbox.mark_printed(url, order.code, "", self._clock())
        printing = asyncio.ensure_future(asyncio.to_thread(self._printer.print_voucher, order.code, pdf))
        try:
            path = await asyncio.shield(printing)
        except asyncio.CancelledError:
            # An orderly end waits for the label, so that nobody has to look for it.
            self._inbox.mark_printed(url, order.code, str(await printing), self._clock())
            raise
        except UnsurePrinterError as error:
            return f"{error}: {unsure}"
        except Exception:
            self._inbox.forget_printing(url)
            raise
        self._inbox.mark_printed(url, order.code, str(path), self._clock())
        self._did("printed", order.code, f"printed {order.code}: {path}")
        if is_another:
            self._tell(f"needs a person: Order {order.code}: throw away its earlier label, there is a new one")
        return ""

    async def _withdraw(self, code: str) -> None:
        if self._dry_run:
            return
        path = await asyncio.to_thread(self._printer.withdraw, code)
        if path is not None:
            self._did("withdrawn", code, f"withdrawn {code}: its voucher is in {path}")
