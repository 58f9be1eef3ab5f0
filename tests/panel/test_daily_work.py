"""A shop's daily work: the next step of an order, confirmations, notes, saved views, and related orders."""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from kalathi.marketplace.kernel.clock import ATHENS
from kalathi.marketplace.orders.search.listing import Sort
from kalathi.marketplace.panel.shop.order_filter import read_filter
from tests.market import CUSTOMER
from tests.panel.visitor import Page, Visitor, open_place

pytestmark = pytest.mark.anyio


def _codes(page: Page) -> set[str]:
    return {link.rpartition("/")[2] for link in page.links if link.startswith("/shop/orders/2")}


async def test_a_page_names_the_next_step_of_the_order(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        path = f"/shop/orders/{code}"
        page = await place.merchant.get(path)
        assert "Next: accept or reject it." in page.text
        assert {"#accept", "#reject"} <= set(page.links)
        await place.merchant.submit(page, f"{path}/accept")
        assert "The voucher is on its way." in (await place.merchant.get(path)).text
        await place.market.advance(2)
        page = await place.merchant.get(path)
        assert "Next: print the voucher" in page.text
        await place.merchant.submit(page, f"{path}/set_as_ready")
        page = await place.merchant.get(path)
        assert "The parcel is ready. The courier collects it." in page.text
        assert "Next:" not in page.text
        pickup = await place.shop.accepted(store_pickup=True)
        assert "collects the order from the store" in (await place.merchant.get(f"/shop/orders/{pickup}")).text


async def test_an_order_that_the_shop_sends_needs_its_tracking_code_next(tmp_path: Path) -> None:
    async with open_place(tmp_path, fulfillment_mode="fbm") as place:
        code = await place.shop.accepted()
        page = await place.merchant.get(f"/shop/orders/{code}")
        assert "Next: send the parcel and enter its tracking code." in page.text
        values = {"tracking_details[0][courier]": "acs", "tracking_details[0][tracking_code]": "123"}
        await place.merchant.submit(page, f"/shop/orders/{code}/tracking_details", values)
        assert "Next:" not in (await place.merchant.get(f"/shop/orders/{code}")).text


async def test_pieces_beside_in_stock_are_limited_stock(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=3, B=1)
        page = await place.merchant.get(f"/shop/orders/{code}")
        path = f"/shop/orders/{code}/reject"
        await place.merchant.submit(page, path, {"line_items[0][available_quantity]": "2"})
        rejected = await place.shop.show(code)
        assert rejected["state"] == "rejected"
        assert [line.get("rejection_reason") for line in rejected["line_items"]] == ["limited_stock", None]
        page = await place.merchant.get(f"/shop/orders/{code}")
        successor = (await place.market.operate("GET", f"/marketplace/orders/{code}"))["rejection"]["successor"]
        assert f"Rejected by: The shop. The rest became {successor}" in page.text
        assert "2 / 3" in page.text
        following = await place.merchant.get(f"/shop/orders/{successor}")
        assert f"/shop/orders/{code}" in following.links


async def test_nothing_final_happens_without_a_tick(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=2)
        delivered = await place.shop.accepted({"A": 1})
        for operation in ("hand_over", "deliver"):
            await place.market.operate("POST", f"/marketplace/orders/{delivered}/{operation}", {})
        line = (await place.shop.show(delivered))["line_items"][0]["id"]
        wanted = {"line_items": [{"id": line, "quantity": 1, "reason": "faulty", "comment": "Δεν ανάβει"}]}
        returned = await place.market.operate("POST", f"/marketplace/orders/{delivered}/returns", wanted, status=201)
        code_of_return = returned["return"]["return_code"]
        for visitor, page_path, form, values in (
            (place.merchant, f"/shop/orders/{code}", "reject", {"line_items[0][reason_id]": "1"}),
            (place.merchant, f"/shop/returns/{code_of_return}", "review", {"option": "approve"}),
            (place.operator, f"/operator/orders/{code}", "cancel", {}),
            (place.operator, f"/operator/orders/{code}", "reject", {"reason": "Απάτη"}),
            (place.operator, f"/operator/returns/{code_of_return}", "cancel", {}),
        ):
            page = await visitor.get(page_path)
            found = page.form(f"{page_path}/{form}")
            assert found.required == {"confirmed": "1"}, form
            refused = await visitor.post(f"{page_path}/{form}", {**found.values, **values})
            assert (refused.status, refused.refusals) == (422, ["NotConfirmed"]), form
        assert (await place.shop.show(code))["state"] == "open"
        shown = await place.market.operate("GET", f"/marketplace/returns/{code_of_return}")
        assert shown["return"]["state"] == "pending_merchant_review"


async def test_notes_are_seen_by_the_shop_only(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        path = f"/shop/orders/{code}"
        page = await place.merchant.get(path)
        done = await place.merchant.submit(page, f"{path}/note", {"new_note": "Να καλέσουμε <b>τον πελάτη</b>"})
        assert done.done == "note"
        await place.merchant.submit(page, f"{path}/note", {"new_note": "Κάλεσα"})
        page = await place.merchant.get(path)
        assert page.text.index("Να καλέσουμε <b>τον πελάτη</b>") < page.text.index("Κάλεσα")
        assert "Κάλεσα" not in (await place.operator.get(f"/operator/orders/{code}")).text
        assert "Κάλεσα" not in str(await place.shop.show(code))
        for wrong in ("", " ", "x" * 2001):
            refused = await place.merchant.submit(page, f"{path}/note", {"new_note": wrong})
            assert refused.refusals == ["NoNote"]
        other = await place.market.shop(url=None)
        theirs = await other.cart(A=1)
        values = {**page.form(f"{path}/note").values, "new_note": "x"}
        assert (await place.merchant.post(f"/shop/orders/{theirs}/note", values)).status == 404


async def test_a_saved_view_opens_its_filter(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await place.shop.cart(A=1)
        express = await place.shop.place({"A": 1}, express=True)
        plain = await place.merchant.get("/shop/orders")
        assert not [form for form in plain.forms if form.action.startswith("/shop/views")]
        query = "?kind=express&q=" + quote("Προϊόν")
        page = await place.merchant.get(f"/shop/orders{query}")
        [action] = [form.action for form in page.forms if form.action.startswith("/shop/views?")]
        done = await place.merchant.submit(page, action, {"view_name": "Express & more"})
        assert (done.done, _codes(done)) == ("view", {express})
        plain = await place.merchant.get("/shop/orders")
        [link] = [link for link in plain.links if "kind=express" in link]
        assert _codes(await place.merchant.get(link)) == {express}
        # The same name replaces it; a name is needed; there are at most twenty.
        page = await place.merchant.get("/shop/orders?state=open")
        await place.merchant.submit(page, "/shop/views?state=open", {"view_name": "Express & more"})
        plain = await place.merchant.get("/shop/orders")
        assert not [link for link in plain.links if "kind=express" in link]
        refused = await place.merchant.submit(page, "/shop/views?state=open", {"view_name": " "})
        assert refused.refusals == ["NoViewName"]
        for number in range(19):
            await place.merchant.submit(page, "/shop/views?state=open", {"view_name": f"View {number}"})
        refused = await place.merchant.submit(page, "/shop/views?state=open", {"view_name": "One more"})
        assert refused.refusals == ["TooManyViews"]
        # Another shop has views of its own.
        other = await place.market.shop(url=None)
        theirs = Visitor(place.market)
        await theirs.sign_in(other.token)
        assert "View 1" not in (await theirs.get("/shop/orders")).text
        done = await place.merchant.submit(plain, "/shop/views/remove")
        assert done.done == "view_removed"
        assert "Express & more" not in done.text


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"state": "open"},
        {"q": "γιώργος & co", "state": "accepted", "from": "2026-11-01", "to": "2026-11-30"},
        {"courier": "Skroutz Last Mile", "kind": "invoice", "overdue": "1", "sort": "total"},
    ],
)
def test_a_filter_reads_its_own_query(query: dict[str, str]) -> None:
    wanted = read_filter(query)
    assert read_filter(dict(parse_qsl(wanted.query))) == wanted


async def test_an_operators_order_names_the_other_orders_of_its_cart(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = await place.market.shop(url=None)
        items = [{"shop_id": shop.id, "shop_uid": "A", "quantity": 3} for shop in (place.shop, other)]
        cart: dict[str, Any] = {"customer": CUSTOMER, "items": items, "payment_method": "card"}
        placed = await place.market.operate("POST", "/marketplace/carts", cart, status=201)
        first, second = [order["code"] for order in placed["orders"]]
        alone = await place.shop.cart(A=1)
        page = await place.operator.get(f"/operator/orders/{first}")
        assert f"/operator/orders/{second}" in page.links
        line = (await place.shop.show(first))["line_items"][0]["id"]
        body = {"line_items": [{"id": line, "reason_id": 4, "available_quantity": 1}]}
        await place.shop.call("POST", f"/orders/{first}/reject", body)
        rest = (await place.market.operate("GET", f"/marketplace/orders/{first}"))["rejection"]["successor"]
        page = await place.operator.get(f"/operator/orders/{second}")
        assert {f"/operator/orders/{code}" for code in (first, rest)} <= set(page.links)
        assert "Other orders of the cart" not in (await place.operator.get(f"/operator/orders/{alone}")).text


@pytest.mark.parametrize(
    ("query", "sort"),
    [({}, Sort.CHANGE), ({"state": "open"}, Sort.DEADLINE), ({"state": "open", "sort": "total"}, Sort.TOTAL)],
)
def test_open_orders_are_sorted_by_their_deadline(query: dict[str, str], sort: Sort) -> None:
    assert read_filter(query).sort is sort


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        ("2026-11-24", "2026-11-24", 24),
        ("2026-12-31", "2026-12-31", 24),
        # The clocks in Athens are changed on these days.
        ("2026-03-29", "2026-03-29", 23),
        ("2026-10-25", "2026-10-25", 25),
        ("2026-11-24", "2026-11-26", 72),
    ],
)
def test_both_days_of_a_filter_are_included(first: str, last: str, hours: int) -> None:
    span = read_filter({"from": first, "to": last}).read_for("shop").span
    assert span is not None
    assert span.until_millis - span.since_millis == hours * 3_600_000
    begin = datetime.fromisoformat(first).replace(tzinfo=ATHENS)
    assert span.since_millis == int(begin.timestamp()) * 1000


async def test_every_filter_of_the_page_limits_the_list(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        old = await place.shop.accepted()
        await place.market.operate("POST", f"/marketplace/orders/{old}/change_courier", {"courier": "ACS"})
        await place.market.advance(6 * 86_400)
        new = await place.shop.cart(A=1)
        express = await place.shop.place({"A": 1}, express=True)
        today = (await place.shop.show(new))["created_at"][:10]
        for query, codes in (
            (f"from={today}", {new, express}),
            (f"to={today}", {old, new, express}),
            (f"to={today}&from={today}", {new, express}),
            ("to=2026-11-24", {old}),
            ("courier=ACS", {old}),
            ("kind=express", {express}),
            ("overdue=1", {old}),
            ("kind=invoice", set()),
        ):
            page = await place.merchant.get(f"/shop/orders?{query}")
            assert _codes(page) == codes, query
            assert f"All {len(codes)} " in page.text, query
        for wrong in ("from=x", "to=2026-13-01", "courier=x", "kind=x", "sort=x", "page=x"):
            assert (await place.merchant.get(f"/shop/orders?{wrong}")).status == 422, wrong


async def test_a_part_of_a_code_is_found_with_the_state_only(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        part = code[-4:]
        page = await place.merchant.get(f"/shop/orders?q={part}")
        assert (_codes(page), "All 1 " in page.text) == ({code}, True)
        for more in ("state=accepted", "courier=ACS", "kind=express", "overdue=1", "from=2030-01-01"):
            assert not _codes(await place.merchant.get(f"/shop/orders?q={part}&{more}")), more
        exported = (await place.merchant.get(f"/shop/orders.csv?q={part}")).answer.body.decode()
        assert code in exported


async def test_an_outdated_voucher_is_not_printed(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        await place.market.operate("POST", f"/marketplace/orders/{code}/change_parcels", {"number_of_parcels": 2})
        assert "The voucher is on its way." in (await place.merchant.get(f"/shop/orders/{code}")).text
        await place.market.advance(5)
        assert "Next: print the voucher" in (await place.merchant.get(f"/shop/orders/{code}")).text


async def test_a_preorder_waits_for_its_voucher_to_be_requested(tmp_path: Path) -> None:
    async with open_place(tmp_path, listing={"preorder_ships_on": "2026-12-10"}) as place:
        code = await place.shop.accepted()
        assert "Next: request the voucher" in (await place.merchant.get(f"/shop/orders/{code}")).text
