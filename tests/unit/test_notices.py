"""A notice stays in `status`, `/metrics` and `/healthz` until it is settled."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from click.testing import CliRunner

from kalathi.cli import main
from kalathi.contract.orders import Order
from kalathi.contract.reading import ATHENS
from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.clock import athens
from kalathi.merchant.client import AsyncClient
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.notices import label_topic
from kalathi.merchant.inbox.subjects import Subject
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.overview import needs_of, settle, status_of
from kalathi.merchant.refusals import Refusal, RefusalReason
from kalathi.merchant.setup_notices import SetupNotices
from tests.unit.test_connector import LINK, Shop

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    yield opened
    opened.inbox.close()


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, ATHENS)


def _needs(shop: Shop) -> list[str]:
    return needs_of(shop.inbox, datetime.fromtimestamp(shop.seconds, ATHENS))


async def test_a_refused_token_stays_until_the_marketplace_answers(shop: Shop) -> None:
    shop.market.refuse = shop.market.busy(401)
    shop.receive(shop.order("o1", 1))
    await shop.work()
    [need] = [need for need in _needs(shop) if "every call" in need]
    assert "are token and --vendor right?" in need
    shop.restart()
    assert need in _needs(shop), "a restart settles nothing"
    shop.market.refuse = None
    await shop.work(until_seconds=100)
    assert [need for need in _needs(shop) if "every call" in need] == []


async def test_the_last_reason_of_a_repeated_failure_is_shown(shop: Shop) -> None:
    shop.market.refuse = HttpAnswer(503, b"")
    shop.receive(shop.order("o1", 1))
    await shop.work(until_seconds=10)
    [need] = _needs(shop)
    assert need.startswith("Order o1: tried ")
    assert "503" in need


async def test_an_outdated_label_is_reported_until_the_order_is_dispatched(shop: Shop) -> None:
    shop.order("o1", 1)
    accepted = _accepted(shop, LINK)
    shop.receive(accepted)
    await shop.work()
    other = LINK.replace("link", "other")
    shop.market.vouchers.add(other)
    shop.receive(_accepted(shop, other))
    await shop.work()
    [need] = _needs(shop)
    assert need.startswith("Order o1: throw away its earlier label, there is a new one. Then: kalathi merchant settle")
    shop.receive(shop.order("o1", 1, OrderState.DISPATCHED))
    await shop.work()
    assert _needs(shop) == []


def test_a_person_settles_an_earlier_label_and_unreadable_webhooks(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "merchant.db")
    inbox.notices.add(label_topic("o1"), "throw away its earlier label", 1.0)
    inbox.events.put(b"not json", 5.0)
    inbox.events.put_aside(inbox.events.unread()[0], "The event cannot be read.")
    for arguments, status, printed in (
        (["o2"], 1, "o2 has no earlier label"),
        (["o1"], 0, "Settled: o1."),
        (["o1"], 1, "o1 has no earlier label"),
        (["--events"], 0, "Settled: 1 unreadable webhooks."),
        (["o1", "--events"], 1, "give the code of an order, or --events."),
        ([], 1, "give the code of an order, or --events."),
    ):
        result = CliRunner().invoke(main, ["merchant", "settle", *arguments, "--data", str(tmp_path)])
        assert (result.exit_code, printed in result.output) == (status, True), result.output
    assert needs_of(inbox, datetime.fromtimestamp(10, UTC)) == []
    inbox.close()


def _accepted(shop: Shop, link: str) -> Order:
    return shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=link)


async def test_an_unavailable_stock_source_is_reported_until_it_can_be_read(shop: Shop) -> None:
    (shop.folder / "stock.csv").unlink()
    shop.receive(shop.order("o1", 1))
    await shop.work()
    assert any("the stock cannot be read" in need for need in _needs(shop))
    shop.stock("shop_uid,quantity\nA,5\n")
    await shop.work(until_seconds=100)
    assert _needs(shop) == []


def test_refused_webhooks_count_by_reason_until_one_is_accepted(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    wrong = Refusal(404, RefusalReason.WRONG_PATH, "the marketplace posts to /x, this connector listens on /y")
    for second in range(5):
        inbox.notices.count_refusal(wrong, 1000.0 + second / 10)
    inbox.notices.count_refusal(wrong, 1002.0)
    inbox.notices.count_refusal(wrong._replace(is_webhook=False), 1004.0)
    [need] = needs_of(inbox, datetime.fromtimestamp(1010, UTC))
    assert need == (
        "6 webhooks were answered with 404 (wrong_path): the marketplace posts to /x, this connector listens on /y."
    )
    inbox.events.put(b"{}", 1011.0)
    inbox.events.put_aside(inbox.events.unread()[0], "")
    inbox.events.read_again()
    assert needs_of(inbox, datetime.fromtimestamp(1012, UTC)) == [need], "the other address may still be wrong"
    assert needs_of(inbox, datetime.fromtimestamp(1012 + 3600, UTC)) == []
    assert status_of(inbox, datetime.fromtimestamp(1012, UTC)).refused_webhooks, "it is still shown as history"
    assert needs_of(inbox, datetime.fromtimestamp(90_000, UTC)) == []
    inbox.close()


def test_an_overdue_reconciliation_is_reported(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.mark_moment("reconciled", 1000.0)
    assert needs_of(inbox, datetime.fromtimestamp(1500, ATHENS)) == []
    [need] = needs_of(inbox, datetime.fromtimestamp(3000, ATHENS))
    assert need == "Orders were last compared with the marketplace at 01/01 02:16 EET."
    inbox.close()


def test_status_says_that_no_connector_runs_and_metrics_count_what_needs_a_person(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "merchant.db")
    inbox.notices.add("token", "the token is refused", 1.0)
    assert not inbox.notices.add("token", "the token is refused", 2.0), "the same is nothing new"
    assert b"kalathi_merchant_needs_a_person 1.0" in ConnectorMetrics().text(inbox)
    running = CliRunner().invoke(main, ["merchant", "--data", str(tmp_path), "status"]).output
    assert "the token is refused." in running
    assert "No connector runs" not in running
    inbox.close()
    stopped = CliRunner().invoke(main, ["merchant", "status", "--data", str(tmp_path)]).output
    assert "No connector runs on this inbox." in stopped
    assert "Nothing needs a person" not in stopped


@pytest.mark.parametrize(("off_seconds", "side"), [(7200.0, "ahead of"), (-7200.0, "behind")])
async def test_a_wrong_clock_is_reported_once_and_misses_no_change(shop: Shop, off_seconds: float, side: str) -> None:
    there = MarketplaceWithClock(shop)
    shop.market.proxy = there
    for drift_seconds in (0, 3):
        shop.seconds = there.seconds + off_seconds + drift_seconds
        await shop.check()
        there.seconds += 4000
    told = f"this machine's clock is {side} the marketplace's by 7200 s; set it by NTP"
    assert [line for line in shop.told if "clock" in line] == [f"needs a person: {told}"], "not again as it drifts"
    assert any(f"{side} the marketplace's by" in need for need in _needs(shop))
    [since] = [parse_qs(urlsplit(url).query)["updated_since"][0] for url in there.asked if "updated_since" in url]
    assert datetime.fromisoformat(since).timestamp() == 1_795_860_000.0 - 3600
    shop.restart()
    shop.seconds = there.seconds
    await shop.check()
    assert [need for need in _needs(shop) if "clock" in need] == []


@pytest.mark.parametrize("off_seconds", [86400.0, -86400.0])
async def test_without_a_date_the_newest_order_bounds_the_changes(shop: Shop, off_seconds: float) -> None:
    there = MarketplaceWithClock(shop, has_date=False)
    shop.market.proxy = there
    for number, hours in enumerate((0, 1, 2)):
        at = athens(datetime.fromtimestamp(there.seconds + hours * 3600, UTC))
        shop.order(f"o{number}", 1, OrderState.ACCEPTED, created_at=at)
        shop.seconds = there.seconds + off_seconds + hours * 3600
        await shop.check()
    asked = [parse_qs(urlsplit(url).query)["updated_since"][0] for url in there.asked if "updated_since" in url]
    since = [datetime.fromisoformat(text).timestamp() - there.seconds for text in asked]
    assert since == [-3600, 0]


async def test_a_deadline_is_reported_in_athens_time_around_the_clock_change(shop: Shop) -> None:
    for code, until, shown in (("o1", 1_792_883_400.0, "25/10 02:10 EEST"), ("o2", 1_792_894_200.0, "25/10 04:10 EET")):
        shop.inbox.jobs.plan(Subject.ORDER, code)
        shop.inbox.subjects.note_state(Subject.ORDER, code, "open", until)
        shop.seconds = until - 60
        await shop.connector.check()
        assert f"needs a person: Order {code} is to be answered by {shown}" in shop.told


async def test_a_wrong_marketplace_url_is_reported_and_loses_no_order(shop: Shop) -> None:
    shop.market.refuse = shop.market.busy(404)
    shop.receive(shop.order("o1", 1))
    for hours in range(1, 4):
        await shop.work(until_seconds=hours * 3600)
        await shop.check()
    assert any("every call with 404; is --url right?" in need for need in _needs(shop))
    assert len([line for line in shop.told if "--url" in line]) == 1
    shop.market.refuse = None
    await shop.work(until_seconds=shop.seconds + 4000)
    assert shop.market.orders["o1"].state == OrderState.ACCEPTED
    assert _needs(shop) == []


async def test_a_missing_first_reconciliation_is_reported(shop: Shop) -> None:
    shop.inbox.mark_moment("started", shop.seconds)
    assert _needs(shop) == []
    shop.seconds += 1000
    [need] = _needs(shop)
    assert "never compared with the marketplace since the start" in need


async def test_an_order_waiting_for_a_person_stays_listed_during_a_job(shop: Shop) -> None:
    shop.stock("shop_uid,quantity\nB,1\n")
    shop.receive(shop.order("o1", 1))
    await shop.work()
    [need] = _needs(shop)
    shop.market.refuse = shop.market.busy(429, {"Retry-After": "300"})
    await shop.check()
    await shop.work()
    assert _needs(shop)[0] == need


def test_a_warned_deadline_is_shown_behind_many_that_wait_for_a_person(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    for number in range(12):
        inbox.jobs.plan(Subject.ORDER, f"o{number:02}")
        inbox.subjects.note_state(Subject.ORDER, f"o{number:02}", "open", 5000.0 + number)
        if number < 11:
            look = next(look for look in inbox.jobs.due(0.0) if look.code == f"o{number:02}")
            inbox.jobs.finish(look, 1.0, f"Order o{number:02}: look")
    for known in inbox.subjects.list_unwarned(9000.0, 9000.0):
        inbox.subjects.mark_warned(known)
    assert any(need.startswith("Order o11 is to be answered by") for need in needs_of(inbox, _at(4000)))
    inbox.close()


def test_a_burst_of_refusals_is_counted_whole_with_its_last_detail(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    for number in range(30):
        refusal = Refusal(403, RefusalReason.UNKNOWN_SOURCE, f"the detail {number}")
        inbox.notices.count_refusal(refusal, 1000.0 + number / 100)
    for at in (1001.0, 1002.0):
        inbox.notices.write_refusals(at)
        [need] = needs_of(inbox, datetime.fromtimestamp(1010, UTC))
        assert need == "30 webhooks were answered with 403 (unknown_source): the detail 29."
    inbox.close()


async def test_the_connector_saves_the_counted_refusals(shop: Shop) -> None:
    for _ in range(3):
        shop.inbox.notices.count_refusal(Refusal(403, RefusalReason.UNKNOWN_SOURCE, "unknown"), 0.0)
    await shop.check()
    assert _needs(shop) == ["3 webhooks were answered with 403 (unknown_source): unknown."]


async def test_forged_codes_are_not_reported(shop: Shop) -> None:
    await shop.check()
    until = datetime.fromtimestamp(1500, UTC)
    for number in range(60):
        forged = shop.order(f"forged{number}", 1, expires_at=until)
        shop.receive(forged)
        del shop.market.orders[forged.code]
    await shop.check()
    await shop.work(until_seconds=30)
    await shop.check()
    assert _needs(shop) == []
    assert not [line for line in shop.told if "needs a person" in line]
    # A real order that cannot be fetched stays visible among them.
    shop.receive(shop.order("real", 1, expires_at=until))
    shop.inbox.subjects.note_state(Subject.ORDER, "real", "open", until.timestamp())
    shop.market.spoiled["http://market/merchants/ecommerce/orders/real"] = b"<html>"
    await shop.work(until_seconds=100)
    assert [need for need in _needs(shop) if need.startswith("Order real")]
    assert len(_needs(shop)) == 1
    await shop.work(until_seconds=1000)
    assert shop.inbox.counts().get("looks_due", 0) == 1, "forged codes are forgotten"


async def test_the_deadline_of_an_order_that_cannot_be_fetched_is_reported(shop: Shop) -> None:
    await shop.check()
    shop.receive(shop.order("o1", 1, expires_at=datetime.fromtimestamp(1500, UTC)))
    shop.market.refuse = shop.market.busy(500)
    await shop.work()
    await shop.check()
    assert [line for line in shop.told if "Order o1 is to be answered by" in line]
    shop.inbox.jobs.plan(Subject.ORDER, "o2")
    shop.inbox.subjects.watch_deadline("o2", 1600.0)
    shop.seconds = 1400
    assert [entry.code for entry in shop.inbox.subjects.list_unwarned(9000.0, 1700.0)] == ["o2"], (
        "it is near, fetched or not"
    )
    assert shop.inbox.subjects.list_unwarned(9000.0, 1500.0) == []


async def test_one_refused_order_is_not_reported_as_a_refused_token(shop: Shop) -> None:
    await shop.check()
    shop.market.refuse = shop.market.busy(403)
    shop.receive(shop.order("o1", 1))
    await shop.work(until_seconds=1000)
    assert [need for need in _needs(shop) if "every call" in need] == []


async def test_a_returning_parcel_is_reported_until_a_person_settles_it(shop: Shop) -> None:
    shop.stock("shop_uid,quantity\nA,1\n")
    for state in (OrderState.ACCEPTED, OrderState.DISPATCHED, OrderState.CANCELLED):
        shop.receive(shop.order("o1", 1, state))
        await shop.work()
    [need] = _needs(shop)
    assert need.startswith("Order o1 was cancelled on its way: 1 pieces are held for its parcel.")
    assert settle(shop.inbox, "o1")
    assert not settle(shop.inbox, "o1")
    assert _needs(shop) == []
    assert shop.inbox.reservations.pieces() == {}


async def test_an_endless_list_is_read_only_up_to_a_limit(shop: Shop) -> None:
    pagination = {"page": 1, "per": 100, "total_pages": 2, "total_results": 200}
    shop.market.listed = msgspec.json.encode({"orders": [], "returns": [], "meta": {"pagination": pagination}})
    await shop.check()
    assert len(shop.market.calls) < 1000


async def test_a_forged_event_of_an_unknown_code_is_forgotten_and_fills_no_status(shop: Shop) -> None:
    await shop.check()
    shop.market.refuse = shop.market.busy(404)
    shop.inbox.events.put(b'{"event_type": "new_order", "order": {"code": "261128-9999999"}}')
    await shop.work(until_seconds=3)
    assert shop.inbox.next_at() is not None, "an order may be announced before it is shown"
    await shop.work(until_seconds=1000)
    assert shop.inbox.next_at() is None
    assert _needs(shop) == []
    assert shop.inbox.subjects.states(Subject.ORDER) == {}
    assert [line for line in shop.told if "needs a person" in line] == []


@pytest.mark.parametrize(("off_seconds", "is_told"), [(119.0, False), (121.0, True), (-119.0, False), (-121.0, True)])
def test_a_clock_may_be_off_by_two_minutes(shop: Shop, off_seconds: float, is_told: bool) -> None:
    told: list[str] = []
    SetupNotices(shop.inbox.notices, told.append, lambda: 1000.0 + off_seconds).compare_clocks(1000.0)
    assert bool(told) is bool(shop.inbox.notices.open()) is is_told


async def test_the_server_behind_a_link_does_not_set_the_marketplaces_time(shop: Shop) -> None:
    async with AsyncClient("http://market", "token", transport=DatedAnswers()) as client:
        await client.orders()
        assert client.marketplace_time == 1_000_000_000.0
        await client.download("http://elsewhere/voucher.pdf")
        assert client.marketplace_time == 1_000_000_000.0


class MarketplaceWithClock:
    """The marketplace with a clock of its own; keeps the addresses of the calls."""

    def __init__(self, shop: Shop, *, has_date: bool = True) -> None:
        self._answers = shop.market.answer
        self._has_date = has_date
        self.seconds = 1_795_860_000.0
        self.asked: list[str] = []

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self.asked.append(url)
        answer = await self._answers(method, url, headers, body)
        date = format_datetime(datetime.fromtimestamp(self.seconds, UTC), usegmt=True)
        return answer._replace(headers={"date": date} if self._has_date else {})


class DatedAnswers:
    """Answers the list of orders and a link, each with the date of its own server."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        seconds = 2_000_000_000 if "elsewhere" in url else 1_000_000_000
        date = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
        meta = b'{"pagination": {"page": 1, "per": 100, "total_pages": 1, "total_results": 0}}'
        return HttpAnswer(200, b'{"orders": [], "meta": ' + meta + b"}", {"date": date})

    async def close(self) -> None:
        pass
