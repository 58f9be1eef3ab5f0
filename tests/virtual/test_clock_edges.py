"""The edges of a day and of a year in Athens: both changes of the clock, midnight, holidays, nine in the evening.

In 2026 the clock goes back on Sunday 25 October (04:00 becomes 03:00), in 2027 it goes forward on Sunday 28 March
(03:00 becomes 04:00). 28 October 2026 is a Wednesday, 25 March 2027 a Thursday; both are public holidays.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.market import LOCATION, FakeTime, Market, Shop, open_market

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _market_at(folder: Path, moment: str) -> AsyncIterator[tuple[Market, Shop]]:
    async with open_market(folder, time=FakeTime(datetime.fromisoformat(moment))) as market:
        yield market, await market.shop(locations=[LOCATION, LOCATION])


async def _at(market: Market, moment: str) -> None:
    answer = await market.operate("POST", "/marketplace/clock", {"now": moment})
    assert answer["now"] == moment, "the clock shows the offset that Athens has then"


async def _in_window(market: Market, shop: Shop, label: str) -> str:
    code = await shop.cart(A=1)
    windows = (await shop.show(code))["accept_options"]["pickup_window"]
    [window] = [entry["id"] for entry in windows if entry["label"] == label]
    assert (await shop.accept(code, pickup_window=window)).json == {"success": True}
    await market.advance(2)
    return code


@pytest.mark.parametrize(
    ("placed", "expires", "dispatch_until"),
    [
        # A day is 24 hours: an hour earlier on the clock after the change in autumn, an hour later in spring. The time
        # of dispatch is that hour of a working day, and 28 October is none.
        ("2026-10-24T10:00:00+03:00", "2026-10-25T09:00:00+02:00", "2026-10-29T09:00:00+02:00"),
        ("2027-03-27T10:00:00+02:00", "2027-03-28T11:00:00+03:00", "2027-03-31T11:00:00+03:00"),
        # The hour that comes twice, its first and its second time.
        ("2026-10-24T03:30:00+03:00", "2026-10-25T03:30:00+03:00", "2026-10-29T03:30:00+02:00"),
        ("2026-10-24T04:15:00+03:00", "2026-10-25T03:15:00+02:00", "2026-10-29T03:15:00+02:00"),
        # The hour that never comes.
        ("2027-03-27T03:30:00+02:00", "2027-03-28T04:30:00+03:00", "2027-03-31T04:30:00+03:00"),
        # Placed a second before and at midnight: a Friday, and a Saturday.
        ("2026-11-27T23:59:59+02:00", "2026-11-28T23:59:59+02:00", "2026-12-02T23:59:59+02:00"),
        ("2026-11-28T00:00:00+02:00", "2026-11-29T00:00:00+02:00", "2026-12-02T00:00:00+02:00"),
        # Over Christmas, and over Orthodox Easter of 2027: Good Friday is 30 April, Easter Monday 3 May, and May Day,
        # which falls on the Saturday between, is kept on Tuesday.
        ("2026-12-23T12:00:00+02:00", "2026-12-24T12:00:00+02:00", "2026-12-30T12:00:00+02:00"),
        ("2027-04-28T12:00:00+03:00", "2027-04-29T12:00:00+03:00", "2027-05-07T12:00:00+03:00"),
    ],
)
async def test_an_order_expires_a_day_after_it_was_placed_and_is_dispatched_on_working_days(
    tmp_path: Path, placed: str, expires: str, dispatch_until: str
) -> None:
    async with _market_at(tmp_path, placed) as (market, shop):
        code = await shop.cart(A=1)
        order = await shop.show(code)
        assert (order["created_at"], order["expires_at"]) == (placed, expires)
        assert order["dispatch_until"] == dispatch_until
        assert code[:6] == placed[2:10].replace("-", "")
        await market.advance(86_399)
        assert (await shop.show(code))["state"] == "open"
        await market.advance(1)
        assert (await shop.show(code))["state"] == "expired"
        assert market.network.posts[-1][1]["event_time"] == expires


async def test_the_code_of_an_order_has_the_date_in_athens(tmp_path: Path) -> None:
    async with _market_at(tmp_path, "2026-11-24T22:30:00+00:00") as (_, shop):
        assert (await shop.cart(A=1)).startswith("261125-")


@pytest.mark.parametrize(
    ("placed", "before", "after"),
    [
        ("2026-10-24T10:00:00+03:00", "2026-10-25T09:00:00+02:00", "2026-10-26T09:00:00+02:00"),
        ("2026-10-23T10:00:00+03:00", "2026-10-24T10:00:00+03:00", "2026-10-25T09:00:00+02:00"),
        ("2027-03-26T10:00:00+02:00", "2027-03-27T10:00:00+02:00", "2027-03-28T11:00:00+03:00"),
    ],
)
async def test_an_extension_adds_whole_hours_over_a_change_of_the_clock(
    tmp_path: Path, placed: str, before: str, after: str
) -> None:
    async with _market_at(tmp_path, placed) as (market, shop):
        code = await shop.cart(A=1)
        await market.operate("POST", f"/marketplace/orders/{code}/extend")
        await market.settle()
        assert market.network.posts[-1][1]["changes"]["expires_at"] == {"old": before, "new": after}


@pytest.mark.parametrize(
    ("now", "label", "day", "window"),
    [
        (
            "2026-10-23T08:00:00+03:00",
            "15:00 - 18:00, Παρ 23/10/26",
            "2026-10-26",
            {"from": "2026-10-26T15:00:00+02:00", "to": "2026-10-26T18:00:00+02:00"},
        ),
        (
            "2027-03-26T08:00:00+02:00",
            "12:00 - 15:00, Παρ 26/03/27",
            "2027-03-29",
            {"from": "2027-03-29T12:00:00+03:00", "to": "2027-03-29T15:00:00+03:00"},
        ),
    ],
)
async def test_a_pickup_that_moves_over_a_change_of_the_clock_keeps_its_hours(
    tmp_path: Path, now: str, label: str, day: str, window: dict[str, str]
) -> None:
    async with _market_at(tmp_path, now) as (market, shop):
        code = await _in_window(market, shop, label)
        await shop.call("POST", f"/orders/{code}/reschedule_pickup", {"reschedule_date": day})
        assert (await shop.show(code))["pickup_window"] == window


@pytest.mark.parametrize("second", ["20:59:59", "21:00:00"])
@pytest.mark.parametrize(
    ("accepted", "eve", "offset", "label"),
    [
        # The evening before is that of the day on which the clock changes.
        ("2026-10-23T08:00:00+03:00", "2026-10-25", "+02:00", "15:00 - 18:00, Δευ 26/10/26"),
        ("2027-03-26T08:00:00+02:00", "2027-03-28", "+03:00", "15:00 - 18:00, Δευ 29/03/27"),
        # The evening before is that of a public holiday, and the last of a year.
        ("2026-10-26T08:00:00+02:00", "2026-10-28", "+02:00", "15:00 - 18:00, Πέμ 29/10/26"),
    ],
)
async def test_set_as_ready_by_9_pm_the_day_before_moves_the_pickup_earlier(
    tmp_path: Path, accepted: str, eve: str, offset: str, label: str, second: str
) -> None:
    async with _market_at(tmp_path, accepted) as (market, shop):
        code = await _in_window(market, shop, label)
        planned = (await shop.show(code))["pickup_window"]
        await _at(market, f"{eve}T{second}{offset}")
        assert (await shop.call("POST", f"/orders/{code}/set_as_ready")).json == {"success": True}
        moved = (await shop.show(code))["pickup_window"]
        if second == "20:59:59":
            assert moved["from"] == planned["from"].replace("T15", "T09")
            assert await shop.sent_updates(code) == [
                *_ACCEPTED,
                ("accepted", {"is_ready_for_dispatch", "pickup_window"}),
            ]
        else:
            assert moved == planned
            assert await shop.sent_updates(code) == [*_ACCEPTED, ("accepted", {"is_ready_for_dispatch"})]
        # Undone after midnight, while the first window has not begun: it goes back there.
        await market.advance(4 * 3600)
        assert (await shop.call("POST", f"/orders/{code}/set_as_not_ready")).json == {"success": True}
        assert (await shop.show(code))["pickup_window"] == planned


_ACCEPTED = [
    ("accepted", {"state", "pickup_window", "number_of_parcels", "pickup_address"}),
    ("accepted", {"courier_voucher", "courier_tracking_codes"}),
]


async def _days(shop: Shop, code: str) -> list[str]:
    order: dict[str, Any] = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]
    return [entry["date"] for entry in order["reschedule_options"]]


async def test_today_is_offered_until_its_last_window_begins(tmp_path: Path) -> None:
    async with _market_at(tmp_path, "2026-11-24T08:00:00+02:00") as (market, shop):
        code = await _in_window(market, shop, "09:00 - 12:00, Πέμ 26/11/26")
        assert await _days(shop, code) == ["2026-11-24", "2026-11-25"]
        await _at(market, "2026-11-24T14:59:59+02:00")
        assert await _days(shop, code) == ["2026-11-24", "2026-11-25"]
        await _at(market, "2026-11-24T15:00:00+02:00")
        assert await _days(shop, code) == ["2026-11-25", "2026-11-27"]
        await _at(market, "2026-11-24T23:59:59+02:00")
        before = await _days(shop, code)
        await _at(market, "2026-11-25T00:00:00+02:00")
        assert await _days(shop, code) == before


async def test_a_holiday_is_not_offered_and_cannot_be_chosen(tmp_path: Path) -> None:
    async with _market_at(tmp_path, "2026-10-26T08:00:00+02:00") as (market, shop):
        code = await _in_window(market, shop, "09:00 - 12:00, Δευ 26/10/26")
        assert await _days(shop, code) == ["2026-10-27", "2026-10-29"]
        body = {"reschedule_date": "2026-10-28"}
        answer = await shop.call("POST", f"/orders/{code}/reschedule_pickup", body)
        assert answer.json["errors"][0]["messages"] == ["Invalid reschedule date"]


async def test_a_preorder_of_a_holiday_is_picked_up_on_the_next_working_day(tmp_path: Path) -> None:
    async with _market_at(tmp_path, "2026-10-20T10:00:00+03:00") as (market, _):
        shop = await market.shop("Preorders", listing={"preorder_ships_on": "2026-10-28"})
        code = await shop.cart(A=1)
        windows = (await shop.show(code))["accept_options"]["pickup_window"]
        assert windows[0]["label"] == "09:00 - 12:00, Πέμ 29/10/26"
        await shop.accept(code)
        await _at(market, "2026-10-27T23:59:59+02:00")
        assert (await shop.show(code))["courier_voucher"] is None
        await _at(market, "2026-10-28T00:00:00+02:00")
        assert (await shop.show(code))["courier_voucher"]


async def test_the_list_distinguishes_the_two_passes_of_the_repeated_hour(tmp_path: Path) -> None:
    async with _market_at(tmp_path, "2026-10-25T03:30:00+03:00") as (market, shop):
        first = await shop.cart(A=1)
        await _at(market, "2026-10-25T03:30:00+02:00")
        second = await shop.cart(A=1)

        async def changed_since(moment: str) -> list[str]:
            answer = await shop.call("GET", f"/orders?updated_since={moment}")
            return [order["code"] for order in answer.json["orders"]]

        assert await changed_since("2026-10-25T03:30:00%2B02:00") == [second]
        assert await changed_since("2026-10-25T03:30:00%2B03:00") == [second, first]
        assert await changed_since("2026-10-25T00:30:00Z") == [second, first]


async def test_a_retry_is_not_delayed_when_the_clock_goes_back(
    tmp_path: Path,
) -> None:
    async with _market_at(tmp_path, "2026-10-25T03:59:30+03:00") as (market, shop):
        market.network.statuses["http://shop/"] = [500, 500]
        code = await shop.cart(A=1)
        await market.advance(6 * 60)
        [delivery] = (await market.order(code))["deliveries"]
        assert [attempt["at"] for attempt in delivery["attempts"]] == [
            "2026-10-25T03:59:30+03:00",
            "2026-10-25T03:00:30+02:00",
            "2026-10-25T03:04:30+02:00",
        ]
