"""An accepted order until the courier has it: moved in time and place, ready and not, with the events of each step."""

from pathlib import Path
from typing import Any

import pytest

from tests.market import LOCATION, Market, Shop, open_market

pytestmark = pytest.mark.anyio

TWO_PLACES: dict[str, Any] = {"locations": [LOCATION, {**LOCATION, "street_name": "Ερμού", "street_number": "10"}]}
# The fixture's now is Tuesday 24/11/26, 10:00 in Athens.
FIRST = {"from": "2026-11-24T12:00:00+02:00", "to": "2026-11-24T15:00:00+02:00"}


async def _accepted_in(market: Market, shop: Shop, label: str, **facts: object) -> str:
    """An order that was accepted for the window of this label."""
    code = await shop.place({"A": 1}, **facts)
    windows = (await shop.show(code))["accept_options"]["pickup_window"]
    [window] = [entry["id"] for entry in windows if entry["label"] == label]
    assert (await shop.accept(code, pickup_window=window)).json == {"success": True}
    await market.advance(2)
    return code


async def _options(shop: Shop, code: str) -> tuple[list[tuple[str, str]], list[str]]:
    order = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]
    return (
        [(entry["date"], entry["label"]) for entry in order["reschedule_options"]],
        [entry["label"] for entry in order["relocate_options"]],
    )


async def test_action_options_are_shown_on_request_and_never_in_webhooks(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(**TWO_PLACES)
        code = await _accepted_in(market, shop, "12:00 - 15:00, Τρί 24/11/26")
        days, places = await _options(shop, code)
        assert days == [("2026-11-25", "Τετ 25/11/26"), ("2026-11-26", "Πέμ 26/11/26")]
        assert places == ["Ερμού 10, Τ.Κ. 10562, Αθήνα, Αττική"]
        for query in ("", "?action_options=0", "?action_options="):
            order = (await shop.call("GET", f"/orders/{code}{query}")).json["order"]
            assert not {"reschedule_options", "relocate_options"} & set(order)
        for _, body in market.network.posts:
            assert not {"reschedule_options", "relocate_options"} & set(body["order"])


async def test_both_options_are_empty_when_the_order_cannot_be_moved(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(**TWO_PLACES)
        merchant = await market.shop("FBM", fulfillment_mode="fbm", **TWO_PLACES)
        still_open = await shop.cart(A=1)
        express = await shop.place({"A": 1}, express=True)
        picked_up = await shop.accepted()
        await market.operate("POST", f"/marketplace/orders/{picked_up}/hand_over")
        for of, code in (
            (shop, still_open),
            (shop, express),
            (shop, picked_up),
            (shop, await shop.accepted(store_pickup=True)),
            (merchant, await merchant.accepted()),
        ):
            assert await _options(of, code) == ([], [])


async def test_a_rescheduled_pickup_keeps_its_hours_if_the_day_offers_them(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await _accepted_in(market, shop, "15:00 - 18:00, Τετ 25/11/26")
        move = {"reschedule_date": "2026-11-26"}
        assert (await shop.call("POST", f"/orders/{code}/reschedule_pickup", move)).json == {"success": True}
        window = (await shop.show(code))["pickup_window"]
        assert window == {"from": "2026-11-26T15:00:00+02:00", "to": "2026-11-26T18:00:00+02:00"}
        assert (await shop.sent_updates(code))[-1] == ("accepted", {"pickup_window"})
        changes = market.network.posts[-1][1]["changes"]
        assert changes["pickup_window"] == {
            "old": {"from": "2026-11-25T15:00:00+02:00", "to": "2026-11-25T18:00:00+02:00"},
            "new": window,
        }


async def test_a_rescheduled_pickup_takes_the_first_window_of_a_day_whose_hours_have_begun(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await _accepted_in(market, shop, "09:00 - 12:00, Πέμ 26/11/26")
        move = {"reschedule_date": "2026-11-24"}
        assert (await shop.call("POST", f"/orders/{code}/reschedule_pickup", move)).json == {"success": True}
        assert (await shop.show(code))["pickup_window"] == FIRST


async def test_a_relocated_pickup_keeps_its_window_and_gets_a_new_voucher(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(**TWO_PLACES)
        code = await shop.accepted()
        before = await shop.show(code)
        other = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]["relocate_options"][0]["id"]
        answer = await shop.call("POST", f"/orders/{code}/relocate_pickup", {"pickup_location": other})
        assert answer.json == {"success": True}
        await market.advance(2)
        after = await shop.show(code)
        assert after["pickup_address"] == "Ερμού 10, Τ.Κ. 10562, Αθήνα, Αττική"
        assert after["pickup_window"] == before["pickup_window"]
        assert after["courier_voucher"] != before["courier_voucher"]
        assert not set(after["courier_tracking_codes"]) & set(before["courier_tracking_codes"])
        both = {"courier_voucher", "courier_tracking_codes"}
        assert (await shop.sent_updates(code))[-2:] == [("accepted", {"pickup_address"}), ("accepted", both)]
        # The label that is still in a printer's queue can be fetched, and both say what they must.
        for url in (before["courier_voucher"], after["courier_voucher"]):
            assert (await market.call("GET", url.removeprefix("http://market"))).status == 200


@pytest.mark.parametrize(
    ("word", "body", "told"),
    [
        ("change_parcels", {"number_of_parcels": 3}, {"number_of_parcels"}),
        ("change_courier", {"courier": "ACS"}, {"courier"}),
    ],
)
async def test_a_change_of_courier_or_parcels_creates_a_new_voucher(
    tmp_path: Path, word: str, body: dict[str, Any], told: set[str]
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        await market.advance(5)
        before = await shop.show(code)
        await market.operate("POST", f"/marketplace/orders/{code}/{word}", body)
        await market.operate("POST", f"/marketplace/orders/{code}/hand_over", status=422)
        await market.advance(5)
        after = await shop.show(code)
        assert all(after[name] == value for name, value in body.items())
        assert after["courier_voucher"] != before["courier_voucher"]
        assert len(after["courier_tracking_codes"]) == after["number_of_parcels"]
        assert not set(after["courier_tracking_codes"]) & set(before["courier_tracking_codes"])
        both = {"courier_voucher", "courier_tracking_codes"}
        assert (await shop.sent_updates(code))[-2:] == [("accepted", told), ("accepted", both)]
        await market.operate("POST", f"/marketplace/orders/{code}/{word}", body, status=422)
        await market.operate("POST", f"/marketplace/orders/{code}/hand_over")


async def test_a_missed_pickup_moves_to_a_later_window(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        before = (await shop.show(code))["pickup_window"]
        await market.operate("POST", f"/marketplace/orders/{code}/miss_pickup")
        after = (await shop.show(code))["pickup_window"]
        assert after["from"] >= before["to"]
        assert (await shop.sent_updates(code))[-1] == ("accepted", {"pickup_window"})


async def test_set_as_ready_moves_the_pickup_to_an_earlier_window_and_the_undo_moves_it_back(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(set_as_ready_required=True)
        code = await _accepted_in(market, shop, "09:00 - 12:00, Πέμ 26/11/26")
        planned = (await shop.show(code))["pickup_window"]
        assert (await shop.call("POST", f"/orders/{code}/set_as_ready", {})).json == {"success": True}
        ready = await shop.show(code)
        assert (ready["is_ready_for_dispatch"], ready["pickup_window"]) == (True, FIRST)
        assert (await shop.sent_updates(code))[-1] == ("accepted", {"is_ready_for_dispatch", "pickup_window"})
        assert (await shop.call("POST", f"/orders/{code}/set_as_not_ready")).json == {"success": True}
        undone = await shop.show(code)
        assert (undone["is_ready_for_dispatch"], undone["pickup_window"]) == (False, planned)
        assert (await shop.sent_updates(code))[-1] == ("accepted", {"is_ready_for_dispatch", "pickup_window"})


@pytest.mark.parametrize(("at", "moves"), [("20:59:59", True), ("21:00:00", False)])
async def test_the_earlier_window_is_given_only_before_9_pm(tmp_path: Path, at: str, moves: bool) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await _accepted_in(market, shop, "12:00 - 15:00, Τετ 25/11/26")
        planned = (await shop.show(code))["pickup_window"]
        await market.operate("POST", "/marketplace/clock", {"now": f"2026-11-24T{at}+02:00"})
        assert (await shop.call("POST", f"/orders/{code}/set_as_ready")).json == {"success": True}
        earlier = {"from": "2026-11-25T09:00:00+02:00", "to": "2026-11-25T12:00:00+02:00"}
        assert (await shop.show(code))["pickup_window"] == (earlier if moves else planned)
        names = {"is_ready_for_dispatch", "pickup_window"} if moves else {"is_ready_for_dispatch"}
        assert (await shop.sent_updates(code))[-1] == ("accepted", names)


async def test_the_undo_stays_in_the_earlier_window_when_the_first_has_begun(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await _accepted_in(market, shop, "09:00 - 12:00, Τετ 25/11/26")
        await shop.call("POST", f"/orders/{code}/set_as_ready")
        await market.operate("POST", "/marketplace/clock", {"now": "2026-11-25T09:00:00+02:00"})
        assert (await shop.call("POST", f"/orders/{code}/set_as_not_ready")).json == {"success": True}
        assert (await shop.show(code))["pickup_window"] == FIRST
        assert (await shop.sent_updates(code))[-1] == ("accepted", {"is_ready_for_dispatch"})


async def test_an_undo_does_not_move_a_rescheduled_pickup(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await _accepted_in(market, shop, "09:00 - 12:00, Πέμ 26/11/26")
        await shop.call("POST", f"/orders/{code}/set_as_ready")
        await shop.call("POST", f"/orders/{code}/reschedule_pickup", {"reschedule_date": "2026-11-25"})
        await shop.call("POST", f"/orders/{code}/set_as_not_ready")
        assert (await shop.show(code))["pickup_window"]["from"] == "2026-11-25T12:00:00+02:00"


async def test_the_courier_skips_unmarked_orders_of_an_enrolled_shop(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(set_as_ready_required=True)
        code = await shop.accepted()
        path = f"/marketplace/orders/{code}/hand_over"
        refused = await market.operate("POST", path, status=422)
        assert refused["errors"][0]["messages"] == ["Order is not ready for dispatch: the courier skips it."]
        await shop.call("POST", f"/orders/{code}/set_as_ready")
        assert (await market.operate("POST", path))["order"]["state"] == "dispatched"


@pytest.mark.parametrize("enrolled", [False, True])
async def test_downloading_the_voucher_marks_the_order_ready_unless_the_shop_is_enrolled(
    tmp_path: Path, enrolled: bool
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(set_as_ready_required=enrolled)
        code = await shop.accepted()
        before = await shop.sent_updates(code)
        url = (await shop.show(code))["courier_voucher"].removeprefix("http://market")
        for _ in range(2):
            assert (await market.call("GET", url)).body.startswith(b"%PDF")
        order = await shop.show(code)
        assert (order["set_as_ready_required"], order["is_ready_for_dispatch"]) == (enrolled, not enrolled)
        told = [] if enrolled else [("accepted", {"is_ready_for_dispatch"})]
        assert await shop.sent_updates(code) == before + told


async def test_a_preorder_waits_for_its_day_or_the_shops_request(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(listing={"preorder_ships_on": "2026-12-10"})
        waiting, asked = await shop.cart(A=1), await shop.cart(A=1, B=1)
        options = (await shop.show(waiting))["accept_options"]["pickup_window"]
        assert options[0]["label"] == "09:00 - 12:00, Πέμ 10/12/26"
        assert (await shop.show(waiting))["dispatch_until"] == "2026-12-15T10:00:00+02:00"
        for code in (waiting, asked):
            assert (await shop.accept(code)).json == {"success": True}
        await market.advance(86_400)
        assert (await shop.show(waiting))["courier_voucher"] is None
        assert (await shop.call("POST", f"/orders/{asked}/request_voucher", {})).json == {"success": True}
        await market.advance(2)
        order = await shop.show(asked)
        assert order["courier_voucher"]
        assert order["pickup_window"]["from"] == "2026-11-25T12:00:00+02:00"
        assert await shop.sent_updates(asked) == [
            ("accepted", {"state", "pickup_window", "number_of_parcels", "pickup_address"}),
            ("accepted", {"pickup_window"}),
            ("accepted", {"courier_voucher", "courier_tracking_codes"}),
        ]
        await market.operate("POST", "/marketplace/clock", {"now": "2026-12-09T23:59:59+02:00"})
        assert (await shop.show(waiting))["courier_voucher"] is None
        await market.advance(1)
        assert (await shop.show(waiting))["courier_voucher"]
        late = await shop.call("POST", f"/orders/{waiting}/request_voucher")
        assert late.json["errors"][0]["code"] == "order_error"


async def test_support_moves_a_pickup_to_any_window_on_offer(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        window = (await shop.show(await shop.cart(A=1)))["accept_options"]["pickup_window"][-1]
        code = await shop.accepted()
        path = f"/marketplace/orders/{code}/reschedule"
        answer = await market.operate("POST", path, {"pickup_window": window["id"]})
        assert answer["order"]["pickup_window"]["from"] == "2026-11-26T15:00:00+02:00"
        assert (await shop.sent_updates(code))[-1] == ("accepted", {"pickup_window"})
        refused = await market.operate("POST", path, {"pickup_window": 1}, status=422)
        assert str(window["id"]) in refused["errors"][0]["messages"][0]


async def test_a_relocation_before_the_voucher_yields_one_voucher(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(**TWO_PLACES)
        code = await shop.cart(A=1)
        await shop.accept(code)
        # Moved before the voucher was made: one voucher, of the new place.
        other = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]["relocate_options"][0]["id"]
        await shop.call("POST", f"/orders/{code}/relocate_pickup", {"pickup_location": other})
        await market.advance(5)
        assert [names for _, names in await shop.sent_updates(code)][1:] == [
            {"pickup_address"},
            {"courier_voucher", "courier_tracking_codes"},
        ]


async def test_a_preorder_is_never_moved_to_before_its_day(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(listing={"preorder_ships_on": "2026-12-10"}, **TWO_PLACES)
        code = await shop.accepted({"A": 1})
        planned = (await shop.show(code))["pickup_window"]
        assert planned["from"].startswith("2026-12-10")
        days, _ = await _options(shop, code)
        assert [day for day, _ in days] == ["2026-12-11", "2026-12-14"]
        answer = await shop.call("POST", f"/orders/{code}/reschedule_pickup", {"reschedule_date": "2026-11-25"})
        assert answer.json["errors"][0]["code"] == "reschedule_date"
        path = f"/marketplace/orders/{code}/reschedule"
        await market.operate("POST", path, {"pickup_window": 2611251}, status=422)
        assert (await shop.call("POST", f"/orders/{code}/set_as_ready")).json == {"success": True}
        assert (await shop.show(code))["pickup_window"] == planned


async def test_a_relocated_order_is_not_handed_over_before_its_new_voucher(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(**TWO_PLACES)
        code = await shop.accepted()
        old = (await shop.show(code))["courier_voucher"].removeprefix("http://market")
        other = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]["relocate_options"][0]["id"]
        await shop.call("POST", f"/orders/{code}/relocate_pickup", {"pickup_location": other})
        refused = await market.operate("POST", f"/marketplace/orders/{code}/hand_over", status=422)
        assert "its voucher is being made again" in refused["errors"][0]["messages"][0]
        for _ in range(2):
            # Before and after the new one is there, the old voucher makes nothing ready.
            assert (await market.call("GET", old)).status == 200
            assert (await shop.show(code))["is_ready_for_dispatch"] is False
            await market.advance(2)
        new = (await shop.show(code))["courier_voucher"].removeprefix("http://market")
        await market.call("GET", new)
        assert (await shop.show(code))["is_ready_for_dispatch"] is True
        await market.operate("POST", f"/marketplace/orders/{code}/hand_over")


async def test_a_head_request_for_a_voucher_does_not_mark_it_ready(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        url = (await shop.show(code))["courier_voucher"].removeprefix("http://market")
        assert (await market.call("HEAD", url)).status == 405
        assert (await shop.show(code))["is_ready_for_dispatch"] is False
