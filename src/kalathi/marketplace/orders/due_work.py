"""What comes due for orders: the expiry of an open one, the voucher of an accepted one."""

import asyncio
from concurrent.futures import Executor

from msgspec import UNSET

from kalathi.contract.orders import Customer
from kalathi.contract.words import OrderState, PaymentMethod
from kalathi.marketplace.couriers.tracking import tracking_codes
from kalathi.marketplace.couriers.vouchers import Party, VoucherFacts, VoucherPrinter
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.clock import BusinessClock, to_millis
from kalathi.marketplace.kernel.database import Database, View
from kalathi.marketplace.kernel.due import DueRow, again, done
from kalathi.marketplace.kernel.ids import secret_token
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.orders import commands, store
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.terms import Terms


class OrderDueWork:
    """The handlers of an order's due rows. Each ends its row in the change set of its effect, or without one when the
    order has gone another way in the meantime."""

    def __init__(
        self, database: Database, clock: BusinessClock, terms: Terms, printer: VoucherPrinter, threads: Executor
    ) -> None:
        """`threads` is where vouchers are rendered, so that the event loop never waits for one."""
        self._database = database
        self._clock = clock
        self._terms = terms
        self._printer = printer
        self._threads = threads

    async def expire(self, row: DueRow) -> None:
        """The deadline has come; if it was extended, the row waits for the new one."""

        def command(view: View) -> tuple[ChangeSet, None]:
            found = store.by_code(view, row.subject)
            now = self._clock.now()
            if found is None or found.order.state is not OrderState.OPEN:
                return ChangeSet(done(row)), None
            if now < found.order.expires_at:
                return ChangeSet(again(row, to_millis(found.order.expires_at))), None
            changes = commands.expire(found, self._terms, now).changes
            changes.add(done(row))
            return changes, None

        await self._database.run(command)

    async def accept_express(self, row: DueRow) -> None:
        """The marketplace accepts for the shop, unless the shop has rejected it or the customer was faster."""

        def command(view: View) -> tuple[ChangeSet, None]:
            found = store.by_code(view, row.subject)
            now = self._clock.now()
            if found is None or found.order.state is not OrderState.OPEN or now >= found.order.expires_at:
                return ChangeSet(done(row)), None
            changes = commands.accept_express(found, self._terms, now).changes
            changes.add(done(row))
            return changes, None

        await self._database.run(command)

    async def make_voucher(self, row: DueRow) -> None:
        """Renders outside any transaction, then joins the voucher to the order as it is by then."""
        found = await self._database.peek(lambda view: store.by_code(view, row.subject))
        if found is None or not _wants_voucher(found):
            await self._database.commit(ChangeSet(done(row)))
            return
        facts = _facts(found, self._clock)
        pdf = await asyncio.get_running_loop().run_in_executor(self._threads, self._printer.render, facts)
        link = secret_token()

        def command(view: View) -> tuple[ChangeSet, None]:
            present = store.by_code(view, row.subject)
            if present is None or not _wants_voucher(present):
                return ChangeSet(done(row)), None
            if present.order.pickup_location_id != found.order.pickup_location_id:
                # It has moved while its voucher was rendered: the label would name the place that it has left.
                return ChangeSet(again(row, self._clock.now_millis())), None
            now = self._clock.now()
            changes = commands.issue_voucher(present, pdf, link, facts.tracking_codes, self._terms, now).changes
            changes.add(done(row))
            return changes, None

        await self._database.run(command)


def _wants_voucher(found: FoundOrder) -> bool:
    order = found.order
    waits = order.courier_voucher is None or order.voucher_is_outdated
    return order.state is OrderState.ACCEPTED and order.needs_voucher and waits


def _facts(found: FoundOrder, clock: BusinessClock) -> VoucherFacts:
    order, shop = found.order, found.shop
    location = shop.location(order.pickup_location_id or "")
    collects = order.payment_method is PaymentMethod.CASH_ON_DELIVERY
    return VoucherFacts(
        order_code=order.code,
        courier=str(order.courier),
        sender=Party(
            name=shop.name,
            lines=()
            if location is None
            else (
                f"{location.street_name} {location.street_number}",
                f"{location.zip} {location.city}, {location.region}",
            ),
        ),
        recipient=_recipient(order.recipient()),
        tracking_codes=tracking_codes(str(order.courier), order.code, order.number_of_parcels or 1),
        collect=str(total(line.total_price for line in order.lines())) if collects else "",
        made_at=clock.now(),
    )


def _recipient(customer: Customer) -> Party:
    address = customer.address
    name = f"{customer.first_name} {customer.last_name}".strip()
    if address.pickup_from_collection_point and address.collection_point_address is not UNSET:
        return Party(name=name, lines=(address.collection_point_address,))
    street = f"{address.street_name} {address.street_number}".strip()
    lines = (
        f"{street}, {address.floor}" if address.floor else street,
        f"{address.zip} {address.city}, {address.region}",
        address.country_code,
    )
    return Party(name=name, lines=tuple(line for line in lines if line.strip(" ,")))
