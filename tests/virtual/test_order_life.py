"""Days of an order's life in seconds: the real marketplace, a clock that the test moves, shops that it plays."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.webhooks.answer import SendError
from tests.market import NOON, FakeNetwork, FakeTime, open_market, until

pytestmark = pytest.mark.anyio

SHOP = "http://shop/"


async def test_an_accepted_order_gets_its_voucher_and_a_webhook_for_each_step(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=2, B=1)
        await market.settle()
        assert (await shop.accept(code)).json == {"success": True}
        await market.advance(2)

        events = [body for _, body in market.network.posts]
        assert market.network.events(SHOP) == [
            ("new_order", "open"),
            ("order_updated", "accepted"),
            ("order_updated", "accepted"),
        ]
        assert "changes" not in events[0]
        assert set(events[1]["changes"]) == {"state", "pickup_window", "number_of_parcels", "pickup_address"}
        assert events[1]["changes"]["state"] == {"old": "open", "new": "accepted"}
        assert events[2]["changes"]["courier_tracking_codes"]["old"] == []
        assert events[2]["changes"]["courier_voucher"] == {"old": None, "new": events[2]["order"]["courier_voucher"]}
        link = events[2]["order"]["courier_voucher"].removeprefix("http://market")
        pdf = await market.call("GET", link)
        assert pdf.status == 200
        assert pdf.headers["content-type"] == "application/pdf"
        assert pdf.body.startswith(b"%PDF")


async def test_a_rejection_for_limited_stock_brings_a_new_order_for_what_is_available(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.cart(A=3, B=1)
        line = (await shop.show(code))["line_items"][0]
        body = {"line_items": [{"id": line["id"], "reason_id": "4", "available_quantity": "1"}]}
        assert (await shop.call("POST", f"/orders/{code}/reject", body)).json == {"success": True}
        await market.settle()

        rejected = await shop.show(code)
        assert rejected["state"] == "rejected"
        assert [entry.get("rejection_reason") for entry in rejected["line_items"]] == ["limited_stock", None]
        assert sorted(market.network.events(SHOP)) == [
            ("new_order", "open"),
            ("new_order", "open"),
            ("order_updated", "rejected"),
        ]
        successor = next(body["order"] for _, body in market.network.posts if body["order"]["code"] != code)
        assert [(entry["shop_uid"], entry["quantity"]) for entry in successor["line_items"]] == [("A", 1), ("B", 1)]
        assert {entry["id"] for entry in successor["line_items"]}.isdisjoint(
            entry["id"] for entry in rejected["line_items"]
        )
        assert successor["commission"] == 2.96  # 0.87 + 2.09: each line rounded half up, then summed
        assert (await market.order(successor["code"]))["cart"]["id"] == (await market.order(code))["cart"]["id"]
        assert await shop.stock() == {"A": 0, "B": 9}
        assert (await shop.accept(successor["code"])).status == 200


async def test_a_rejection_by_free_text_ends_the_order_and_gives_the_stock_back(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.cart(A=3)
        assert await shop.stock() == {"A": 7, "B": 10}
        answer = await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "Κλειστά"})
        assert answer.json == {"success": True}
        order = await shop.show(code)
        assert order["rejection_info"] == {"reason": "Κλειστά", "actor": "merchant"}
        assert await shop.stock() == {"A": 10, "B": 10}
        assert len((await market.operate("GET", "/marketplace/orders"))["orders"]) == 1


async def test_a_webhook_is_tried_at_0_1_5_and_19_minutes_and_then_given_up(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        market.network.statuses[SHOP] = [500, 204, SendError.TIMEOUT, 302]
        shop = await market.shop()
        placed_at = market.time.millis
        code = await shop.cart(A=1)
        await market.advance(20 * 60)

        delivery = (await market.order(code))["deliveries"][0]
        assert delivery["state"] == "exhausted"
        minutes = [
            round((datetime.fromisoformat(attempt["at"]).timestamp() - placed_at / 1000) / 60)
            for attempt in delivery["attempts"]
        ]
        assert minutes == [0, 1, 5, 19]
        assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 204, None, 302]
        assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["retry", "retry", "retry", "exhausted"]
        assert len(set(market.network.bodies)) == 1, "every attempt carries the same bytes"
        await market.advance(3600)
        assert len(market.network.posts) == 4


async def test_an_open_order_expires_after_a_day_unless_it_was_extended(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        expiring, extended = await shop.cart(A=1), await shop.cart(A=2)
        before = await shop.show(extended)
        await market.operate("POST", f"/marketplace/orders/{extended}/extend")
        await market.advance(86_400)
        assert (await shop.show(expiring))["state"] == "expired"
        assert (await shop.show(extended))["state"] == "open"
        assert await shop.stock() == {"A": 8, "B": 10}
        updates = [body for _, body in market.network.posts if body["event_type"] == "order_updated"]
        assert set(updates[0]["changes"]) == {"expires_at", "dispatch_until"}
        assert updates[0]["changes"]["expires_at"]["old"] == before["expires_at"]
        await market.advance(86_400)
        assert (await shop.show(extended))["state"] == "expired"
        assert await shop.stock() == {"A": 10, "B": 10}


async def test_an_answer_after_the_deadline_is_refused_even_before_the_expiry_has_run(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        market.time.millis += 86_400_000
        answer = await shop.accept(code)
        assert answer.status == 422
        assert answer.json == {"errors": [{"code": "order_status", "messages": ["Order already expired."]}]}


async def test_a_cancelled_order_gives_back_its_stock_and_gets_no_voucher(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.cart(A=1)
        await shop.accept(code)
        await market.operate("POST", f"/marketplace/orders/{code}/cancel")
        await market.advance(10)
        order = await shop.show(code)
        assert (order["state"], order["courier_voucher"]) == ("cancelled", None)
        assert await shop.stock() == {"A": 10, "B": 10}
        assert market.network.events(SHOP)[-1] == ("order_updated", "cancelled")


async def test_the_dispatch_sends_a_webhook_and_the_delivery_does_not(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        await shop.accept(code)
        await market.advance(5)
        for action in ("hand_over", "deliver"):
            await market.operate("POST", f"/marketplace/orders/{code}/{action}")
        await market.settle()
        assert (await shop.show(code))["state"] == "delivered"
        assert market.network.events(SHOP)[-1] == ("order_updated", "dispatched")
        events = [entry["event"] for entry in (await market.order(code))["timeline"]]
        assert events == ["place", "accept", "issue_voucher", "hand_over", "deliver"]


async def test_an_order_cancelled_after_dispatch_is_not_restocked(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.cart(A=1)
        await shop.accept(code)
        await market.advance(5)
        await market.operate("POST", f"/marketplace/orders/{code}/hand_over")
        await market.operate("POST", f"/marketplace/orders/{code}/cancel")
        assert (await shop.show(code))["state"] == "cancelled"
        assert await shop.stock() == {"A": 9, "B": 10}


async def test_an_undelivered_parcel_is_restocked_and_the_order_returned(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.accepted({"A": 2})
        for word in ("hand_over", "fail_delivery"):
            await market.operate("POST", f"/marketplace/orders/{code}/{word}")
        assert await shop.stock() == {"A": 8, "B": 10}
        answer = await market.operate("POST", f"/marketplace/orders/{code}/bring_back")
        assert answer["order"]["state"] == "returned"
        assert await shop.stock() == {"A": 10, "B": 10}
        assert (await shop.sent_updates(code))[-1] == ("returned", {"state"})


async def test_an_order_can_be_read_and_accepted_while_its_own_webhook_is_answered(tmp_path: Path) -> None:

    async with open_market(tmp_path) as market:
        market.network.gates[SHOP] = asyncio.Event()
        shop = await market.shop()
        code = await shop.cart(A=1)
        await until(lambda: len(market.network.posts) == 1)
        assert (await shop.accept(code)).json == {"success": True}
        assert market.network.events(SHOP) == [("new_order", "open")], "the update waits for the first attempt"
        market.network.gates[SHOP].set()
        await market.settle()
        assert market.network.events(SHOP)[1] == ("order_updated", "accepted")


async def test_the_next_event_waits_for_the_first_attempt_of_the_one_before_not_for_its_retries(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        market.network.statuses[SHOP] = [500]
        shop = await market.shop()
        code = await shop.cart(A=1)
        await shop.accept(code)
        await market.settle()
        assert market.network.events(SHOP) == [("new_order", "open"), ("order_updated", "accepted")]


async def test_a_slow_shop_gets_one_slot_and_delays_no_other(tmp_path: Path) -> None:

    settings = Settings(webhook_slots=10, webhook_slots_per_shop=3)
    network = FakeNetwork()
    network.gates["http://slow/"] = asyncio.Event()
    async with open_market(tmp_path, settings=settings, worker=False, network=network) as market:
        slow, quick = await market.shop("Slow", url="http://slow/"), await market.shop("Quick", url="http://quick/")
        for _ in range(30):
            await slow.cart(A=1)
        for _ in range(20):
            await quick.cart(A=1)
    # All of it is due at once when the worker starts, the slow shop's first.
    async with open_market(tmp_path, settings=settings, network=network) as market:
        await until(lambda: len(market.network.events("http://quick/")) == 20)
        # One slot, until it has shown that it answers; then as many as every shop may have.
        assert market.network.most_in_flight["http://slow/"] == 1
        market.network.gates["http://slow/"].set()
        await market.settle()
        assert len(market.network.events("http://slow/")) == 30


async def test_due_retries_and_the_clock_survive_a_restart(tmp_path: Path) -> None:
    network = FakeNetwork()
    async with open_market(tmp_path, network=network) as market:
        network.statuses[SHOP] = [503]
        shop = await market.shop()
        code = await shop.cart(A=1)
        await market.settle()
        moved = await market.advance(30)
        token = shop.token
    async with open_market(tmp_path, network=network) as market:
        assert (await market.operate("GET", "/marketplace/clock"))["now"] == moved["now"]
        await market.advance(31)
        delivery = (await market.order(code))["deliveries"][0]
        assert [attempt["status"] for attempt in delivery["attempts"]] == [503, 200]
        assert delivery["state"] == "delivered"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.skroutz+json; version=3.0"}
        assert (await market.call("GET", f"/merchants/ecommerce/orders/{code}", None, headers)).status == 200


async def test_the_clock_moves_forward_only(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        before = (await market.operate("GET", "/marketplace/clock"))["now"]
        assert before == "2026-11-24T10:00:00+02:00"
        for body in ({"now": "2020-01-01T00:00:00Z"}, {}, {"advance_seconds": 1, "now": "2030-01-01T00:00:00Z"}):
            answer = await market.operate("POST", "/marketplace/clock", body, status=422)
            assert answer["errors"][0]["code"] == "invalid_parameter"
        await market.operate("POST", "/marketplace/clock", {"advance_seconds": -5}, status=422)
        assert (await market.operate("GET", "/marketplace/clock"))["now"] == before
        moved = await market.operate("POST", "/marketplace/clock", {"now": "2026-12-01T12:00:00+02:00"})
        assert moved["now"] == "2026-12-01T12:00:00+02:00"


async def test_a_clock_move_that_takes_too_long_is_503_and_loses_nothing(tmp_path: Path) -> None:

    # Long enough for the second move on a busy machine.
    async with open_market(tmp_path, settings=Settings(clock_limit_seconds=1.0)) as market:
        market.network.gates[SHOP] = asyncio.Event()
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await market.operate("POST", "/marketplace/clock", {"advance_seconds": 60}, status=503)
        assert answer["errors"][0]["code"] == "unavailable"
        market.network.gates[SHOP].set()
        await until(lambda: bool(market.network.events(SHOP)))
        await market.advance(60)
        assert (await market.order(code))["deliveries"][0]["state"] == "delivered"


async def test_a_clock_move_retries_orders_of_a_hanging_endpoint_in_parallel(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=100)
        market.network.statuses[SHOP] = [500] * 8
        codes = [await shop.cart(A=1) for _ in range(8)]
        await market.settle()
        market.network.gates[SHOP] = asyncio.Event()
        moving = asyncio.create_task(market.advance(60))
        # All eight wait for an answer at once, although a shop has four slots.
        await until(lambda: market.network.in_flight[SHOP] == 8)
        market.network.gates[SHOP].set()
        await moving
        for code in codes:
            assert len((await market.order(code))["deliveries"][0]["attempts"]) == 2


async def test_after_a_downtime_the_attempts_keep_their_distance(tmp_path: Path) -> None:
    network = FakeNetwork()
    network.statuses[SHOP] = [SendError.CONNECTION] * 3
    async with open_market(tmp_path, worker=False, network=network) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
    late = FakeTime(NOON + timedelta(minutes=25))
    async with open_market(tmp_path, network=network, time=late) as market:
        await market.settle()
        assert len(network.posts) == 1, "an endpoint that comes up together with us still gets its event"
        await market.advance(19 * 60)
        delivery = (await market.order(code))["deliveries"][0]
        assert [attempt["status"] for attempt in delivery["attempts"]] == [None, None, None, 200]
        assert [attempt["at"][11:16] for attempt in delivery["attempts"]] == ["10:25", "10:26", "10:30", "10:44"]


async def test_an_offered_window_is_valid_until_it_begins(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        first, second = await shop.cart(A=1), await shop.cart(A=1)
        window = (await shop.show(first))["accept_options"]["pickup_window"][0]
        assert window["label"] == "12:00 - 15:00, Τρί 24/11/26"
        await market.advance(2 * 3600 - 1)
        assert (await shop.accept(first, pickup_window=window["id"])).status == 200
        await market.advance(1)
        answer = await shop.accept(second, pickup_window=window["id"])
        assert (answer.status, answer.json["errors"][0]["code"]) == (422, "invalid_parameter")


async def test_an_extension_names_only_what_has_changed(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        await market.operate("POST", "/marketplace/clock", {"now": "2026-12-03T10:00:00+02:00"})  # a Thursday
        code = await shop.cart(A=1)
        await market.operate("POST", f"/marketplace/orders/{code}/extend")
        await market.settle()
        changes = market.network.posts[-1][1]["changes"]
        # From Friday to Saturday: three working days later is the same Wednesday.
        assert set(changes) == {"expires_at"}


async def test_the_clock_refuses_times_outside_the_calendar(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        before = (await market.operate("GET", "/marketplace/clock"))["now"]
        for now in ("9999-12-31T23:30:00Z", "9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+05:00"):
            await market.operate("POST", "/marketplace/clock", {"now": now}, status=422)
        assert (await market.operate("GET", "/marketplace/clock"))["now"] == before


async def test_moves_of_the_clock_add_up_in_whatever_order_they_come(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        await asyncio.gather(*(market.advance(seconds) for seconds in (3600, 60, 0, 1)))
        assert (await market.operate("GET", "/marketplace/clock"))["now"] == "2026-11-24T11:01:01+02:00"


async def test_unresponsive_shops_delay_no_other(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        for number in range(20):
            url = f"http://dead{number}/"
            market.network.gates[url] = asyncio.Event()
            shop = await market.shop(f"Dead {number}", url=url)
            for _ in range(6):
                await shop.cart(A=1)
        healthy = await market.shop("Healthy", url="http://healthy/")
        for _ in range(5):
            await healthy.cart(A=1)
        await until(lambda: len(market.network.events("http://healthy/")) == 5)
        for gate in market.network.gates.values():
            gate.set()
        await market.settle()
        assert len(market.network.posts) == 125


async def test_without_a_worker_due_jobs_wait(tmp_path: Path) -> None:
    network = FakeNetwork()
    async with open_market(tmp_path, worker=False, network=network) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        await shop.accept(code)
        assert network.posts == []
    async with open_market(tmp_path, network=network) as market:
        await market.advance(2)
        assert len(network.posts) == 3


@pytest.mark.parametrize("available", [0, 1])
async def test_a_rejected_order_names_its_successor_the_available_pieces_and_the_actor(
    tmp_path: Path, available: int
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.cart(A=3)
        [line] = (await shop.show(code))["line_items"]
        rejected = {"id": line["id"], "reason_id": 4, "available_quantity": available}
        assert (await shop.call("POST", f"/orders/{code}/reject", {"line_items": [rejected]})).status == 200
        detail = await market.order(code)
        successor = detail["rejection"]["successor"]
        assert detail["rejection"] == {
            "actor": "merchant",
            "line_items": [{"id": line["id"], "available_quantity": available}],
            "successor": successor,
        }
        assert detail["predecessor"] is None
        assert (successor is not None) is (available > 0)
        if successor:
            assert (await market.order(successor))["predecessor"] == code
        other = await shop.cart(B=1)
        await market.operate("POST", f"/marketplace/orders/{other}/reject", {"reason": "Λάθος"})
        assert (await market.order(other))["rejection"] == {"actor": "skroutz", "line_items": [], "successor": None}
        assert "rejection" not in await shop.show(code), "the wire does not know it"
