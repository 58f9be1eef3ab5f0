"""A refused form keeps its input in every field and switch, and its page is the form's own."""

from pathlib import Path

import pytest

from kalathi.marketplace.panel.forms import label_of
from kalathi.marketplace.panel.languages import Language, words_of
from kalathi.marketplace.panel.pages import Who
from tests.market import OPERATOR_TOKEN, open_market
from tests.panel.visitor import Place, Visitor, open_place
from tests.panel.world import fill_shop, pages_of
from tests.virtual.returning import delivered, request_return, show

pytestmark = pytest.mark.anyio


async def test_a_wrong_token_keeps_the_page_to_return_to(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        visitor = Visitor(place.market)
        page = await visitor.sign_in("wrong", "%2Fshop%2Freturns")
        assert page.status == 401
        page = await visitor.submit(page, "/sign-in", {"token": place.shop.token})
        assert page.path == "/shop/returns"


async def test_refused_settings_keep_the_submitted_values(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for visitor, path in ((place.merchant, "/shop/settings"), (place.operator, f"/operator/shops/{place.shop.id}")):
            page = await visitor.get(path)
            form = page.form(path)
            values = {name: value for name, value in form.values.items() if name != "webhook_enabled"}
            others = {"name": "Νέο όνομα", "domain": "new.example"} if "name" in values else {}
            sent = {**values, **others, "webhook_url": "ftp://x", "set_as_ready_required": "1"}
            refused = await visitor.post(path, sent)
            assert refused.status == 422
            assert refused.form(path).values == sent
            # A refusal of another form does not change these fields.
            other = await visitor.post(f"{path}/locations", {"form_token": values["form_token"], "city": "Βόλος"})
            assert other.status == 422
            assert other.form(path).values == form.values


async def test_a_refused_operator_form_opens_again_with_its_input(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        for step in ("hand_over", "deliver"):
            await place.market.operate("POST", f"/marketplace/orders/{code}/{step}")
        path = f"/operator/orders/{code}"
        page = await place.operator.get(path)
        values = {
            "line_items[0][quantity]": "7",
            "line_items[0][comment]": "Σπασμένο",
            "line_items[0][reason]": "faulty",
        }
        refused = await place.operator.submit(page, f"{path}/return", values)
        assert refused.status == 422
        held = refused.form(f"{path}/return").values
        assert {name: held[name] for name in values} == values
        assert '<details open><summary id="do-return">' in refused.html
        assert '<details open><summary id="do-replace">' not in refused.html


async def test_refused_tracking_details_keep_their_input(tmp_path: Path) -> None:
    async with open_place(tmp_path, fulfillment_mode="fbm") as place:
        code = await place.shop.accepted()
        path = f"/shop/orders/{code}/tracking_details"
        page = await place.merchant.get(f"/shop/orders/{code}")
        values = {"tracking_details[0][courier]": "acs", "tracking_details[1][tracking_code]": "123"}
        refused = await place.merchant.submit(page, path, values)
        assert refused.status == 422
        held = refused.form(path).values
        assert {name: held[name] for name in values} == values
        values["tracking_details[0][tracking_code]"] = "9"
        values["tracking_details[1][courier]"] = "acs"
        kept = (await place.merchant.submit(refused, path, values)).form(path).values
        assert {name: kept[name] for name in values} == values
        assert kept["tracking_details[2][tracking_code]"] == ""


async def test_a_form_of_another_session_comes_back_only_for_the_same_shop(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/settings")
        values = {"webhook_url": "https://shop.example/new"}
        await place.merchant.sign_in(place.shop.token)
        blind = await place.merchant.submit(page, "/shop/settings", values)
        assert (blind.status, blind.refusals) == (403, ["ForeignForm"])
        place.merchant.headers["Sec-Fetch-Site"] = "same-origin"
        again = await place.merchant.submit(page, "/shop/settings", values)
        assert (again.status, again.refusals) == (403, ["SessionChanged"])
        assert again.form("/shop/settings").values["webhook_url"] == "https://shop.example/new"
        assert await _webhook_url(place) == "http://shop/"
        done = await place.merchant.submit(again, "/shop/settings")
        assert done.status == 200
        assert await _webhook_url(place) == "https://shop.example/new"
        other = await place.market.shop()
        await place.merchant.sign_in(other.token)
        refused = await place.merchant.submit(page, "/shop/settings", values)
        assert (refused.status, refused.refusals) == (403, ["AnotherShopOpened"])
        assert "Address for orders https://shop.example/new" in refused.text
        assert refused.forms[0].action == "/sign-out"
        # Another site must not be able to show its own text on our page.
        del place.merchant.headers["Sec-Fetch-Site"]
        refused = await place.merchant.submit(page, "/shop/settings", values)
        assert (refused.status, "https://shop.example/new" in refused.text) == (403, False)


async def test_a_form_sent_after_sign_out_shows_its_input_and_its_page(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        page = await place.merchant.get(f"/shop/orders/{code}")
        place.merchant.headers["Sec-Fetch-Site"] = "same-origin"
        await place.merchant.submit(page, "/sign-out")
        texts = {"rejection_reason_other": "Έσπασε <b>"}
        token = page.form("/sign-out").values["form_token"]
        sent = {"form_token": token, **texts, "line_items[0][id]": "5", "line_items[1][available_quantity]": "3"}
        refused = await place.merchant.post(f"/shop/orders/{code}/reject", sent)
        assert (refused.status, refused.refusals) == (401, ["NotSignedIn"])
        assert "Reason Έσπασε <b> 2. Pieces available 3" in refused.text
        back = await place.merchant.submit(refused, "/sign-in", {"token": place.shop.token})
        assert back.path == f"/shop/orders/{code}"
        assert (await place.shop.show(code))["state"] == "open"


async def test_input_of_a_form_that_no_longer_exists_can_be_copied(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        path = f"/shop/orders/{code}"
        page = await place.merchant.get(path)
        long = await place.merchant.post(
            f"{path}/reject", {**page.form(f"{path}/reject").values, "rejection_reason_other": "ά" * 1001}
        )
        assert (long.status, "What you had written" in long.text) == (422, False)
        await place.shop.accept(code)
        token = page.form(f"{path}/reject").values["form_token"]
        sent = {"form_token": token, "rejection_reason_other": "Έσπασε", "confirmed": "1"}
        refused = await place.merchant.post(f"{path}/reject", sent)
        assert refused.status == 422
        assert "Your text, for copying Reason Έσπασε" in refused.text


async def test_every_text_field_has_a_label_for_its_returned_input(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        merchant, operator = Visitor(market), Visitor(market)
        await merchant.sign_in(world.shop.token)
        await operator.sign_in(OPERATOR_TOKEN)
        seen = set()
        for visitor, who in ((merchant, Who.SHOP), (operator, Who.OPERATOR)):
            for page in pages_of(who):
                for path in world.paths(page):
                    forms = [form for form in (await visitor.get(path)).forms if form.method == "post"]
                    # The shares of faults have usual values, so there is nothing to copy.
                    seen |= {name for form in forms for name in form.typed if not name.startswith("share_")}
        assert len(seen) > 30
        greek = words_of(Language.GREEK)
        assert {name for name in seen if not label_of(name, greek)} == set()
        assert label_of("items[0][quantity]", greek) == "1. Τεμάχια"
        for of_no_text in ("form_token", "token", "items[0][shop_uid]", "line_items[0][reason]", "line_items[0][id]"):
            assert label_of(of_no_text, greek) == ""


async def test_the_address_of_a_form_opens_its_page(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        world = await fill_shop(market, "First")
        visitors = {Who.SHOP: Visitor(market), Who.OPERATOR: Visitor(market)}
        await visitors[Who.SHOP].sign_in(world.shop.token)
        await visitors[Who.OPERATOR].sign_in(OPERATOR_TOKEN)
        for who, visitor in visitors.items():
            for page in pages_of(who, method="POST"):
                for path in world.paths(page):
                    assert (await visitor.get(path)).status == 200, path
        listed = await visitors[Who.SHOP].get("/shop/vouchers.pdf?state=accepted")
        assert listed.path == "/shop/orders?state=accepted"


async def _webhook_url(place: Place) -> object:
    return (await place.market.operate("GET", f"/marketplace/shops/{place.shop.id}"))["shop"]["webhook_url"]


async def test_a_cart_keeps_its_shop_and_quantities_across_pages(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await place.market.shop("Another")
        listings = [
            {"shop_uid": f"P{number:02}", "product_name": f"Προϊόν {number}", "unit_price": 1, "quantity": 9}
            | {"commission_rate": 8}
            for number in range(60)
        ]
        await place.market.operate("PUT", f"/marketplace/shops/{place.shop.id}/listings", listings)
        path = "/operator/cart"
        page = await place.operator.get(f"{path}?shop={place.shop.id}")
        page = await place.operator.submit(
            page, path, {"items[0][quantity]": "2", "turn_to": "2", "first_name": "Νίκος"}
        )
        assert page.form(path).values["shop_id"] == place.shop.id
        assert "2 × A" in page.text
        last = next(name for name, value in page.form(path).values.items() if value == "P59").replace(
            "shop_uid", "quantity"
        )
        refused = await place.operator.submit(page, path, {last: "99"})
        assert (refused.status, refused.form(path).values[last]) == (422, "99")
        assert "2 × A" in refused.text
        nameless = await place.operator.submit(refused, path, {last: "3", "first_name": " "})
        assert nameless.status == 422
        placed = await place.operator.submit(refused, path, {last: "3"})
        order = await place.shop.show(placed.path.partition("?")[0].rpartition("/")[2])
        assert order["customer"]["first_name"] == "Νίκος"
        assert {line["shop_uid"]: line["quantity"] for line in order["line_items"]} == {"A": 2, "P59": 3}


async def test_a_file_that_is_too_large_is_refused_on_the_orders_page(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        path = f"/shop/orders/{code}"
        page = await place.merchant.get(path)
        refused = await place.merchant.upload(page, f"{path}/invoice", "invoice_file", b"%PDF-" + b"x" * 8_000_000)
        assert refused.status == 422
        assert "larger than 7 MB" in refused.text
        assert refused.form(f"{path}/invoice").encoding == "multipart/form-data"


async def test_a_review_with_text_that_its_decision_does_not_send_is_refused(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = (await request_return(place.market, await delivered(place.shop)))["return_code"]
        path = f"/shop/returns/{code}"
        page = await place.merchant.get(path)
        part = {"proposed_part_url": "https://x.example/"}
        for option, texts, reason in (
            ("approve", {"comment": "Συγγνώμη"}, "CommentNotSent"),
            ("not_faulty", {"comment": "Σωστό", **part}, "PartNotNamed"),
        ):
            refused = await place.merchant.submit(page, f"{path}/review", {"option": option, **texts})
            assert (refused.status, refused.refusals) == (422, [reason])
            held = refused.form(f"{path}/review").values
            assert {name: held[name] for name in texts} == texts
            assert (await show(place.shop, code))["state"] == "pending_merchant_review"
        done = await place.merchant.submit(page, f"{path}/review", {"option": "approve"})
        assert done.done == "review"


async def test_an_empty_file_and_no_file_have_different_messages(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        path = f"/shop/orders/{code}"
        page = await place.merchant.get(path)
        empty = await place.merchant.upload(page, f"{path}/invoice", "invoice_file", b"")
        assert (empty.status, empty.refusals) == (400, ["EmptyFile"])
        body = b'--x\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n%s\r\n--x\r\nContent-Disposition: '
        body += b'form-data; name="invoice_file"; filename=""\r\n\r\n\r\n--x--\r\n'
        token = page.form(f"{path}/invoice").values["form_token"].encode()
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        none = await place.merchant.request("POST", f"{path}/invoice", body % token, kind)
        assert (none.status, b"Choose a file first." in none.body) == (400, True)


async def test_a_refused_form_has_no_language_link_that_would_lose_it(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/settings")
        assert [link for link in page.links if "language=" in link] == ["/shop/settings?language=el"]
        refused = await place.merchant.submit(page, "/shop/settings", {"webhook_url": "x"})
        assert refused.status == 422
        assert [link for link in refused.links if "language=" in link] == []


async def test_a_lone_surrogate_in_a_form_token_is_403(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        body = b'--x\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n\\ud800\r\n--x--\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x; charset=unicode_escape"}
        answer = await place.merchant.request("POST", f"/shop/orders/{code}/invoice", body, kind)
        assert answer.status == 403


async def test_sign_out_works_from_a_page_of_an_older_session(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/orders")
        await place.merchant.sign_in(place.shop.token)
        assert (await place.merchant.submit(page, "/sign-out")).status == 403
        place.merchant.headers["Sec-Fetch-Site"] = "same-origin"
        for _ in range(2):
            assert (await place.merchant.submit(page, "/sign-out")).done == "signed_out"
            assert (await place.merchant.get("/shop/orders")).path.startswith("/sign-in")


async def test_a_late_form_gets_the_message_for_its_reason(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        anonymous = Visitor(place.market)
        anonymous.headers["Sec-Fetch-Site"] = place.merchant.headers["Sec-Fetch-Site"] = "same-origin"
        assert 'data-whose="anonymous"' in (await anonymous.get("/sign-in")).html
        assert f'data-whose="{place.shop.id}"' in (await place.merchant.get("/sign-in")).html
        # A browser that keeps no cookies cannot sign in, however often it tries.
        refused = await anonymous.post("/sign-in", {"token": place.shop.token})
        assert (refused.status, "your browser keeps no cookies" in refused.text) == (403, True)
        # A visitor who is signed in as a shop has not signed out.
        refused = await place.merchant.post("/operator/shops", {"name": "Νέο"})
        assert (refused.status, refused.refusals) == (401, ["SignedInAsAnother"])
        assert f'data-whose="{place.shop.id}"' in refused.html
        assert "Name Νέο" in refused.text
