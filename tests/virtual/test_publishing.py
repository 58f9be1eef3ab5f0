"""The connector publishes stock and prices to our own marketplace (docs/contract.md#section-10)."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.stock import Shelf
from tests.market import open_market
from tests.virtual.publishing import Publishing, read_batch

pytestmark = pytest.mark.anyio

USUAL = StockPolicy()


def _shelf(price: str = "10.40", **pieces: int) -> Shelf:
    return Shelf(pieces=pieces, prices=dict.fromkeys(pieces, Decimal(price)))


@asynccontextmanager
async def publishing(tmp_path: Path, shelf: Shelf, policy: StockPolicy = USUAL) -> AsyncIterator[Publishing]:
    """A shop that publishes this shelf."""
    async with open_market(tmp_path / "market") as market:
        shop = await market.shop(url=None)
        await shop.products("POST", "/batch", {"data": []})
        with closing(Publishing(market, shop, tmp_path / "shop", shelf, policy)) as publishing:
            yield publishing


async def test_the_shelf_minus_held_pieces_is_published_and_the_results_are_read(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, B=3), StockPolicy(buffer=1)) as shop:
        shop.hold(A=2)
        await shop.publish()
        assert await shop.listings() == {"A": (4, 10.4, True), "B": (2, 10.4, True)}
        assert len(shop.batches) == 1
        rows = shop.inbox.publications.of(["A", "B"])
        assert {name: (row.counted, row.answer) for name, row in rows.items()} == {
            "A": ((7, 2, 1), "success"),
            "B": ((3, 0, 1), "success"),
        }
        assert shop.inbox.publications.count_batches() == 0
        assert shop.notices() == ""


async def test_only_differences_are_sent_and_changes_within_seconds_together(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, B=3)) as shop:
        await shop.publish()
        await shop.publish()
        assert len(shop.batches) == 1
        shop.hold(A=1)
        assert await shop.publisher.publish() == 3
        await shop.advance(1)
        shop.hold(B=1)
        assert await shop.publisher.publish() == 2
        assert len(shop.batches) == 1
        await shop.advance(2)
        await shop.publisher.publish()
        assert [entry["product_id"] for entry in shop.batches[1]] == ["A", "B"]
        await shop.publish()
        assert len(shop.batches) == 2


async def test_a_change_back_within_seconds_sends_nothing(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7)) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf(A=6)
        await shop.publisher.publish()
        shop.stock.shelf = _shelf(A=7)
        await shop.publish()
        assert len(shop.batches) == 1
        assert shop.inbox.moment("unpublished since") is None


async def test_after_a_lost_answer_the_newest_number_is_sent_even_if_it_is_the_earlier_one(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7)) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf(A=2)
        await shop.publisher.publish()
        await shop.advance(3)
        shop.lost = 1
        await shop.publisher.publish()
        assert len(shop.batches) == 2
        shop.stock.shelf = _shelf(A=7)
        await shop.publish()
        assert (await shop.listings())["A"][0] == 7
        assert len(shop.batches) == 3


async def test_a_killed_process_sends_what_is_not_certain_and_reads_open_results(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, X=1)) as shop:
        await shop.publisher.publish()
        await shop.advance(3)
        await shop.publisher.publish()
        shop.open()
        await shop.publish()
        assert len(shop.batches) == 1
        assert "X (Product not found.)" in shop.notices()
        # It was killed between the answer and its own transaction.
        with closing(sqlite3.connect(shop.folder / "inbox.db")) as inbox, inbox:
            inbox.execute("UPDATE publications SET is_confirmed = 0 WHERE product_id = 'A'")
        shop.open()
        await shop.publish()
        assert [entry["product_id"] for entry in shop.batches[1]] == ["A"]


async def test_a_scan_makes_it_wait_and_then_send_the_newest_numbers(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7)) as shop:
        await shop.publish()
        path = f"/marketplace/shops/{shop.shop.id}"
        await shop.market.operate("PATCH", path, {"feed_scan_until": "2026-11-24T10:30:00+02:00"})
        shop.stock.shelf = _shelf(A=6)
        await shop.publish()
        assert len(shop.batches) == 1
        calls = shop.told.count("the marketplace is scanning the XML feed; stock is published afterwards")
        assert calls == 1
        shop.stock.shelf = _shelf(A=4)
        await shop.advance(30 * 60)
        await shop.publisher.publish()
        assert [[entry["quantity"] for entry in batch] for batch in shop.batches] == [[7], [4]]
        assert shop.told[-1] == "the scan of the XML feed is over; stock is published again"
        assert shop.notices() == ""


async def test_a_shop_whose_batches_are_refused_is_a_matter_for_a_person(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7)) as shop:
        path = f"/marketplace/shops/{shop.shop.id}"
        await shop.market.operate("PATCH", path, {"takes_product_updates": False})
        await shop.publish()
        assert "takes no stock and prices" in shop.notices()
        await shop.market.operate("PATCH", path, {"takes_product_updates": True})
        await shop.advance(600)
        await shop.publish()
        assert shop.notices() == ""
        assert (await shop.listings())["A"][0] == 7


async def test_failures_of_the_status_reach_the_person_until_they_are_gone(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, X=1)) as shop:
        await shop.publish()
        assert "has not taken the stock of 1 product: X (Product not found.)" in shop.notices()
        await shop.publish()
        assert len(shop.batches) == 1  # It is not sent again until it changes.
        listing = {"shop_uid": "X", "product_name": "X", "unit_price": 1, "quantity": 0}
        await shop.market.operate("PUT", f"/marketplace/shops/{shop.shop.id}/listings", [listing])
        shop.stock.shelf = _shelf(A=7, X=2)
        await shop.publish()
        assert (await shop.listings())["X"][0] == 2
        assert shop.notices() == ""


class _Refusing(Publishing):
    """The marketplace cannot read these products. With `names`, it says which; a real one may refuse for reasons that
    ours does not have."""

    unreadable = frozenset({"A", "C"})
    names = True

    async def send(self, method: str, url: str, headers: Any, body: bytes | None) -> Any:
        if url.endswith("/batch"):
            found = sorted(self.unreadable & {entry["product_id"] for entry in read_batch(body)})
            if found:
                messages = [f"Product {name}: Field 'price' has invalid type" for name in found]
                text = messages if self.names else ["Something is wrong"]
                content = json.dumps({"errors": [{"code": "invalid_format", "messages": text}]}).encode()
                return HttpAnswer(400, content, {})
        return await super().send(method, url, headers, body)


@pytest.mark.parametrize("names", [True, False])
async def test_products_that_the_marketplace_cannot_read_are_left_out_and_the_rest_is_sent(
    tmp_path: Path, *, names: bool
) -> None:
    async with open_market(tmp_path / "market") as market:
        shop = await market.shop(url=None)
        await shop.products("POST", "/batch", {"data": []})
        shelf = _shelf(A=1, B=2, C=3)
        with closing(_Refusing(market, shop, tmp_path / "shop", shelf, USUAL)) as publishing:
            publishing.names = names
            await publishing.publish()
            assert [entry["product_id"] for batch in publishing.batches for entry in batch] == ["B"]
            assert "has not taken the stock of 2 products: A (" in publishing.notices()
            count = len(publishing.batches)
            await publishing.publish()
            assert len(publishing.batches) == count
            publishing.unreadable = frozenset()
            publishing.stock.shelf = _shelf(A=5, B=2, C=3)
            await publishing.publish()
            assert (await publishing.listings())["A"][0] == 5


async def test_every_night_everything_is_sent_again(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, B=3)) as shop:
        await shop.publish()
        # Another program has changed the listing.
        await shop.shop.count({"A": 99})
        await shop.advance(16 * 3600)
        await shop.publish()
        assert len(shop.batches) == 1  # 02:00
        await shop.advance(3600)
        await shop.publish()
        assert len(shop.batches) == 2
        assert await shop.listings() == {"A": (7, 10.4, True), "B": (3, 10.4, True)}
        await shop.publish()
        assert len(shop.batches) == 2


async def test_a_source_without_prices_publishes_nothing_and_says_so(tmp_path: Path) -> None:
    async with publishing(tmp_path, Shelf(pieces={"A": 7, "B": 1})) as shop:
        await shop.publish()
        assert shop.batches == []
        assert "no prices, so nothing is published" in shop.notices()
        assert any("no prices" in line for line in shop.told)
        shop.stock.shelf = replace(_shelf(A=7, B=1), unreadable={"C": "stock.csv, line 4: no number"})
        await shop.publish()
        assert "C (stock.csv, line 4: no number)" in shop.notices()
        assert "prices" not in shop.notices()
        assert (await shop.listings())["A"][0] == 7
        shop.stock.shelf = _shelf(A=7, B=1)
        await shop.publish()
        assert shop.notices() == ""


async def test_a_product_that_becomes_unreadable_keeps_its_published_number(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, B=1)) as shop:
        await shop.publish()
        shop.stock.shelf = Shelf(pieces={"B": 1}, prices={"B": Decimal("10.40")}, unreadable={"A": "line 2"})
        await shop.publish()
        assert len(shop.batches) == 1
        assert "A (line 2)" in shop.notices()


async def test_a_price_that_falls_waits_for_a_person_and_the_stock_does_not(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf("100.00", A=7)) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf("1.00", A=5)
        await shop.publish()
        assert (await shop.listings())["A"] == (5, 100, True)
        assert "A from 100.00 to 1.00 €" in shop.notices()
        assert shop.inbox.publications.allow_prices([]) == ["A"]
        await shop.publish()
        assert (await shop.listings())["A"] == (5, 1, True)
        assert shop.notices() == ""
        # A later fall needs another permission.
        shop.stock.shelf = _shelf("100.00", A=5)
        await shop.publish()
        shop.stock.shelf = _shelf("1.00", A=5)
        await shop.publish()
        assert (await shop.listings())["A"] == (5, 100, True)


async def test_a_product_that_the_source_no_longer_names_has_no_pieces_after_an_hour(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, B=3, C=1)) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf(A=7, C=1)
        await shop.publish()
        assert (await shop.listings())["B"][0] == 3
        await shop.advance(3700)
        await shop.publish()
        assert (await shop.listings())["B"][0] == 0
        shop.stock.shelf = _shelf(A=7, B=2, C=1)
        await shop.publish()
        assert (await shop.listings())["B"][0] == 2


async def test_a_source_that_loses_most_products_takes_none_off_sale(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7, B=3)) as shop:
        await shop.publish()
        shop.stock.shelf = _shelf(C=1)
        await shop.publish()
        await shop.advance(7200)
        await shop.publish()
        assert (await shop.listings())["A"][0] == 7
        assert "no longer names 2 of the published products" in shop.notices()


async def test_the_age_of_an_unpublished_difference_is_a_metric(tmp_path: Path) -> None:
    async with publishing(tmp_path, _shelf(A=7)) as shop:
        await shop.publish()
        assert b"kalathi_merchant_unpublished_seconds 0.0" in shop.context.metrics.text(shop.inbox)
        shop.stock.shelf = _shelf(A=6)
        await shop.publisher.publish()
        await shop.advance(42)
        assert b"kalathi_merchant_unpublished_seconds 42.0" in shop.context.metrics.text(shop.inbox)


async def test_a_large_shelf_is_sent_in_batches_of_500(tmp_path: Path) -> None:
    pieces = {f"P{number:04}": number for number in range(1203)}
    shelf = Shelf(pieces=pieces, prices=dict.fromkeys(pieces, Decimal(10)))
    async with publishing(tmp_path, shelf) as shop:
        await shop.publish()
        assert [len(batch) for batch in shop.batches] == [500, 500, 203]
