"""Actions on several selected orders: accept, mark as ready, vouchers, picking list, packing slips."""

import re
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from tests.market import CUSTOMER, hold_commits
from tests.panel.visitor import Page, Place, open_place
from tests.virtual.warehousing import stocked

pytestmark = pytest.mark.anyio

_PATHS = (
    *("/shop/bulk/accept", "/shop/bulk/ready", "/shop/vouchers.pdf"),
    *("/shop/vouchers-on-a4.pdf", "/shop/picking-list", "/shop/packing-slips"),
)


async def _send(place: Place, path: str, codes: list[str], **values: str) -> Page:
    listed = await place.merchant.get("/shop/orders")
    token = listed.form("/sign-out").values["form_token"]
    return await place.merchant.post(path, {"form_token": token, "order": codes, **values})


async def _states(place: Place, codes: list[str]) -> list[str]:
    return [(await place.shop.show(code))["state"] for code in codes]


def _bulk(page: Page) -> str | None:
    return next((given["data-succeeded"] for _, given in page.tags if "data-succeeded" in given), None)


async def test_selected_orders_are_accepted_in_the_first_window_or_a_chosen_one(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.cart(A=1) for _ in range(4)]
        options = (await place.shop.show(codes[0]))["accept_options"]["pickup_window"]
        page = await _send(place, "/shop/bulk/accept", codes[:3])
        assert (page.status, _bulk(page)) == (200, "3")
        assert "3 orders are accepted." in page.text
        first = [(await place.shop.show(code))["pickup_window"] for code in codes[:3]]
        page = await _send(place, "/shop/bulk/accept", codes[3:], window=str(options[2]["id"]))
        chosen = (await place.shop.show(codes[3]))["pickup_window"]
        assert all(window == first[0] for window in first)
        assert chosen["from"] > first[0]["from"]
        assert await _states(place, codes) == ["accepted"] * 4
        # Each of them gets its voucher.
        await place.market.advance(5)
        assert all([(await place.shop.show(code))["courier_voucher"] for code in codes])


async def test_an_order_that_is_refused_does_not_stop_the_others_and_is_named(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.cart(A=1) for _ in range(3)]
        await place.shop.call("POST", f"/orders/{codes[1]}/reject", {"rejection_reason_other": "Κλειστά"})
        page = await _send(place, "/shop/bulk/accept", [*codes, "260101-0000000"])
        assert _bulk(page) == "2"
        assert "2 orders are accepted. 2 orders are unchanged:" in page.text
        assert page.refusals == ["OrderAlready", "UnknownOrder"]
        assert await _states(place, codes) == ["accepted", "rejected", "accepted"]
        wrong = await _send(place, "/shop/bulk/accept", [await place.shop.cart(A=1)], window="1")
        assert (_bulk(wrong), wrong.refusals) == ("0", ["NotOnOffer"])


async def test_the_list_after_an_action_is_the_one_that_was_chosen_from(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        other = await place.shop.accepted()
        page = await _send(place, "/shop/bulk/accept?state=accepted", [code])
        links = {link.rpartition("/")[2] for link in page.links if link.startswith("/shop/orders/2")}
        assert links == {code, other}
        [body] = [given for tag, given in page.tags if tag == "body"]
        assert body["data-page"] == "/shop/orders", "a reload must not send the form again"


async def test_selected_orders_are_marked_as_ready(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.accepted() for _ in range(2)]
        open_order = await place.shop.cart(A=1)
        page = await _send(place, "/shop/bulk/ready", [*codes, open_order])
        assert "2 orders are ready for the courier. 1 order is unchanged:" in page.text
        assert [(await place.shop.show(code))["is_ready_for_dispatch"] for code in codes] == [True, True]


@pytest.mark.parametrize("path", _PATHS)
async def test_nothing_happens_to_no_order_too_many_orders_or_another_shops_order(tmp_path: Path, path: str) -> None:
    async with open_place(tmp_path) as place:
        other = await place.market.shop(url=None)
        theirs = await other.cart(A=1)
        nothing = await _send(place, path, [])
        assert (nothing.status, nothing.refusals) == (422, ["NoOrdersChosen"])
        many = await _send(place, path, [f"260101-{number:07}" for number in range(101)])
        assert (many.status, many.refusals) == (422, ["TooManyOrdersChosen"])
        page = await _send(place, path, [theirs])
        assert page.refusals == ["UnknownOrder"]
        assert (await other.show(theirs))["state"] == "open"


async def test_four_labels_fit_on_an_a4_page_in_their_own_size(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.accepted() for _ in range(5)]
        page = await _send(place, "/shop/vouchers-on-a4.pdf", codes)
        assert page.headers["content-type"] == "application/pdf"
        with pypdfium2.PdfDocument(page.answer.body) as document:
            sizes = [sheet.get_size() for sheet in document]
            texts = [sheet.get_textpage().get_text_range() for sheet in document]
        assert [(round(width), round(height)) for width, height in sizes] == [(595, 842)] * 2
        assert [sum(code in text for code in codes) for text in texts] == [4, 1]
        assert codes[4] in texts[1]


async def test_every_order_without_a_voucher_is_named(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.cart(A=1) for _ in range(2)]
        page = await _send(place, "/shop/vouchers.pdf", [await place.shop.accepted(), *codes])
        assert (page.status, page.refusals) == (422, ["OrderWithoutVoucher"] * 2)
        assert all(f"Order {code} has no voucher." in page.text for code in codes)


async def test_the_picking_list_adds_up_the_pieces_of_each_product_by_location(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.accepted({"A": 2}), await place.shop.accepted({"A": 1, "B": 3})]
        page = await _send(place, "/shop/picking-list", [*codes, await place.shop.cart(B=1)])
        assert f"□ 3 Προϊόν A A {codes[0]} × 2, {codes[1]}" in page.text
        assert f"□ 3 Προϊόν B B {codes[1]} × 3" in page.text
        location = (await place.shop.show(codes[0]))["pickup_address"]
        assert f"{location} 6 pieces" in page.text
        assert "Not accepted yet 1 piece" in page.text


async def test_a_packing_slip_has_the_items_of_an_order_and_no_prices(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        facts: dict[str, Any] = {"gift_wrap": True, "comments": "Δεύτερο κουδούνι"}
        code = await place.shop.accepted({"A": 2, "B": 1}, **facts)
        page = await _send(place, "/shop/packing-slips", [code])
        for text in (f"Order {code}", CUSTOMER["last_name"], "□ 2 Προϊόν A A", "□ 1 Προϊόν B B", "Δεύτερο κουδούνι"):
            assert text in page.text, text
        assert "Gift wrap Yes" in page.text
        assert "€" not in page.text


async def test_preorders_are_accepted_in_the_first_window_of_their_day(tmp_path: Path) -> None:
    async with open_place(tmp_path, listing={"preorder_ships_on": "2026-12-10"}) as place:
        codes = [await place.shop.cart(A=1) for _ in range(2)]
        page = await _send(place, "/shop/bulk/accept", codes)
        assert (_bulk(page), page.refusals) == ("2", [])
        assert (await place.shop.show(codes[0]))["pickup_window"]["from"] >= "2026-12-10"


async def test_a_picking_list_leaves_out_orders_that_the_shop_does_not_send(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        ended, kept = await place.shop.cart(A=5), await place.shop.cart(A=1)
        await place.shop.call("POST", f"/orders/{ended}/reject", {"rejection_reason_other": "Κλειστά"})
        page = await _send(place, "/shop/picking-list", [ended, kept])
        assert f"□ 1 Προϊόν A A {kept}" in page.text
        assert f"Left out, because the shop does not send them: {ended}" in page.text


@pytest.mark.parametrize("path", ["/shop/picking-list", "/shop/packing-slips"])
async def test_a_printed_list_has_a_limit(tmp_path: Path, path: str) -> None:
    async with open_place(tmp_path) as place:
        uids = [f"L{number}" for number in range(400)]
        listings = [{"shop_uid": uid, "product_name": uid, "unit_price": 1, "quantity": 50} for uid in uids]
        await place.market.operate("PUT", f"/marketplace/shops/{place.shop.id}/listings", listings)
        codes = [await place.shop.place(dict.fromkeys(uids, 1)) for _ in range(8)]
        assert (await _send(place, path, codes[:7])).status == 200
        assert (await _send(place, path, codes)).refusals == ["TooManyLinesToPrint"]


async def test_a_database_that_cannot_write_is_named_for_each_order(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.cart(A=1) for _ in range(2)]
        listed = await place.merchant.get("/shop/orders")
        values: dict[str, str | list[str]] = {
            "form_token": listed.form("/sign-out").values["form_token"],
            "order": codes,
        }
        with hold_commits(tmp_path):
            page = await place.merchant.post("/shop/bulk/accept", values)
        assert (page.status, _bulk(page), page.refusals) == (200, "0", ["DatabaseAway"] * 2)
        assert await _states(place, codes) == ["open"] * 2


async def test_a_picking_list_leaves_out_orders_that_the_marketplaces_warehouse_sends(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        own = await place.shop.accepted({"B": 1})
        await stocked(place.shop, A=2)
        sent_by_warehouse = await place.shop.cart(A=1)
        shown = await place.shop.show(sent_by_warehouse)
        assert (shown["state"], shown["fulfilled_by_skroutz"]) == ("accepted", True)
        page = await _send(place, "/shop/picking-list", [own, sent_by_warehouse])
        assert f"Left out, because the shop does not send them: {sent_by_warehouse}" in " ".join(page.text.split())
        [table] = re.findall(r"<table.*?</table>", page.html, re.DOTALL)
        assert own in table
        assert sent_by_warehouse not in table
