"""The operator's pages: shops, carts, what customers and couriers do, the delivery log, the sandbox's console."""

import json
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest

from kalathi.marketplace.orders.operations import OPERATIONS
from kalathi.marketplace.panel.operator.console import SWITCHES
from kalathi.marketplace.sandbox.scenario import scenarios
from tests.market import LOCATION
from tests.panel.visitor import Page, Place, open_place

pytestmark = pytest.mark.anyio


def _listed(page: Page, room: str) -> list[str]:
    return [link.rpartition("/")[2] for link in page.links if link.startswith(f"/operator/{room}/")]


async def test_a_shop_a_listing_and_a_cart_are_created_by_forms(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        context = place.operator
        page = await context.get("/operator/shops")
        values = {"name": "Νέο", "domain": "new.example", "webhook_url": "http://new/", **LOCATION}
        refused = await context.submit(page, "/operator/shops", {**values, "webhook_url": "ftp://x"})
        assert (refused.status, refused.form("/operator/shops").values["name"]) == (422, "Νέο")
        shown = await context.submit(page, "/operator/shops", values)
        [token] = [word for word in shown.text.split() if len(word) == 86]
        [shop_id] = _listed(shown, "shops")
        place.shop.id, place.shop.token = shop_id, token
        assert (await place.shop.call("GET", "/orders")).status == 200

        page = await context.get(f"/operator/shops/{shop_id}")
        path = f"/operator/shops/{shop_id}/listings"
        listing = {"shop_uid": "X", "product_name": "Λάμπα", "unit_price": "12,5", "quantity": "3"}
        page = await context.submit(page, path, {**listing, "commission_rate": "8.34"})
        assert "€12.50" in page.text
        page = await context.submit(page, path, {**listing, "unit_price": "13"})
        assert "€13.00" in page.text
        assert (await context.submit(page, path, {**listing, "unit_price": "abc"})).status == 422

        cart = await context.get(f"/operator/cart?shop={shop_id}")
        assert (await context.submit(cart, "/operator/cart")).status == 422
        too_many = await context.submit(cart, "/operator/cart", {"items[0][quantity]": "9"})
        assert (too_many.status, too_many.form("/operator/cart").values["items[0][quantity]"]) == (422, "9")
        company = {"company": "ΑΒΓ", "profession": "Εμπόριο", "vat_number": "012345678", "doy": "Α Αθηνών"}
        values = {"items[0][quantity]": "2", "payment_method": "cash_on_delivery", "gift_wrap": "1", **company}
        placed = await context.submit(cart, "/operator/cart", values)
        code = placed.path.partition("?")[0].rpartition("/")[2]
        order = await place.shop.show(code)
        assert (order["line_items"][0]["quantity"], order["paid_by_user"], order["gift_wrap"]) == (2, False, True)
        assert order["invoice_details"]["company"] == "ΑΒΓ"
        await place.market.settle()
        assert place.network.events("http://new/") == [("new_order", "open")]


async def test_a_shop_is_changed_and_gets_new_secrets(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        path = f"/operator/shops/{place.shop.id}"
        page = await place.operator.get(path)
        values = {"name": "Άλλο", "courier": "ACS", "fulfillment_mode": "fbm", "webhook_url": "http://shop/2"}
        page = await place.operator.submit(page, path, values)
        shop = (await place.market.operate("GET", f"/marketplace/shops/{place.shop.id}"))["shop"]
        assert {name: shop[name] for name in values} == values
        shown = await place.operator.submit(page, f"{path}/api_token")
        assert (await place.shop.call("GET", "/orders")).status == 401
        [place.shop.token] = [word for word in shown.text.split() if len(word) == 86]
        assert (await place.shop.call("GET", "/orders")).status == 200
        assert (await place.merchant.get("/shop/orders")).path.startswith("/sign-in")
        shown = await place.operator.submit(page, f"{path}/signing_secret")
        assert "whsec_" in shown.text
        page = await place.operator.get(path)
        await place.operator.submit(page, f"{path}/signing_secret/end")
        await place.operator.submit(page, f"{path}/locations", {**LOCATION, "street_name": "Αιόλου"})
        assert "Αιόλου" in (await place.operator.get(path)).text


async def test_every_operation_of_the_table_has_its_form_in_the_states_that_allow_it(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        seen: set[str] = set()

        async def forms(code: str) -> tuple[Page, set[str]]:
            page = await place.operator.get(f"/operator/orders/{code}")
            there = {form.action.rpartition("/")[2] for form in page.forms if code in form.action} - {"webhook"}
            seen.update(there)
            return page, there

        code = await place.shop.cart(A=2)
        page, there = await forms(code)
        assert there == {"cancel", "extend", "reject"}
        base = f"/operator/orders/{code}"
        before = (await place.shop.show(code))["expires_at"]
        await place.operator.submit(page, f"{base}/extend", {"hours": "5"})
        assert (await place.shop.show(code))["expires_at"] > before
        await place.shop.accept(code)
        await place.market.advance(2)
        page, there = await forms(code)
        assert there == {"cancel", "change_courier", "change_parcels", "hand_over", "miss_pickup", "reschedule"}
        window = page.form(f"{base}/reschedule").choices["pickup_window"][-1]
        await place.operator.submit(page, f"{base}/reschedule", {"pickup_window": window})
        await place.operator.submit(page, f"{base}/hand_over")
        page, there = await forms(code)
        assert there == {"cancel", "deliver", "fail_delivery"}
        await place.operator.submit(page, f"{base}/deliver", {"line_items[0][quantity]": "1"})
        assert (await place.shop.show(code))["state"] == "partially_delivered"
        page, there = await forms(code)
        assert there == {"replace", "return"}
        replaced = await place.operator.submit(page, f"{base}/replace")
        assert "Replaced by" in replaced.text
        line = {"line_items[0][quantity]": "1", "line_items[0][reason]": "faulty", "line_items[0][comment]": "Κακό"}
        assert (await place.operator.submit(page, f"{base}/return")).status == 422
        asked = await place.operator.submit(page, f"{base}/return", line)
        assert "Κακό" in asked.text
        pickup = await place.shop.place({"A": 1}, store_pickup=True)
        await place.shop.accept(pickup)
        page, there = await forms(pickup)
        await place.operator.submit(page, f"/operator/orders/{pickup}/collect")
        assert (await place.shop.show(pickup))["state"] == "delivered"
        for lost, word in ((await place.shop.accepted(), "cancel"), (await place.shop.accepted(), "fail_delivery")):
            path = f"/operator/orders/{lost}"
            page, _ = await forms(lost)
            for name, values in (
                ("change_parcels", {"number_of_parcels": "2"}),
                ("change_courier", {"courier": "ACS"}),
                ("miss_pickup", {}),
            ):
                page = await place.operator.submit(page, f"{path}/{name}", values)
            shown = await place.shop.show(lost)
            assert (shown["number_of_parcels"], shown["courier"]) == (2, "ACS")
            await place.market.advance(5)
            for name in ("hand_over", word):
                page = await place.operator.submit(page, f"{path}/{name}")
            page, there = await forms(lost)
            assert there == {"bring_back"}
            page = await place.operator.submit(page, f"{path}/bring_back")
            assert "The parcel is back at the shop" in page.text
            assert (await forms(lost))[1] == set()
        other = await place.shop.cart(A=1)
        page, _ = await forms(other)
        await place.operator.submit(page, f"/operator/orders/{other}/reject", {"reason": "Απάτη"})
        assert (await place.shop.show(other))["rejection_info"]["actor"] == "skroutz"
        late = await place.operator.submit(page, f"/operator/orders/{other}/cancel")
        assert (late.status, late.refusals) == (422, ["OrderAlready"])
        assert seen == {*OPERATIONS, "return"}


async def test_a_return_is_processed_by_forms(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for ending, state in (("take_back", "returned"), ("turn_down", "rejected"), ("inspected", "returned")):
            code = await place.shop.accepted()
            for step in ("hand_over", "deliver"):
                await place.market.operate("POST", f"/marketplace/orders/{code}/{step}")
            page = await place.operator.get(f"/operator/orders/{code}")
            line = {"line_items[0][quantity]": "1", "line_items[0][reason]": "withdrawal"}
            page = await place.operator.submit(page, f"/operator/orders/{code}/return", line)
            base = page.path.partition("?")[0]
            page = await place.operator.submit(page, f"{base}/hand_over", {"tracking_id": "T-1"})
            assert "T-1" in page.text
            page = await place.operator.submit(page, f"{base}/reassign", {"courier": "Speedex"})
            page = await place.operator.submit(page, f"{base}/arrive")
            if ending == "take_back":
                page = await place.operator.submit(page, f"{base}/take_back")
            else:
                token = page.form(f"{base}/inspect").values["form_token"]
                accepted = "true" if ending == "inspected" else "false"
                unconfirmed = await place.operator.post(f"{base}/inspect", {"form_token": token, "accepted": accepted})
                assert unconfirmed.refusals == ["NotConfirmed"]
                page = await place.operator.post(
                    f"{base}/inspect", {"form_token": token, "accepted": accepted, "confirmed": "1"}
                )
            shown = await place.market.operate("GET", f"/marketplace/returns/{base.rpartition('/')[2]}")
            assert shown["return"]["state"] == state
        listed = await place.operator.get("/operator/returns?state=returned")
        assert len(_listed(listed, "returns")) == 2


async def test_the_log_shows_body_answer_and_changes_of_a_webhook(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        place.network.statuses["http://shop/"] += [500]
        code = await place.shop.accepted({"A": 1}, comments="It's <b>here</b>")
        await place.market.advance(120)
        page = await place.operator.get(f"/operator/deliveries?subject={code}")
        names = _listed(page, "deliveries")
        assert len(names) == 3
        first = await place.operator.get(f"/operator/deliveries/{names[-1]}")
        assert "status 500" in first.text
        assert "answer" in first.text
        assert "What changed since the last webhook" not in first.text
        last = await place.operator.get(f"/operator/deliveries/{names[0]}")
        differences = last.text.partition("What changed since the last webhook")[2].partition("Body")[0]
        assert "order.courier_voucher" in differences
        assert "order.customer" not in differences
        # The command is one that a shell takes, and sends the very bytes.
        [command] = [part for part in last.html.split("<pre") if part.startswith(' id="command"')]
        # A shell takes a backslash at the end of a line away; shlex leaves the line's end.
        words = shlex.split(_plain(command.partition(">")[2].partition("</pre>")[0]).replace("\\\n", ""))
        assert words[:5] == ["curl", "-i", "-X", "POST", "http://shop/"]
        told = words[-1].encode()
        assert told in place.network.bodies
        assert "User-Agent: Skroutz OrderNotifier v1" in words

        sent = len(place.network.posts)
        again = await place.operator.submit(last, f"/operator/deliveries/{names[0]}/resend")
        assert again.done == "resent"
        await place.market.settle()
        assert place.network.bodies[sent:] == [told]
        for query, count in (
            ("state=delivered", 3),
            ("state=pending", 0),
            ("event_type=new_order", 1),
            ("shop_id=nobody", 0),
            ("since=2026-11-24T09:00:00%2B02:00", 3),
            ("since=2026-11-25T09:00:00%2B02:00", 0),
        ):
            assert len(_listed(await place.operator.get(f"/operator/deliveries?{query}"), "deliveries")) == count, query
        for query in ("state=x", "since=yesterday"):
            assert (await place.operator.get(f"/operator/deliveries?{query}")).status == 422


def _plain(text: str) -> str:
    for name, character in (("&#39;", "'"), ("&#34;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(name, character)
    return text


async def test_the_overview_counts_and_names_the_oldest_event_that_is_not_delivered(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        place.network.statuses["http://shop/"] += [500]
        code = await place.shop.cart(A=1)
        await place.market.settle()
        await place.shop.accepted()
        page = await place.operator.get("/")
        for words in ("1 open", "1 accepted", "0 rejected", "1 pending", "3 delivered", "1 shop"):
            assert words in page.text, words
        assert f"/operator/deliveries/{place.shop.id}.{code}.1" in page.links
        assert "1 attempt" in page.text
        await place.market.advance(120)
        assert "All webhooks are delivered." in (await place.operator.get("/")).text
        place.network.statuses["http://shop/"] += [500] * 20
        given_up = await place.shop.cart(A=1)
        await place.market.advance(86_400)
        page = await place.operator.get("/")
        assert "Oldest failed webhook:" in page.text
        assert f"/operator/deliveries/{place.shop.id}.{given_up}.1" in page.links


async def test_the_clock_is_moved_and_coming_events_are_listed(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        # More than the page shows, and all of them before what is due next.
        answered, *_ = [await place.shop.accepted() for _ in range(25)]
        await place.market.settle()
        page = await place.operator.get("/operator/sandbox")
        # What was answered in time does not expire, whatever is still planned for it.
        assert answered not in page.text
        assert "24 Nov 2026, 10:00" in page.text
        assert "The order expires unless it is answered" in page.text
        path = "/operator/sandbox/clock"
        page = await place.operator.submit(page, path, {"step": "hour"})
        assert "24 Nov 2026, 11:00" in page.text
        page = await place.operator.submit(page, path, {"step": "next"})
        assert (await place.shop.show(code))["state"] == "expired"
        assert "25 Nov 2026, 10:00" in page.text
        page = await place.operator.submit(page, path, {"step": "day"})
        assert "26 Nov 2026, 10:00" in page.text
        assert "Nothing is due." in page.text
        nothing = await place.operator.submit(page, path, {"step": "next"})
        assert nothing.status == 422
        assert (await place.operator.submit(page, path, {"step": "back"})).status == 422


async def test_faults_are_switches_and_leave_other_rules_alone(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = {"on": "webhooks", "kind": "error", "call": "new_order", "status": 599}
        await place.market.operate("PUT", "/marketplace/faults", {"seed": 7, "rules": [other]})
        page = await place.operator.get("/operator/sandbox")
        path = "/operator/sandbox/faults"
        assert set(SWITCHES) <= set(page.form(path).choices)
        page = await place.operator.submit(page, path, dict.fromkeys(SWITCHES, "1"))
        faults = await place.market.operate("GET", "/marketplace/faults")
        rules = [rule for switch in SWITCHES.values() for rule in switch.rules]
        assert (faults["seed"], len(faults["rules"]), faults["rough"]) == (7, 1 + len(rules), False)
        assert page.form(path).values.keys() >= set(SWITCHES)
        assert "Faults are on. Seed: 7" in page.text
        values = {"form_token": page.form(path).values["form_token"]}
        await place.operator.post(path, values)
        assert len((await place.market.operate("GET", "/marketplace/faults"))["rules"]) == 1
        await place.operator.post(path, {**values, "end_others": "1"})
        assert (await place.market.operate("GET", "/marketplace/faults"))["rules"] == []


async def test_a_fault_has_the_share_of_its_field(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        path = "/operator/sandbox/faults"
        page = await place.operator.get("/operator/sandbox")
        assert page.form(path).values["share_webhooks_lost"] == "33"
        page = await place.operator.submit(page, path, {"webhooks_lost": "1", "share_webhooks_lost": "7"})
        [rule] = (await place.market.operate("GET", "/marketplace/faults"))["rules"]
        assert (rule["kind"], rule["probability"]) == ("drop", 0.07)
        # The page shows the share that is in force, and a second one replaces it.
        assert page.form(path).values["share_webhooks_lost"] == "7"
        assert "webhooks_lost" in page.form(path).values
        assert "Other rules" not in page.text
        await place.operator.submit(page, path, {"share_webhooks_lost": "100"})
        [rule] = (await place.market.operate("GET", "/marketplace/faults"))["rules"]
        assert rule.get("probability", 1) == 1
        for wrong in ("0", "101", "-1", "x", "1e3", "٣"):
            refused = await place.operator.submit(page, path, {"webhooks_lost": "1", "share_webhooks_lost": wrong})
            assert refused.refusals == ["NoShare"], wrong


async def test_scenarios_are_searched_in_both_languages(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        path = "/operator/sandbox/scenario"
        page = await place.operator.get("/operator/sandbox?q=limited%20sto")
        assert {name for _, name in page.form(f"{path}?q=limited+sto").buttons} >= {"limited_stock"}
        greek = await place.operator.get(f"/operator/sandbox?language=el&q={quote('επιστροφη')}")
        found = {name for form in greek.forms for kind, name in form.buttons if kind == "scenario"}
        assert {name for name in found if name.startswith("return")}
        assert "limited_stock" not in found
        assert "No scenario has these words" in (await place.operator.get("/operator/sandbox?q=zzz&language=en")).text


async def test_a_played_scenario_shows_its_order_calls_and_deliveries(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.operator.get("/operator/sandbox")
        played = await place.operator.submit(page, "/operator/sandbox/scenario", {"scenario": "accept"})
        text = " ".join(played.text.split())
        result = text[text.rindex("The scenario accept was played") :]
        assert "Calls and webhooks" in result
        assert "New order" in result
        assert "Order updated" in result


async def test_the_rough_mixture_is_a_switch_and_shops_with_rules_of_their_own_are_named(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        path = "/operator/sandbox/faults"
        page = await place.operator.get("/operator/sandbox")
        assert "Faults are on" not in page.text
        assert "rules of their own" not in page.text
        own = {"rules": [{"on": "api", "kind": "delay", "seconds": 0}]}
        await place.market.operate("PUT", f"/marketplace/shops/{place.shop.id}/faults", own)
        page = await place.operator.submit(page, path, {"rough": "1"})
        assert "Faults are on. Seed: 1" in page.text
        assert "Shops with rules of their own: " in page.text
        assert "rough" in page.form(path).values
        await place.operator.post(path, {"form_token": page.form(path).values["form_token"]})
        assert (await place.market.operate("GET", "/marketplace/faults"))["rough"] is False


async def test_scenarios_are_buttons_with_a_sentence_each(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.operator.get("/operator/sandbox")
        path = "/operator/sandbox/scenario"
        assert sorted(page.form(path).buttons) == [("scenario", name) for name in scenarios()]
        for scenario in scenarios().values():
            assert " ".join(scenario.sentence.split()) in page.text
        played = await place.operator.submit(page, path, {"scenario": "accept"})
        assert "The scenario accept was played" in played.text
        assert len(_listed(played, "orders")) >= 1
        refused = await place.operator.submit(page, path, {"scenario": "store_pickup", "shop_id": place.shop.id})
        assert refused.status == 200
        assert (await place.operator.submit(page, path, {"scenario": "nonsense"})).status == 404


async def test_demo_orders_are_shown_and_their_webhooks_sent(tmp_path: Path) -> None:
    async with open_place(tmp_path, returns_webhook_url="http://shop/r", returns_webhook_enabled=True) as place:
        page = await place.operator.get("/operator/sandbox")
        path = "/operator/sandbox/trigger"
        demo = await place.operator.get("/operator/orders/DEMO-OPEN")
        assert not [form for form in demo.forms if "DEMO" in form.action]
        for recording in Path("tests/data/examples").rglob("DEMO-*.json"):
            code = recording.stem
            shown = await place.operator.get(f"/operator/orders/{code}")
            assert shown.status == 200
            for link in {link for link in shown.links if link.startswith("/")}:
                assert (await place.operator.get(link)).status == 200, (code, link)
        for value in ("DEMO-OPEN:creation", "DEMO-RETURN:return:creation"):
            done = await place.operator.submit(page, path, {"trigger": value})
            assert done.done == "trigger"
        await place.market.advance(3)
        bodies = [json.loads(body) for body in place.network.bodies]
        assert {body["event_type"] for body in bodies} == {"new_order", "merchant_return_created"}
        assert (await place.operator.submit(page, path, {"trigger": "DEMO-RETURN:creation"})).status == 422
        assert (await place.operator.submit(page, path, {"trigger": "261124-1:creation"})).status == 404


async def _rows(place: Place, query: str) -> set[str]:
    page = await place.operator.get(f"/operator/orders?{query}")
    return {code for code in _listed(page, "orders") if code.startswith("2")}


async def test_orders_of_all_shops_are_filtered(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = await place.market.shop("Other")
        mine, theirs, accepted = await place.shop.cart(A=1), await other.cart(A=1), await other.accepted()
        assert await _rows(place, "") == {mine, theirs, accepted}
        assert await _rows(place, f"shop={other.id}") == {theirs, accepted}
        assert await _rows(place, f"shop={other.id}&state=open") == {theirs}
        assert await _rows(place, "state=accepted") == {accepted}
        assert await _rows(place, f"q={mine[-4:]}") == {mine}
        assert await _rows(place, f"q={mine}&shop={other.id}") == set()
        assert await _rows(place, f"q={mine}&state=accepted") == set()
        assert await _rows(place, f"q={mine[:10]}") >= {mine}
        # Words need a shop, because each shop has its own index.
        assert await _rows(place, f"shop={other.id}&q={quote('παπαδ')}") == {theirs, accepted}
        words = await place.operator.get(f"/operator/orders?q={quote('παπαδ')}")
        assert "Choose one" in words.text
        assert "Choose one" in (await place.operator.get("/operator/orders?overdue=1")).text


async def test_viewing_a_voucher_does_not_mark_the_order_as_ready(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        answer = await place.operator.request("GET", f"/operator/orders/{code}/voucher.pdf")
        assert answer.body.startswith(b"%PDF")
        assert (await place.shop.show(code))["is_ready_for_dispatch"] is False


async def test_rejected_order_and_successor_link_to_each_other(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=3)
        [line] = (await place.shop.show(code))["line_items"]
        body = {"line_items": [{"id": line["id"], "reason_id": 4, "available_quantity": 1}]}
        assert (await place.shop.call("POST", f"/orders/{code}/reject", body)).status == 200
        successor = (await place.market.order(code))["rejection"]["successor"]
        for visitor, base in ((place.operator, "/operator"), (place.merchant, "/shop")):
            page = await visitor.get(f"{base}/orders/{code}")
            # The reader of pages puts no space between a term and its text.
            assert "Rejected byThe shop" in page.text
            assert f"Available of {line['product_name']}1 / 3" in page.text
            assert f"The rest became{successor}" in page.text
            assert f"Created for the rest of{code}" in (await visitor.get(f"{base}/orders/{successor}")).text
