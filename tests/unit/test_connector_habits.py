"""The connector beside answering: reconciliation, warnings, withdrawals, hand-overs, dry runs."""

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kalathi.contract.orders import LineItem
from kalathi.contract.words import OrderEventType, OrderState
from kalathi.merchant.habits import Habits
from kalathi.merchant.handing_over import FunctionRecipient
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.subjects import Subject
from kalathi.merchant.overview import needs_of, plan_again, print_again, status_of
from kalathi.merchant.policy import OrderPolicy, Policy
from kalathi.merchant.printing import FolderPrinter, PrinterError, UnsurePrinterError
from tests.market import until
from tests.unit.test_connector import LINK, Shop, shop

pytestmark = pytest.mark.anyio
__all__ = ["shop"]


class FakePrinter(FolderPrinter):
    """A fake printer that counts its calls, and may be killed or fail while it prints."""

    may_repeat = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.labels: list[str] = []
        self.fails: BaseException | None = None
        self.waits: Callable[[], object] = lambda: None

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        path = super().print_voucher(code, pdf)
        self.waits()
        if self.fails is not None:
            raise self.fails
        self.labels.append(code)
        return path


class Killed(BaseException):
    """An exception that no except clause of the product catches, as with kill -9."""


@pytest.mark.parametrize("lists", [True, False])
async def test_changes_of_lost_webhooks_are_found_with_or_without_list_calls(shop: Shop, *, lists: bool) -> None:
    shop.market.lists = lists
    shop.receive(shop.order("known", 1))
    await shop.connector.work()
    shop.order("known", 1, OrderState.CANCELLED)
    shop.order("unheard", 1)
    await shop.check()
    assert shop.inbox.reservations.of("known") == {}, "the lost cancellation reaches the stock"
    if lists:
        assert shop.market.orders["unheard"].state == OrderState.ACCEPTED
        assert shop.told[-2:] == [
            "found 2 orders or returns that no webhook announced",
            "accepted unheard: all in stock, window 15:00 - 18:00, Τρί 03/12/19, 1 parcel",
        ]


async def test_the_connector_reconciles_at_the_start_and_at_its_interval(shop: Shop) -> None:
    shop.restart(habits=Habits(reconcile_seconds=300))
    shop.stock("shop_uid,quantity\nA,9\n")
    for seconds, found in ((0.0, True), (299.0, False), (300.0, True)):
        shop.seconds = seconds
        code = f"o{seconds:g}"
        shop.order(code, 1)
        await shop.check()
        assert (shop.market.orders[code].state == OrderState.ACCEPTED) is found, seconds


async def test_the_next_reconciliation_finds_a_change_without_a_webhook(shop: Shop) -> None:
    told: list[str] = []
    shop.restart(
        recipient=FunctionRecipient(
            lambda content: told.append(json.dumps(content).partition('"state": "')[2].partition('"')[0])
        )
    )
    shop.receive(shop.order("o1", 1, OrderState.DISPATCHED))
    await shop.connector.work()
    await shop.check()
    shop.order("o1", 1, OrderState.DELIVERED)
    shop.seconds = 600
    await shop.check()
    assert told == ["dispatched", "delivered"]


async def test_a_lost_voucher_is_found_and_printed(shop: Shop) -> None:
    shop.receive(shop.order("o1", 1))
    await shop.connector.work()
    shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK)
    await shop.check()
    assert (shop.folder / "out" / "o1.pdf").exists()


async def test_a_near_deadline_is_reported_once(shop: Shop) -> None:
    shop.restart(habits=Habits(warn_seconds=600))
    until = datetime.fromtimestamp(10_000, UTC)
    shop.stock("shop_uid,quantity\nB,1\n")
    shop.receive(shop.order("o1", 1, expires_at=until))
    for shop.seconds in (0.0, 9399.0):
        await shop.connector.work()
        await shop.check()
    assert not any("answered by" in line for line in shop.told)
    for shop.seconds in (9400.0, 9700.0):
        await shop.check()
    assert len([line for line in shop.told if "Order o1 is to be answered by" in line]) == 1


async def test_a_cancellation_withdraws_the_printed_label(shop: Shop) -> None:
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK), OrderEventType.ORDER_UPDATED)
    await shop.work()
    assert shop.inbox.reservations.of("o1") == {"A": 1}
    shop.receive(shop.order("o1", 1, OrderState.CANCELLED), OrderEventType.ORDER_UPDATED)
    await shop.work()
    assert not (shop.folder / "out" / "o1.pdf").exists()
    assert (shop.folder / "out" / "cancelled" / "o1.pdf").exists()
    assert shop.inbox.reservations.of("o1") == {}


async def test_a_cancellation_that_overtakes_the_voucher_leaves_no_label(shop: Shop) -> None:
    order = shop.order("o1", 1, OrderState.CANCELLED, courier_voucher=LINK)
    for _ in range(2):
        shop.receive(order, OrderEventType.ORDER_UPDATED)
        await shop.work()
    assert list((shop.folder / "out").glob("*.pdf")) == []


async def test_a_dry_run_reports_its_decisions_and_changes_nothing(shop: Shop) -> None:
    shop.restart(habits=Habits(dry_run=True))
    shop.receive(shop.order("o1", 1))
    shop.receive(shop.order("o2", 3))
    await shop.work()
    shop.receive(shop.order("o3", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    await shop.work()
    assert shop.told == [
        "would accept o1: all in stock, window 15:00 - 18:00, Τρί 03/12/19, 1 parcel",
        "would reject o2: Βιβλίο: 2 of 3 available",
    ]
    assert all(call.startswith("GET o") for call in shop.market.calls)
    assert not list((shop.folder / "out").glob("*.pdf"))


async def test_an_express_order_is_left_to_the_marketplace_and_its_pieces_are_held(shop: Shop) -> None:
    shop.receive(shop.order("o1", 2, express=True))
    await shop.work()
    assert shop.market.calls == ["GET o1"]
    shop.receive(shop.order("o1", 2, OrderState.ACCEPTED, express=True), OrderEventType.ORDER_UPDATED)
    await shop.work()
    assert shop.inbox.reservations.pieces() == {"A": 2}


async def test_a_kill_while_printing_is_reported_and_prints_no_second_label(shop: Shop) -> None:
    paper = FakePrinter(shop.folder / "paper")
    shop.restart(printer=paper)
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    paper.fails = Killed()
    with pytest.raises(Killed):
        await shop.work()
    paper.fails = None
    shop.restart(printer=paper)
    await shop.work()
    assert paper.labels == []
    assert ["reprint o1" in sentence for sentence in status_of(shop.inbox, datetime.now(UTC)).needs_a_person] == [True]
    print_again(shop.inbox, "o1")
    await shop.work()
    assert paper.labels == ["o1"]
    assert status_of(shop.inbox, datetime.now(UTC)).needs_a_person == []


async def test_a_failed_print_is_retried(shop: Shop) -> None:
    paper = FakePrinter(shop.folder / "paper")
    shop.restart(printer=paper)
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    paper.fails = PrinterError("no paper")
    await shop.work()
    paper.fails = None
    await shop.work(until_seconds=10)
    assert paper.labels == ["o1"]


async def test_changes_are_handed_over_in_order_and_retried_until_accepted(
    shop: Shop,
) -> None:
    told: list[str] = []
    busy = True

    def take(content: dict[str, object]) -> None:
        if busy:
            raise ConnectionError("busy")
        order = content["order"]
        assert isinstance(order, dict)
        told.append(f"{order['code']} {order['state']}")

    shop.restart(recipient=FunctionRecipient(take))
    shop.receive(shop.order("o1", 1))
    await shop.work(until_seconds=2)
    shop.receive(shop.order("o1", 1, OrderState.DISPATCHED), OrderEventType.ORDER_UPDATED)
    await shop.work(until_seconds=4)
    assert "needs a person: o1 cannot be handed over: ConnectionError: busy" in shop.told
    busy = False
    shop.restart(recipient=FunctionRecipient(take))
    await shop.work(until_seconds=200)
    assert told == ["o1 accepted", "o1 dispatched"]
    shop.receive(shop.order("o1", 1, OrderState.DISPATCHED, comments="seen again"), OrderEventType.ORDER_UPDATED)
    shop.receive(shop.market.orders["o1"], OrderEventType.ORDER_UPDATED)
    await shop.work(until_seconds=300)
    assert told == ["o1 accepted", "o1 dispatched", "o1 dispatched"], "a change is told, and no change is not"


async def test_an_order_that_was_handed_over_and_has_not_changed_is_not_fetched_again(shop: Shop) -> None:
    shop.restart(recipient=FunctionRecipient(lambda _: None))
    shop.receive(shop.order("o1", 1, OrderState.DISPATCHED))
    await shop.check()
    calls = len(shop.market.calls)
    shop.seconds += 10_000
    await shop.check()
    assert [call for call in shop.market.calls[calls:] if "o1" in call] == []
    shop.market.orders["o1"] = replace(shop.market.orders["o1"], comments="changed")
    shop.seconds += 10_000
    await shop.check()
    assert [call for call in shop.market.calls[calls:] if "o1" in call] == ["GET o1"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_correcting_a_fast_clock_delays_nothing(shop: Shop, *, restarted: bool) -> None:
    told: list[str] = []
    busy = True

    def take(content: dict[str, Any]) -> None:
        if busy:
            raise ConnectionError("busy")
        told.append(content["order"]["code"])

    shop.restart(recipient=FunctionRecipient(take))
    ahead_seconds = 18_000.0
    shop.seconds = 1000 + ahead_seconds
    await shop.check()
    shop.receive(shop.order("o1", 1))
    await shop.work(until_seconds=shop.seconds + 10)
    shop.market.refuse = shop.market.busy(429, {"Retry-After": "300"})
    shop.receive(shop.order("o2", 1))
    await shop.work()
    assert (shop.inbox.next_at() or 0) > ahead_seconds
    shop.seconds, busy, shop.market.refuse = 1030.0, False, None
    calls = len(shop.market.calls)
    if restarted:
        shop.restart(recipient=FunctionRecipient(take))
        running = asyncio.create_task(shop.connector.run())
        async with asyncio.timeout(20):
            while told != ["o1", "o2"]:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    else:
        await shop.check()
        await shop.work(until_seconds=1031)
    assert told == ["o1", "o2"]
    assert any("orders?" in call for call in shop.market.calls[calls:]), "it is compared at once"
    assert (shop.inbox.moment("reconciled") or 0) <= shop.seconds


async def test_status_shows_orders_deadlines_and_open_problems(shop: Shop) -> None:
    until = datetime.fromtimestamp(10_000, UTC)
    shop.inbox.events.put(b"not json", 5.0)
    shop.stock("shop_uid,quantity\nB,1\n")
    shop.receive(shop.order("o1", 1, expires_at=until))
    await shop.work()
    found = status_of(shop.inbox, datetime.fromtimestamp(9000, UTC))
    assert found.orders == {"open": 1}
    assert [(entry.code, entry.answer_until) for entry in found.deadlines] == [("o1", until)]
    assert len(found.needs_a_person) == 2
    assert found.last_events[-1].received_at == datetime.fromtimestamp(5, UTC)
    json.dumps(found.needs_a_person)
    beside = Inbox(shop.folder / "inbox.db", beside=True)
    shop.stock("shop_uid,quantity\nA,1\n")
    assert plan_again(beside, None) == 2
    beside.close()
    await shop.work()
    assert shop.market.orders["o1"].state == OrderState.ACCEPTED
    assert len(status_of(shop.inbox, datetime.fromtimestamp(9000, UTC)).needs_a_person) == 1


async def test_an_unknown_code_is_processed_when_replayed(shop: Shop) -> None:
    shop.order("o1", 1)
    assert plan_again(shop.inbox, "o1") == 1
    await shop.work()
    assert shop.market.orders["o1"].state == OrderState.ACCEPTED


async def test_hand_overs_without_a_recipient_do_not_wake_the_connector(shop: Shop) -> None:
    shop.restart(recipient=FunctionRecipient(lambda _: None))
    shop.receive(shop.order("o1", 1))
    shop.inbox.jobs.plan(Subject.ORDER, "o1")
    shop.inbox.handovers.queue(Subject.ORDER, "o1", b"{}")
    shop.restart()
    await shop.connector.work()
    assert shop.inbox.next_at() == 0
    assert shop.inbox.next_at(handovers=False) is None


async def test_an_order_without_stock_is_reported_once_and_decided_later(shop: Shop) -> None:
    shop.restart(habits=Habits(reconcile_seconds=300))
    shop.stock("shop_uid,quantity\nB,1\n")
    shop.receive(shop.order("o1", 1))
    for shop.seconds in (0.0, 300.0, 600.0):
        await shop.connector.work()
        await shop.check()
    assert shop.told == ["needs a person: Order o1: No stock is known for A."]
    shop.stock("shop_uid,quantity\nA,1\n")
    shop.seconds = 900
    await shop.check()
    assert shop.market.orders["o1"].state == OrderState.ACCEPTED


async def test_an_order_left_open_by_a_dry_run_is_answered_by_the_next_run(shop: Shop) -> None:
    shop.restart(habits=Habits(dry_run=True))
    shop.receive(shop.order("o1", 1))
    for shop.seconds in (0.0, 300.0):
        await shop.connector.work()
        await shop.check()
    assert shop.told == ["would accept o1: all in stock, window 15:00 - 18:00, Τρί 03/12/19, 1 parcel"]
    shop.restart()
    await shop.check()
    assert shop.market.orders["o1"].state == OrderState.ACCEPTED


async def test_a_print_that_timed_out_is_reported_and_not_retried(shop: Shop) -> None:
    paper = FakePrinter(shop.folder / "paper")
    paper.fails = UnsurePrinterError("lp has not ended within 60 s")
    shop.restart(printer=paper)
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    await shop.work(until_seconds=1000)
    assert shop.market.calls.count(f"GET {LINK}") == 1
    assert shop.told[0].startswith("needs a person: Order o1: lp has not ended within 60 s: check whether")


@pytest.mark.parametrize("fails", [None, UnsurePrinterError("lp did not end within 60 s")])
async def test_an_outdated_label_is_reported_even_if_the_new_print_fails(
    shop: Shop, fails: BaseException | None
) -> None:
    paper = FakePrinter(shop.folder / "paper")
    shop.restart(printer=paper)
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    await shop.work()
    shop.market.vouchers.add(LINK + "?2")
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK + "?2"), OrderEventType.ORDER_UPDATED)
    printing, released = threading.Event(), threading.Event()
    paper.fails = fails

    def wait() -> None:
        printing.set()
        released.wait(10)

    paper.waits = wait
    working = asyncio.create_task(shop.connector.work())
    await asyncio.to_thread(printing.wait, 10)
    if fails is None:
        working.cancel()  # The connector is stopped while the second label comes out.
    released.set()
    await asyncio.gather(working, return_exceptions=True)
    shop.restart()
    needs = needs_of(shop.inbox, datetime.fromtimestamp(1, UTC))
    assert any("throw away its earlier label" in need for need in needs)


async def test_a_new_voucher_replaces_the_earlier_one_and_is_reported(shop: Shop) -> None:
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    await shop.work()
    shop.market.vouchers.add(LINK + "?2")
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK + "?2"), OrderEventType.ORDER_UPDATED)
    await shop.work()
    assert [entry.url for entry in shop.inbox.vouchers.list_printed(0, 1)] == [LINK + "?2"]
    assert shop.told[-1].startswith("needs a person: Order o1: throw away its earlier label, there is a new one. ")


async def test_a_deadline_is_reported_again_after_an_extension(shop: Shop) -> None:
    shop.restart(habits=Habits(warn_seconds=600))
    (shop.folder / "stock.csv").unlink()
    shop.receive(shop.order("o1", 1, expires_at=datetime.fromtimestamp(500, UTC)))
    await shop.connector.work()
    await shop.connector.check()
    assert len([line for line in shop.told if "is to be answered by" in line]) == 1
    shop.order("o1", 1, expires_at=datetime.fromtimestamp(550, UTC))
    shop.seconds = 70
    await shop.check()
    await shop.check()
    assert len([line for line in shop.told if "is to be answered by" in line]) == 2


async def test_a_retry_after_of_one_call_pauses_all_calls(shop: Shop) -> None:
    shop.stock("shop_uid,quantity\nA,40\n")
    for number in range(40):
        shop.receive(shop.order(f"o{number}", 1))
    shop.market.refuse = shop.market.busy(503, {"retry-after": "60"})
    await shop.work(until_seconds=59)
    assert len(shop.market.calls) <= 16, "as many as were under way"
    shop.market.refuse = None
    await shop.work(until_seconds=61)
    assert all(order.state == OrderState.ACCEPTED for order in shop.market.orders.values())


async def test_a_refused_token_is_reported_once(shop: Shop) -> None:
    for number in range(5):
        shop.receive(shop.order(f"o{number}", 1))
    shop.market.refuse = shop.market.busy(401)
    await shop.work(until_seconds=5)
    assert [line.partition(" (")[0] for line in shop.told] == ["needs a person: the marketplace refuses every call"]


async def test_a_hanging_printer_delays_no_answer(shop: Shop) -> None:
    hangs = asyncio.Event()
    paper = FakePrinter(shop.folder / "paper")
    loop = asyncio.get_running_loop()
    paper.waits = lambda: asyncio.run_coroutine_threadsafe(hangs.wait(), loop).result()
    shop.restart(printer=paper)
    shop.receive(shop.order("label", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    working = asyncio.create_task(shop.connector.work())
    await until(lambda: f"GET {LINK}" in shop.market.calls)
    shop.receive(shop.order("o1", 1))
    shop.connector.wake()
    await until(lambda: shop.market.orders["o1"].state == OrderState.ACCEPTED)
    assert paper.labels == []
    hangs.set()
    await working
    assert paper.labels == ["label"]


async def test_a_voucher_of_an_order_that_is_no_longer_accepted_is_not_printed_again(shop: Shop) -> None:
    shop.receive(shop.order("o1", 1, OrderState.DISPATCHED))
    await shop.work()
    assert not print_again(shop.inbox, "o1")


async def test_orders_of_an_unreadable_list_are_fetched_by_code(shop: Shop) -> None:
    shop.receive(shop.order("known", 1))
    await shop.connector.work()
    shop.order("known", 1, OrderState.CANCELLED)
    shop.order("unheard", 1)
    shop.market.listed = b'{"orders": [{"code": "unheard", "state": "a_state_of_tomorrow"}]}'
    await shop.check()
    assert shop.inbox.reservations.of("known") == {}
    assert shop.market.orders["unheard"].state == OrderState.ACCEPTED


async def test_orders_counted_by_the_shops_system_are_not_subtracted_twice(shop: Shop) -> None:
    def take(content: dict[str, object]) -> None:
        shop.stock("shop_uid,quantity\nA,0\n" if "o2" in json.dumps(content) else "shop_uid,quantity\nA,1\n")

    shop.restart(recipient=FunctionRecipient(take), habits=Habits(told_orders_are_counted=True))
    shop.receive(shop.order("o1", 1))
    await shop.work()
    shop.receive(replace(shop.market.orders["o1"], comments="looked at again"))
    await shop.work()
    shop.stock("shop_uid,quantity\nA,1\n")
    shop.receive(shop.order("o2", 1))
    await shop.work()
    assert shop.market.orders["o2"].state == OrderState.ACCEPTED
    shop.stock("shop_uid,quantity\nA,0\nB,1\n")
    shop.receive(shop.order("o3", 1))
    await shop.work()
    assert shop.market.orders["o3"].state == OrderState.REJECTED
    assert shop.inbox.reservations.pieces() == {}


async def test_the_time_since_the_last_reconciliation_is_known(shop: Shop) -> None:
    shop.seconds = 100
    await shop.connector.work()
    assert shop.connector.seconds_since_round() == 100, "nothing was looked after"
    await shop.connector.check()
    shop.seconds = 130
    assert shop.connector.seconds_since_round() == 30


async def test_a_handed_over_order_accepted_by_a_person_is_counted_once(shop: Shop) -> None:
    shop.restart(
        recipient=FunctionRecipient(lambda _: None),
        habits=Habits(told_orders_are_counted=True),
        policy=Policy(orders=OrderPolicy(person_above=Decimal(1))),
    )
    shop.stock("shop_uid,quantity\nA,1\n")
    line = LineItem(id="line", shop_uid="A", product_name="Βιβλίο", quantity=1, unit_price=Decimal(10))
    shop.receive(shop.order("o1", 1, line_items=[line]))
    await shop.work()
    assert shop.market.orders["o1"].state == OrderState.OPEN, "a person decides"
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED))
    shop.receive(shop.order("o2", 1, line_items=[replace(line, unit_price=Decimal("0.50"))]))
    await shop.work()
    assert shop.market.orders["o2"].state == OrderState.REJECTED, "the file still shows the piece of o1"
