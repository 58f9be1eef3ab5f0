"""Due jobs of orders: expiry, express acceptance, vouchers and delivery notes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import structlog

from kalathi.contract.words import OrderState
from kalathi.marketplace.couriers.printing import DocumentPrinter
from kalathi.marketplace.couriers.vouchers import render_voucher
from kalathi.marketplace.kernel.clock import BusinessClock, to_millis
from kalathi.marketplace.kernel.due import DueRow, complete, repeat_at
from kalathi.marketplace.kernel.ids import secret_token
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.orders import commands, machine, store
from kalathi.marketplace.orders.commands import RenderedNote, RenderedVoucher
from kalathi.marketplace.orders.documents import note_facts, unreadable_address, voucher_facts
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.warehouse.delivery_notes import render_note

_log = structlog.get_logger("kalathi.vouchers")

T = TypeVar("T")


class OrderDueWork:
    """The handlers of an order's due rows. A handler completes its row in the same change set as its effect. If the
    order's state has changed so that there is nothing to do, it only completes the row."""

    def __init__(
        self,
        database: Database,
        commands: CommandRunner,
        clock: BusinessClock,
        terms: Terms,
        printer: DocumentPrinter,
        threads: Executor,
    ) -> None:
        """`threads` renders the documents, so that rendering never blocks the event loop."""
        self._database = database
        self._commands = commands
        self._clock = clock
        self._terms = terms
        self._printer = printer
        self._threads = threads

    async def expire(self, row: DueRow) -> None:
        """Expire an open order at its deadline. If the deadline was extended, plan the row for the new one."""

        def command(facts: Facts) -> tuple[ChangeSet, None]:
            found = store.by_code(facts.view, row.subject)
            if found is None or found.order.state is not OrderState.OPEN:
                return ChangeSet(complete(row)), None
            if facts.now < found.order.expires_at:
                return ChangeSet(repeat_at(row, to_millis(found.order.expires_at))), None
            changes = commands.expire(found, None, facts).changes
            changes.add(complete(row))
            return changes, None

        await self._commands.run(command)

    async def accept_express(self, row: DueRow) -> None:
        """Accept an express order for the shop, unless it is no longer open or has expired."""

        def command(facts: Facts) -> tuple[ChangeSet, None]:
            found = store.by_code(facts.view, row.subject)
            if found is None or found.order.state is not OrderState.OPEN or facts.now >= found.order.expires_at:
                return ChangeSet(complete(row)), None
            changes = commands.accept_express(found, None, facts).changes
            changes.add(complete(row))
            return changes, None

        await self._commands.run(command)

    async def make_voucher(self, row: DueRow) -> None:
        """Render the voucher outside of a transaction, then set it on the current version of the order."""
        found = await self._database.read_point(lambda view: store.by_code(view, row.subject))
        if found is None or not _wants_voucher(found):
            await self._database.commit(ChangeSet(complete(row)))
            return
        content = voucher_facts(found, self._clock.now())
        if letters := unreadable_address(found.order):
            # The log must not contain customer data, so it has only the number of letters.
            _log.warning("address_unprintable", code=row.subject, shop_id=row.shop_id, unreadable_letters=len(letters))
        pdf = await self._render(render_voucher, content)
        voucher = RenderedVoucher(pdf, secret_token(), content.tracking_codes)

        def command(facts: Facts) -> tuple[ChangeSet, None]:
            present = store.by_code(facts.view, row.subject)
            if present is None or not _wants_voucher(present):
                return ChangeSet(complete(row)), None
            if present.order.pickup_location_id != found.order.pickup_location_id:
                # The pickup location changed while the voucher was rendered, so the label has the old address.
                return ChangeSet(repeat_at(row, to_millis(facts.now))), None
            changes = commands.issue_voucher(present, voucher, facts).changes
            changes.add(complete(row))
            return changes, None

        await self._commands.run(command)

    async def make_delivery_note(self, row: DueRow) -> None:
        """Render the delivery note of an order sent by the warehouse, and set it on the order, as with a voucher."""
        found = await self._database.read_point(lambda view: store.by_code(view, row.subject))
        if found is None or not _wants_note(found):
            await self._database.commit(ChangeSet(complete(row)))
            return
        content = note_facts(found, self._terms, self._clock.now())
        pdf = await self._render(render_note, content)
        note = RenderedNote(pdf, secret_token(), content.number)

        def command(facts: Facts) -> tuple[ChangeSet, None]:
            present = store.by_code(facts.view, row.subject)
            if present is None or not _wants_note(present):
                return ChangeSet(complete(row)), None
            changes = commands.issue_delivery_note(present, note, facts).changes
            changes.add(complete(row))
            return changes, None

        await self._commands.run(command)

    async def _render(self, render: Callable[[DocumentPrinter, T], bytes], content: T) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, render, self._printer, content)


def _wants_note(found: FoundOrder) -> bool:
    order = found.order
    has_left = (order.state, machine.Action.ISSUE_DELIVERY_NOTE) in machine.TRANSITIONS
    return order.fulfilled_by_skroutz and has_left and order.fbs_delivery_note is None


def _wants_voucher(found: FoundOrder) -> bool:
    order = found.order
    waits = order.courier_voucher is None or order.voucher_is_outdated
    return order.state is OrderState.ACCEPTED and order.needs_voucher and waits
