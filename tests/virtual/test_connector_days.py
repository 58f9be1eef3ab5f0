"""The connector in front of our own marketplace for days, with faults of every kind and deaths at any call: afterwards
every order is answered in time, the stock adds up, and each voucher was printed once.

The shop's file of stock is as files are: it shows the shelf as it was some minutes ago, it is written again without
anything new, it names the variation of A or only its product, and for a while it is not there or cannot be read. The
marketplace sends unknown words and nulls, calls are redirected now and then, and the shop's clock may be hours off.
"""

import json
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.merchant.client import AsyncClient, RedirectedError, Retries, UnreachableError
from kalathi.merchant.client.redirects import Refused, Request, decide
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.connector import Connector
from kalathi.merchant.habits import Habits
from kalathi.merchant.handing_over import FunctionRecipient
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.receiver import WebhookHandler
from kalathi.merchant.stock import CsvStock
from tests.market import NOON, OPERATOR_TOKEN, FakeNetwork, Market, Shop, open_market

pytestmark = pytest.mark.anyio

# `make chaos` asks for more.
ORDERS = int(os.environ.get("KALATHI_TEST_CONNECTOR_ORDERS", "300"))
# A's listing is of one variation, which the shop's file may name or not.
VARIATION: Final = "A-44"
# How long ago the file's numbers were true when it is written.
LAGS_SECONDS: Final = (0, 600, 1200)
# How far the clock of the shop's machine is ahead of the marketplace's.
CLOCKS_SECONDS: Final = (0, 60, 7200, -7200)
# Values that a future marketplace may send in place of any member.
STRANGE: Final[tuple[Any, ...]] = (None, "a_word_of_tomorrow", {"new": 1})
FAULTS: Final[list[dict[str, Any]]] = [
    {"on": "api", "kind": "error", "status": 500, "probability": 0.03},
    {"on": "api", "kind": "error", "status": 503, "probability": 0.03, "after": True},
    {"on": "api", "kind": "rate_limit", "probability": 0.02, "retry_after_seconds": 3},
    {"on": "api", "kind": "drop", "probability": 0.03},
    {"on": "api", "kind": "drop", "probability": 0.05, "after": True},
    {"on": "api", "kind": "timeout", "seconds": 0.001, "probability": 0.02},
    {"on": "webhooks", "kind": "duplicate", "probability": 0.2},
    {"on": "webhooks", "kind": "reorder", "seconds": 30, "probability": 0.1},
    {"on": "webhooks", "kind": "error", "status": 500, "probability": 0.1},
    {"on": "webhooks", "kind": "drop", "probability": 0.1, "after": True},
]


class Killed(BaseException):
    """An exception that no except clause of the product catches, like kill -9."""


class FakePrinter(FolderPrinter):
    """Counts the labels."""

    may_repeat = False

    def __init__(self, folder: Path, labels: Counter[str]) -> None:
        super().__init__(folder)
        self._labels = labels

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        self._labels[code] += 1
        return super().print_voucher(code, pdf)


class Days(FakeNetwork):
    """A shop with its shelf, its connector and its customers; it is the marketplace's network as well."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.folder = folder
        self.shelf = {"A": 30, "B": 20}
        self.arrived = Counter(self.shelf)
        self.left: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.told: dict[str, str] = {}
        self.lines: list[str] = []
        self.seconds = NOON.timestamp()
        self.lag_seconds = chance.choice(LAGS_SECONDS)
        self.ahead_seconds = chance.choice(CLOCKS_SECONDS)
        # The shelf after each change, and since when it was so.
        self.history = [(self.seconds, dict(self.shelf))]
        self.names_variation = chance.random() < 0.5
        # Orders that were cancelled when the courier had them, and how the marketplace shows them.
        self.late: dict[str, str] = {}
        # What accepted orders take.
        self.taken: dict[str, Counter[str]] = {}
        self.deaths = 0
        self.strange = 0
        self.deadly = False
        self.codes: list[str] = []
        self.wanted: dict[str, dict[str, int]] = {}
        self.reserved: set[tuple[Any, ...]] = set()

    def note(self, what: str) -> None:
        """Write it into the log, which a failure shows."""
        print(f"{self.seconds - NOON.timestamp():.0f} {what}")

    # The wire, both ways

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        answer = self.handler.handle(self._replace_a_member(self._shown(body)), headers)
        return Answer(url, answer.status, SendError.NONE, answer.body, 1)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self._die()
        if self.deadly and self.chance.random() < 0.02:
            decision = decide(Request(method, url, headers, body), 301, url.replace("//market", "//elsewhere"))
            # The network follows the redirect of a link, which leads to the same file here.
            if isinstance(decision, Refused):
                raise RedirectedError(decision)
        parts = urlsplit(url)
        try:
            answer = await self.market.call(method, f"{parts.path}?{parts.query}".rstrip("?"), body, headers)
        except ConnectionResetError:
            raise UnreachableError("cut off") from None
        self._die()
        date = format_datetime(datetime.fromtimestamp(self.seconds, UTC), usegmt=True)
        return HttpAnswer(
            answer.status, self._replace_a_member(self._shown(answer.body)), {**answer.headers, "date": date}
        )

    def _replace_a_member(self, body: bytes) -> bytes:
        """Now and then one member of an order is null, an unknown word or an object."""
        if not (self.deadly and b'"line_items"' in body and self.chance.random() < 0.1):
            return body
        content = json.loads(body)
        orders = content["orders"] if "orders" in content else [content["order"]]
        if not orders:
            return body
        order = self.chance.choice(orders)
        at = self.chance.choice([order, *order["line_items"]])
        name = self.chance.choice([name for name in at if name not in {"code", "line_items"}])
        at[name] = self.chance.choice(STRANGE)
        at["a_member_of_tomorrow"] = [1]
        self.strange += 1
        return json.dumps(content).encode()

    def clock(self) -> float:
        """The clock of the shop's machine."""
        return self.seconds + self.ahead_seconds

    def _shown(self, body: bytes) -> bytes:
        """An order that was cancelled on its way is shown as returned when its parcel is back."""
        for code, state in self.late.items():
            told = f'"code":"{code}","state":"'.encode()
            body = body.replace(told + b"cancelled", told + state.encode())
        return body

    def _die(self) -> None:
        if self.deadly and self.chance.random() < 0.01:
            self.deaths += 1
            raise Killed

    # The shop

    async def open(self, market: Market) -> None:
        self.market = market
        self.shop: Shop = await market.shop(quantity=100_000, listing={"shop_variation_uid": VARIATION})
        self.count()
        self.inbox = Inbox(self.folder / "inbox.db")
        self.start()

    def count(self) -> None:
        """The file is written, and shows the shelf as it was before the lag."""
        until = self.seconds - self.lag_seconds
        shelf = next((shelf for at, shelf in reversed(self.history) if at <= until), self.history[0][1])
        rows = "".join(
            f"{VARIATION if uid == 'A' and self.names_variation else uid},{quantity}\n"
            for uid, quantity in shelf.items()
        )
        self.write(f"shop_uid,quantity\n{rows}")

    def write(self, text: str) -> None:
        self.note(f"file: {text!r}")
        path = self.folder / "stock.csv"
        path.write_text(text, "utf-8")
        os.utime(path, (self.clock(), self.clock()))

    def change(self, shop_uid: str, quantity: int) -> None:
        self.shelf[shop_uid] += quantity
        self.note(f"shelf: {quantity:+} of {shop_uid}, now {self.shelf}")
        self.history.append((self.seconds, dict(self.shelf)))

    def restock(self, new: int) -> None:
        for shop_uid in self.shelf:
            self.change(shop_uid, new)
            self.arrived[shop_uid] += new
        self.count()

    def start(self) -> None:
        self.inbox.close()
        self.inbox = Inbox(self.folder / "inbox.db")
        client = AsyncClient("http://market", self.shop.token, transport=self, retries=Retries(attempts=1))
        self.connector = Connector(
            client,
            self.inbox,
            CsvStock(self.folder / "stock.csv", clock=self.clock),
            FakePrinter(self.folder / "out", self.labels),
            self.lines.append,
            recipient=FunctionRecipient(self._take),
            habits=Habits(stock_lag_seconds=self.lag_seconds),
            clock=self.clock,
        )
        self.handler = WebhookHandler(self.inbox, clock=self.clock)

    def _take(self, content: dict[str, Any]) -> None:
        if self.deadly and self.chance.random() < 0.05:
            raise ConnectionError("the shop's system is busy")
        self.told[content["order"]["code"]] = content["order"]["state"]

    async def work(self) -> None:
        try:
            await self.connector.work()
            await self.connector.check()
        except Killed:
            self.note("killed")
            self.start()
        self.note_reservations()

    def note_reservations(self) -> None:
        with closing(sqlite3.connect(self.folder / "inbox.db")) as inbox:
            reserved = set(inbox.execute("SELECT * FROM reservations"))
        for sign, rows in (("-", self.reserved - reserved), ("+", reserved - self.reserved)):
            for row in sorted(rows, key=str):
                self.note(f"{sign} {row}")
        self.reserved = reserved

    # Events

    async def advance(self, seconds: int) -> None:
        self.seconds += seconds
        await self.market.advance(seconds)

    async def step(self) -> None:
        what = self.chance.random()
        if what < 0.45:
            wanted = {uid: self.chance.randint(1, 4) for uid in self.chance.choice(("A", "B", "AB"))}
            # The marketplace lists more pieces than the shop has; a rejection lowers its number.
            await self.shop.count({})
            code = await self.shop.place(wanted)
            self.wanted[code] = wanted
        elif what < 0.51:
            await self._operate(self.chance.choice(["open", "accepted"]), "cancel")
        elif what < 0.54:
            await self._cancel_late()
        elif what < 0.57:
            await self._take_back()
        elif what < 0.80:
            await self._hand_over()
        elif what < 0.91:
            await self._write_somehow()
        elif what < 0.95:
            self.restock(self.chance.randint(0, 9))
        else:
            await self.advance(self.chance.randint(1, 600))
        await self.advance(self.chance.randint(0, 60))
        if self.chance.random() < 0.7:
            await self.work()
            await self.check_promises()

    async def check_promises(self) -> None:
        """What is accepted and waits for the courier lies on the shelf."""
        promised: Counter[str] = Counter()
        for order in await _orders(self.market, "&state=accepted"):
            code = order["code"]
            if code not in self.taken:
                lines = (await self.market.order(code))["order"]["line_items"]
                self.taken[code] = Counter({line["shop_uid"]: line["quantity"] for line in lines})
            promised.update(self.taken[code])
        short = {uid: quantity for uid, quantity in promised.items() if quantity > self.shelf[uid]}
        assert not short, f"promised twice: {short} of {self.shelf}"

    def reserved_for_others(self, orders: list[dict[str, Any]]) -> str:
        """What is reserved for orders that are not accepted, to explain a failure."""
        states = {order["code"]: order["state"] for order in orders}
        with closing(sqlite3.connect(self.folder / "inbox.db")) as inbox:
            rows = inbox.execute("SELECT * FROM reservations").fetchall()
            looks = {row[1]: row for row in inbox.execute("SELECT * FROM looks")}
        others = [(row, states[row[0]], looks[row[0]]) for row in rows if states[row[0]] != "accepted"]
        return f"lag {self.lag_seconds}, {others}"

    async def _some(self, state: str) -> dict[str, Any] | None:
        listed = await self.market.operate("GET", f"/marketplace/orders?state={state}&per=50")
        mine = [entry for entry in listed["orders"] if entry["code"] != "DEMO-OPEN"]
        return self.chance.choice(mine) if mine else None

    async def _operate(self, state: str, action: str) -> None:
        order = await self._some(state)
        if order is None:
            return
        # The last call of a killed connector may have answered the order just now.
        path = f"/marketplace/orders/{order['code']}/{action}"
        answer = await self.market.call("POST", path, b"{}", {"Authorization": f"Bearer {OPERATOR_TOKEN}"})
        assert answer.status in {200, 422}, answer
        self.note(f"{action} {order['code']}: {answer.status}")

    async def _hand_over(self) -> None:
        """The courier takes an order whose label is on it: its pieces leave the shelf, of which the file knows when the
        shop writes it anew."""
        order = await self._some("accepted")
        if order is None or not self.labels[order["code"]]:
            return
        await self.market.operate("POST", f"/marketplace/orders/{order['code']}/hand_over", {})
        for line in (await self.market.order(order["code"]))["order"]["line_items"]:
            self.change(line["shop_uid"], -line["quantity"])
            self.left[line["shop_uid"]] += line["quantity"]
            assert self.shelf[line["shop_uid"]] >= 0, "a piece was promised twice"

    async def _write_somehow(self) -> None:
        path = self.folder / "stock.csv"
        what = self.chance.random()
        if what < 0.4:
            self.count()
        elif what < 0.6 and path.exists():
            self.write(path.read_text("utf-8"))
        elif what < 0.75:
            self.names_variation = not self.names_variation
            self.count()
        elif what < 0.85:
            self.write('shop_uid,quantity\nA,1.000\nA-44,?\n"B,7\n')
        elif what < 0.9 and path.exists():
            # Half a file, whose first row is whole, and the rest of it some minutes later.
            whole = path.read_text("utf-8")
            self.write("".join(whole.splitlines(keepends=True)[:2]))
            await self.work()
            await self.advance(self.chance.randint(1, 900))
            await self.work()
            self.write(whole)
        else:
            path.unlink(missing_ok=True)

    async def _cancel_late(self) -> None:
        """A customer cancels what the courier has: it is shown as cancelled, and its pieces are on the transport."""
        order = await self._some("dispatched")
        # A dispatch that no fetch and no event has shown is unknown to the connector.
        if order is None or not self.inbox.subjects.has_left(order["code"]):
            return
        await self.market.operate("POST", f"/marketplace/orders/{order['code']}/cancel", {})
        self.late[order["code"]] = "cancelled"

    async def _take_back(self) -> None:
        """The courier brings back what was cancelled late; the order is returned, which a webhook tells."""
        coming = [code for code, state in self.late.items() if state == "cancelled"]
        if not coming:
            return
        code = self.chance.choice(coming)
        self.late[code] = "returned"
        order = (await self.market.order(code))["order"]
        for line in order["line_items"]:
            self.change(line["shop_uid"], line["quantity"])
            self.left[line["shop_uid"]] -= line["quantity"]
        event = {
            "event_type": "order_updated",
            "event_time": order["created_at"],
            "order": {**order, "state": "returned"},
        }
        self.handler.handle(json.dumps(event).encode(), {})


async def _orders(market: Market, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        listed = await market.operate("GET", f"/marketplace/orders?per=100&page={page}{query}")
        found += listed["orders"]
        if page >= listed["meta"]["pagination"]["total_pages"]:
            return found
        page += 1


async def test_days_of_faults_and_kills_lose_no_answer_label_or_piece(tmp_path: Path) -> None:
    seed = int(os.environ.get("KALATHI_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}: repeat with KALATHI_TEST_SEED={seed}")
    days = Days(tmp_path, random.Random(seed))
    async with open_market(tmp_path / "market", network=days) as market:
        await days.open(market)
        try:
            await _live(days, seed)
            await _check(days)
        finally:
            days.inbox.close()


async def _live(days: Days, seed: int) -> None:
    days.deadly = True
    await days.market.operate("PUT", "/marketplace/faults", {"seed": seed, "rules": FAULTS})
    while len(days.wanted) < ORDERS:
        await days.step()
    days.deadly = False
    await days.market.operate("PUT", "/marketplace/faults", {})
    days.count()
    for _ in range(40):
        await days.advance(120)
        await days.work()


async def _check(days: Days) -> None:
    orders = await _orders(days.market)
    states = Counter(order["state"] for order in orders)
    print(f"{states}, {days.deaths} deaths, {sum(days.labels.values())} labels, {days.strange} strange bodies")
    assert set(states) <= {"accepted", "rejected", "cancelled", "dispatched", "delivered"}
    assert days.deaths
    assert days.strange
    assert [notice.topic for notice in days.inbox.notices.open()] == (
        ["clock"] if abs(days.ahead_seconds) > 120 else []
    )
    held: Counter[str] = Counter()
    for order in orders:
        detail = await days.market.order(order["code"])
        events = [entry["event"] for entry in detail["timeline"]]
        assert "expire" not in events, order["code"]
        if order["state"] == "accepted":
            held.update({line["shop_uid"]: line["quantity"] for line in detail["order"]["line_items"]})
        if order["state"] in {"accepted", "dispatched"}:
            assert days.labels[order["code"]] == 1, order["code"]
            assert (days.folder / "out" / f"{order['code']}.pdf").exists()
        if order["state"] == "cancelled" and order["code"] not in days.late:
            assert not (days.folder / "out" / f"{order['code']}.pdf").exists()
        shown = days.late.get(order["code"], order["state"])
        assert days.told[order["code"]] == shown, order["code"]
        if order["code"] in days.late:
            assert (days.folder / "out" / f"{order['code']}.pdf").exists(), "its label is on the parcel"
    assert max(days.labels.values()) == 1
    # What the file knew before the connector heard of it is held until the shop counts anew.
    days.restock(1000)
    await days.advance(2 * max(LAGS_SECONDS))
    days.count()
    await days.work()
    counted_as = {"A": VARIATION if days.names_variation else "A", "B": "B"}
    expected = {counted_as[uid]: quantity for uid, quantity in held.items()}
    assert days.inbox.reservations.pieces() == expected, days.reserved_for_others(orders)
    assert all(days.shelf[shop_uid] >= quantity for shop_uid, quantity in held.items()), "promised twice"
    assert Counter(days.shelf) + days.left == days.arrived
    assert days.inbox.aside() == []
