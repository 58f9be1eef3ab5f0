"""Published stock when something is wrong: refusals, long pauses, sources that lose products, and late answers."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kalathi.contract.products import ProductUpdate
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.publications import UNPUBLISHED
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.publishing import Count, Target
from kalathi.merchant.stock import Shelf
from kalathi.merchant.stock.live_sources import shelf_of_content
from tests.market import open_market
from tests.virtual.publishing import Publishing, read_batch

pytestmark = pytest.mark.anyio


def _shelf(price: str = "10.00", **pieces: int) -> Shelf:
    return Shelf(pieces=pieces, prices=dict.fromkeys(pieces, Decimal(price)))


def _many(first: int, last: int, quantity: int = 1) -> Shelf:
    pieces = {f"P{number:04}": quantity for number in range(first, last)}
    return Shelf(pieces=pieces, prices=dict.fromkeys(pieces, Decimal(10)))


def _refuse(status: int, code: str, *messages: str, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"errors": [{"code": code, "messages": messages}]}).encode(), headers)


class Different(Publishing):
    """A marketplace that answers batches in its own way, and completes each one with success."""

    def __init__(self, *arguments: Any) -> None:
        self.taken: list[list[str]] = []
        self.calls = 0
        self.statuses = 0
        super().__init__(*arguments)

    def list_taken(self) -> list[str]:
        """The products of all batches that were taken."""
        return [product_id for batch in self.taken for product_id in batch]

    def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
        """The answer to a batch."""
        self.taken.append(product_ids)
        return HttpAnswer(200, json.dumps({"success": True, "id": f"b{len(self.taken)}"}).encode())

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        await asyncio.sleep(0)
        if method == "POST":
            self.calls += 1
            return self.answer([entry["product_id"] for entry in read_batch(body)], body or b"")
        self.statuses += 1
        return HttpAnswer(200, json.dumps({"id": "b", "status": "completed", "results": []}).encode())


@asynccontextmanager
async def different(tmp_path: Path, shelf: Shelf, kind: type[Different] = Different) -> AsyncIterator[Different]:
    """A shop that publishes to such a marketplace."""
    async with open_market(tmp_path / "market") as market:
        shop = await market.shop(url=None)
        await shop.products("POST", "/batch", {"data": []})
        with closing(kind(market, shop, tmp_path / "shop", shelf, StockPolicy())) as found:
            yield found


# Refusals


@pytest.mark.parametrize(("status", "code"), [(400, "bad_request"), (413, "too_large"), (422, "unheard_of")])
@pytest.mark.parametrize("bad", [0, 7, 29])
async def test_a_product_that_spoils_a_batch_in_any_way_is_left_out(
    tmp_path: Path, status: int, code: str, bad: int
) -> None:
    class Spoiled(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            if f"P{bad:04}" in product_ids:
                return _refuse(status, code, "No.")
            return super().answer(product_ids, body)

    async with different(tmp_path, _many(0, 30), Spoiled) as shop:
        await shop.publish()
        assert sorted(shop.list_taken()) == [f"P{number:04}" for number in range(30) if number != bad]
        assert f"P{bad:04} (No.)" in shop.notices()
        calls = shop.calls
        await shop.publish()
        assert shop.calls == calls


async def test_a_batch_that_is_too_large_is_divided(tmp_path: Path) -> None:
    class Small(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            return _refuse(413, "too_large", "No.") if len(body) > 2000 else super().answer(product_ids, body)

    async with different(tmp_path, _many(0, 300), Small) as shop:
        await shop.publish()
        assert len(shop.list_taken()) == 300
        assert shop.notices() == ""


async def test_a_marketplace_that_names_one_product_at_a_time_gets_the_rest(tmp_path: Path) -> None:
    class Slow(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            refused = [product_id for product_id in product_ids if product_id != "P0000"]
            if refused:
                return _refuse(400, "invalid_format", f"Product {refused[0]}: Field 'price' has invalid type")
            return super().answer(product_ids, body)

    async with different(tmp_path, _many(0, 500), Slow) as shop:
        await shop.publish()
        assert shop.taken == [["P0000"]]
        assert "has not taken the stock of 499 products" in shop.notices()


async def test_a_fault_that_is_in_no_product_ends_the_round(tmp_path: Path) -> None:
    class Broken(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            return _refuse(400, "bad_request", "The header X is missing.")

    async with different(tmp_path, _many(0, 3000), Broken) as shop:
        await shop.publish()
        assert shop.calls < 60
        assert "takes no stock and prices (400: The header X is missing.)" in shop.notices()


async def test_after_a_refusal_the_rest_has_the_numbers_of_its_moment(tmp_path: Path) -> None:
    quantities: list[int] = []

    class Late(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            if "A" in product_ids:
                self.hold(B=2)
                return _refuse(400, "invalid_format", "Product A: Field 'price' has invalid type")
            quantities.append(read_batch(body)[0]["quantity"])
            return super().answer(product_ids, body)

    async with different(tmp_path, _shelf(A=5, B=5), Late) as shop:
        await shop.publish()
        assert quantities == [3]


@pytest.mark.parametrize("answer", [{"success": True}, {"success": True, "id": None}, {}])
async def test_an_accepted_batch_without_an_id_is_published(tmp_path: Path, answer: dict[str, Any]) -> None:
    class Nameless(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            super().answer(product_ids, body)
            return HttpAnswer(200, json.dumps(answer).encode())

    async with different(tmp_path, _many(0, 600), Nameless) as shop:
        await shop.publish()
        await shop.publish()
        assert sorted(map(len, shop.taken)) == [100, 500]
        assert shop.statuses == 0
        assert shop.notices() == ""


async def test_a_batch_without_success_is_not_published(tmp_path: Path) -> None:
    class Refusing(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            return HttpAnswer(200, b'{"success": false, "id": "x"}')

    async with different(tmp_path, _shelf(A=1), Refusing) as shop:
        await shop.publish()
        assert shop.inbox.publications.counts() == (0, 1)
        assert "takes no stock and prices" in shop.notices()


@pytest.mark.parametrize("uid", ["A\0B", "A\ud800B"])
async def test_a_uid_that_the_wire_cannot_carry_stops_no_other_product(tmp_path: Path, uid: str) -> None:
    rows = [{"shop_uid": name, "quantity": 1, "price": 10} for name in (uid, "B")]
    async with different(tmp_path, shelf_of_content(rows, "stock")) as shop:
        await shop.publish()
        assert shop.taken == [["B"]]
        assert "cannot be read and is not published: A" in shop.notices()


async def test_publishing_that_fails_again_and_again_is_a_matter_for_a_person(tmp_path: Path) -> None:
    class Crashing(Different):
        is_broken = True

        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            if self.is_broken:
                raise RuntimeError("a bug")
            return super().answer(product_ids, body)

    async with different(tmp_path, _shelf(A=1), Crashing) as shop:
        shop.inbox.mark_moment(UNPUBLISHED, shop.clock() - 60)
        task = asyncio.create_task(shop.publisher.run())
        async with asyncio.timeout(10):
            while "RuntimeError: a bug" not in shop.notices():
                shop.publisher.wake()
                await asyncio.sleep(0.001)
            Crashing.is_broken = False
            while shop.notices():
                shop.publisher.wake()
                await asyncio.sleep(0.001)
        task.cancel()
        assert shop.taken == [["A"]]


# Pauses


async def test_no_answer_can_ask_for_a_pause_of_years(tmp_path: Path) -> None:
    class Busy(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            if self.calls == 1:
                return _refuse(429, "rate_limited", "Later.", **{"retry-after": "99999999"})
            return super().answer(product_ids, body)

    async with different(tmp_path, _shelf(A=1), Busy) as shop:
        await shop.publish()
        assert not shop.taken
        await shop.publish(300)
        assert shop.taken == [["A"]]


async def test_pauses_of_a_clock_that_was_ahead_do_not_last(tmp_path: Path) -> None:
    class Failing(Different):
        is_down = True

        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            return HttpAnswer(503, b"") if self.is_down else super().answer(product_ids, body)

    async with different(tmp_path, _shelf(A=1), Failing) as shop:
        shop.seconds += 86_400
        await shop.publish()
        shop.seconds -= 86_400
        Failing.is_down = False
        await shop.publish()
        assert shop.taken
        shop.seconds += 86_400
        shop.stock.shelf = _shelf(A=2)
        await shop.publisher.publish()
        shop.seconds += 5
        await shop.publisher.publish()
        shop.seconds -= 86_400
        await shop.publish()
        assert shop.inbox.publications.count_batches() == 0


async def test_the_age_of_a_difference_starts_anew_after_everything_was_sent(tmp_path: Path) -> None:
    class Selling(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            self.inbox.reservations.release(f"o{self.calls - 1}")
            self.stock.shelf = _shelf(A=100 + self.calls)
            self.seconds += 1
            return super().answer(product_ids, body)

    async with different(tmp_path, _shelf(A=1), Selling) as shop:
        for _ in range(40):
            await shop.publisher.publish()
            shop.seconds += 1
        since = shop.inbox.moment(UNPUBLISHED)
        assert since is None or shop.clock() - since < 10
        assert len(shop.taken) < 20  # Changes within three seconds are sent together.


async def test_urgent_changes_do_not_wait_behind_results_or_a_full_batch(tmp_path: Path) -> None:
    class Watching(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            if self.calls == 1:
                self.hold(P0001=1)
            return super().answer(product_ids, body)

    async with different(tmp_path, _many(0, 15_000, 5), Watching) as shop:
        await shop.publisher.publish()
        shop.seconds += 3
        await shop.publisher.publish()
        # It was sold during the first call, and is in the next one.
        assert "P0001" in shop.taken[1]
        assert len(shop.taken) == 30
        shop.seconds += 10
        shop.statuses = 0
        assert await shop.publisher.publish() == 0.0
        assert shop.statuses == 20
        await shop.publisher.publish()
        assert shop.inbox.publications.count_batches() == 0


# Sources


async def test_products_that_are_gone_for_good_do_not_count_as_lost_later(tmp_path: Path) -> None:
    async with different(tmp_path, _shelf(A=1, B=1, C=1, D=1, E=1, F=1)) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf(D=1, E=1, F=1)
        await shop.publish()
        await shop.publish(3600)
        await shop.publish()
        shop.stock.shelf = _shelf(E=1, F=1)
        await shop.publish()
        await shop.publish(3600)
        await shop.publish()
        rows = shop.inbox.publications.of(["A", "B", "C", "D"])
        assert [row.update and row.update.quantity for row in rows.values()] == [0, 0, 0, 0]
        assert shop.notices() == ""
        # The comparisons of the nights send them too, because a feed may have offered them again.
        calls = len(shop.taken)
        await shop.publish(86_400)
        await shop.publish()
        assert {"A", "B", "C", "D"} <= {product_id for batch in shop.taken[calls:] for product_id in batch}
        await shop.publish(30 * 86_400)
        await shop.publish(3600)
        await shop.publish(3600)
        assert not shop.inbox.publications.of(["A", "B", "C", "D"])


async def test_a_source_without_any_row_is_a_matter_for_a_person(tmp_path: Path) -> None:
    async with different(tmp_path, _shelf(A=1)) as shop:
        await shop.publish()
        shop.stock.shelf = Shelf()
        await shop.publish()
        await shop.publish(3600)
        await shop.publish()
        assert "no longer names 1 of the published products" in shop.notices()
        assert len(shop.taken) == 1
        shop.stock.shelf = _shelf(A=1)
        await shop.publish()
        assert shop.notices() == ""


async def test_a_person_is_told_once_about_the_same_unreadable_products(tmp_path: Path) -> None:
    def broken(line: int, **pieces: int) -> Shelf:
        return Shelf(
            pieces=pieces,
            prices=dict.fromkeys(pieces, Decimal(10)),
            unreadable={f"X{number}": f"stock.csv, line {line + number}: no number" for number in range(8)},
        )

    async with different(tmp_path, broken(1, A=1)) as shop:
        for line in range(1, 6):
            shop.stock.shelf = broken(line, A=line)
            await shop.publish()
            shop.hold(A=line)
            await shop.publish()
        told = [line for line in shop.told if "cannot be read" in line]
        assert len(told) == 1
        assert "line 5" in shop.notices()
        shop.stock.shelf = Shelf(unreadable={**broken(1).unreadable, "Y": "no number"})
        await shop.publish()
        assert len([line for line in shop.told if "cannot be read" in line]) == 2


async def test_an_allowed_price_is_published_even_if_many_products_are_blocked(tmp_path: Path) -> None:
    async with different(tmp_path, _many(0, 1200)) as shop:
        pieces = {"Z": 1, **_many(0, 1200).pieces}
        shop.stock.shelf = Shelf(pieces=pieces, prices=dict.fromkeys(pieces, Decimal(10)))
        await shop.publish()
        prices = {"Z": Decimal(1)}
        shop.stock.shelf = Shelf(pieces={"Z": 1}, prices=prices, unreadable=dict.fromkeys(_many(0, 1200).pieces, "?"))
        shop.inbox.publications.mark_all_unconfirmed()
        await shop.publish()
        beside = Inbox(shop.folder / "inbox.db", beside=True)
        assert beside.publications.allow_prices(["Z"]) == ["Z"]
        beside.close()
        await shop.publish()
        [row] = shop.inbox.publications.of(["Z"]).values()
        assert row.update is not None
        assert row.update.price == 100


async def test_a_price_that_is_allowed_during_a_call_is_published(tmp_path: Path) -> None:
    class Allowing(Different):
        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            if self.calls == 2:
                self.inbox.publications.allow_prices(["A"])
            return super().answer(product_ids, body)

    async with different(tmp_path, _shelf(A=1), Allowing) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf("1.00", A=2)
        await shop.publish()
        await shop.publish()
        [row] = shop.inbox.publications.of(["A"]).values()
        assert row.update is not None
        assert (row.update.price, row.waiting_price, row.allowed_price) == (100, None, None)
        calls = shop.calls
        await shop.publish()
        assert shop.calls == calls


# Results


@pytest.mark.parametrize(("first", "second"), [("b1", "b2"), ("b2", "b1")])
async def test_the_answer_to_the_latest_batch_stays_in_any_order(tmp_path: Path, first: str, second: str) -> None:
    async with different(tmp_path, _shelf(A=1)) as shop:
        publications = shop.inbox.publications
        answers = {"b1": "A later batch has changed this product.", "b2": "success"}
        for number, batch_id in enumerate(("b1", "b2"), 1):
            update = ProductUpdate(product_id="A", quantity=number, enabled=True, price=1000)
            target = Target(update, Count(number, 0, 0))
            publications.begin([target])
            publications.confirm([target], batch_id, 1.0, 1.0)
        for batch_id in (first, second):
            publications.end_batch(batch_id, {"A": answers[batch_id]})
        assert publications.of(["A"])["A"].answer == "success"


async def test_numbers_that_a_scan_has_replaced_are_sent_again(tmp_path: Path) -> None:
    async with open_market(tmp_path / "market") as market:
        shop = await market.shop(url=None)
        await shop.products("POST", "/batch", {"data": []})
        with closing(Publishing(market, shop, tmp_path / "shop", _shelf(A=7, B=3), StockPolicy())) as publishing:
            await publishing.publish()
            path = f"/marketplace/shops/{shop.id}"
            await market.operate("PATCH", path, {"feed_scan_until": "2026-11-24T10:30:00+02:00"})
            publishing.stock.shelf = _shelf(A=7, B=2)
            await publishing.publish()
            await shop.count({"A": 9, "B": 9})
            await publishing.advance(30 * 60)
            await publishing.publish()
            await publishing.publish()
            assert {uid: shown[0] for uid, shown in (await publishing.listings()).items()} == {"A": 7, "B": 2}


async def test_a_product_that_is_gone_is_taken_off_again_after_a_scan(tmp_path: Path) -> None:
    async with open_market(tmp_path / "market") as market:
        shop = await market.shop(url=None)
        await shop.products("POST", "/batch", {"data": []})
        with closing(Publishing(market, shop, tmp_path / "shop", _shelf(A=7, B=3), StockPolicy())) as publishing:
            await publishing.publish()
            publishing.stock.shelf = _shelf(A=7)
            await publishing.publish()
            await publishing.publish(3600)
            await publishing.publish()
            assert (await publishing.listings())["B"][0] == 0
            # The feed still has it.
            await shop.count({"B": 4})
            await publishing.publish(86_400)
            await publishing.publish()
            assert (await publishing.listings())["B"][0] == 0


# Prices


async def test_refused_prices_are_no_base_for_the_next_fall(tmp_path: Path) -> None:
    class Broken(Different):
        is_broken = False

        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            if self.is_broken and "A" in product_ids:
                return HttpAnswer(400, b"<html>")
            return super().answer(product_ids, body)

        async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
            answer = await super().send(method, url, headers, body)
            if method == "GET":
                results = [{"product_id": "A", "status": "success"}, {"product_id": "B", "status": "success"}]
                return HttpAnswer(200, json.dumps({"id": "b", "status": "completed", "results": results}).encode())
            return answer

    def priced(price: str, b: int) -> Shelf:
        return Shelf(pieces={"A": 1, "B": b}, prices={"A": Decimal(price), "B": Decimal(10)})

    async with different(tmp_path, priced("100", 1), Broken) as shop:
        await shop.publish()
        Broken.is_broken = True
        for turn, price in enumerate(("51", "26", "13")):
            shop.stock.shelf = priced(price, 2 + turn)
            await shop.publish(100)
            await shop.publish()
        Broken.is_broken = False
        shop.stock.shelf = priced("12", 9)
        await shop.publish(100)
        await shop.publish()
        [row] = shop.inbox.publications.of(["A"]).values()
        assert row.update is not None
        assert (row.update.price, row.waiting_price) == (10000, 1200)


async def test_a_permission_ends_when_the_price_is_back(tmp_path: Path) -> None:
    async with different(tmp_path, _shelf("10.00", A=1)) as shop:
        await shop.publish()
        shop.inbox.publications.end_batch("b1", {"A": "success"})
        shop.stock.shelf = _shelf("1.00", A=1)
        await shop.publish()
        shop.inbox.publications.allow_prices(["A"])
        shop.stock.shelf = _shelf("0.50", A=1)
        await shop.publish()
        shop.stock.shelf = _shelf("10.00", A=1)
        await shop.publish()
        [row] = shop.inbox.publications.of(["A"]).values()
        assert (row.waiting_price, row.allowed_price) == (None, None)


# Passing faults


@pytest.mark.parametrize("products", [1, 3, 30])
async def test_products_are_sent_again_after_a_fault_that_was_in_none_of_them(tmp_path: Path, products: int) -> None:
    class Guarded(Different):
        is_guarded = True

        def answer(self, product_ids: list[str], body: bytes) -> HttpAnswer:
            return HttpAnswer(400, b"<html>") if self.is_guarded else super().answer(product_ids, body)

    async with different(tmp_path, _many(0, products), Guarded) as shop:
        await shop.publish()
        assert "takes no stock and prices" in shop.notices()
        Guarded.is_guarded = False
        await shop.publish(100)
        await shop.publish()
        assert len(shop.list_taken()) == products
        assert shop.notices() == ""


async def test_a_comparison_that_fails_is_repeated_as_a_whole(tmp_path: Path) -> None:
    async with different(tmp_path, _shelf(A=5)) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf(A=1)
        with closing(sqlite3.connect(shop.folder / "inbox.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            shop.inbox.publications._connection.execute("PRAGMA busy_timeout = 1")
            with pytest.raises(sqlite3.OperationalError):
                await shop.publisher.publish()
            other.execute("ROLLBACK")
        await shop.publish()
        [row] = shop.inbox.publications.of(["A"]).values()
        assert row.update is not None
        assert row.update.quantity == 1


async def test_a_source_that_changes_with_each_reading_is_published(tmp_path: Path) -> None:
    class Restless(Different):
        async def read(self) -> Shelf:
            self.seconds += 1
            return _shelf(A=int(self.seconds) % 1000)

    async with different(tmp_path, _shelf(A=1), Restless) as shop:
        shop.stock.read = shop.read  # type: ignore[attr-defined,method-assign]  # a source of this test
        for _ in range(10):
            await shop.publisher.publish()
        assert len(shop.taken) >= 2


async def test_a_refused_product_is_told_once_although_it_is_sent_every_night(tmp_path: Path) -> None:
    class Failing(Different):
        async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
            if method == "POST":
                return await super().send(method, url, headers, body)
            sent = self.taken[int(url.split("/")[-2].removeprefix("b")) - 1]
            results = [{"product_id": name, "status": "success"} for name in sent]
            failed = {"status": "failure", "message": "Product not found."}
            results = [entry | (failed if entry["product_id"] == "P0001" else {}) for entry in results]
            return HttpAnswer(200, json.dumps({"id": "b", "status": "completed", "results": results}).encode())

    async with different(tmp_path, _many(0, 1200), Failing) as shop:
        for _ in range(4):
            await shop.publish()
            shop.inbox.publications.mark_all_unconfirmed()
            await shop.publish(3600)
        assert len([line for line in shop.told if "Product not found." in line]) == 1


async def test_a_new_unreadable_product_is_told_even_if_the_text_stays_the_same(tmp_path: Path) -> None:
    def broken(*names: str) -> Shelf:
        return Shelf(pieces={"A": 1}, prices={"A": Decimal(10)}, unreadable=dict.fromkeys(names, "no number"))

    async with different(tmp_path, broken(*"BCDEFGHI")) as shop:
        await shop.publish()
        shop.stock.shelf = broken(*"BCDEFGHX")
        await shop.publish()
        assert len([line for line in shop.told if "cannot be read" in line]) == 2


async def test_a_waiting_price_of_a_product_that_is_gone_waits_no_longer(tmp_path: Path) -> None:
    async with different(tmp_path, _shelf("10.00", A=1, B=1, C=1)) as shop:
        await shop.publish()
        shop.inbox.publications.end_batch("b1", {"A": "success"})
        shop.stock.shelf = Shelf(
            pieces={"A": 1, "B": 1, "C": 1}, prices={"A": Decimal(1), "B": Decimal(10), "C": Decimal(10)}
        )
        await shop.publish()
        assert "falls by more than" in shop.notices()
        shop.stock.shelf = _shelf("10.00", B=1, C=1)
        await shop.publish()
        assert shop.notices() == ""


async def test_a_batch_whose_results_can_no_longer_be_read_counts_as_taken(tmp_path: Path) -> None:
    class Forgetful(Different):
        async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
            if method == "GET":
                return _refuse(404, "not_found", "Batch not found.")
            return await super().send(method, url, headers, body)

    async with different(tmp_path, _shelf("10.00", A=1), Forgetful) as shop:
        await shop.publish()
        [row] = shop.inbox.publications.of(["A"]).values()
        assert (row.answer, row.taken) == ("", row.update)
        shop.stock.shelf = _shelf("1.00", A=1)
        await shop.publish()
        assert "falls by more than" in shop.notices()
