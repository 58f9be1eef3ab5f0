"""A shop's orders: the list, and everything that a form can do to one."""

from pathlib import Path

import pypdfium2
import pytest
from starlette.requests import Request
from starlette.types import Message
from structlog.testing import capture_logs

from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.panel.forms import read_file_form
from kalathi.marketplace.web.uploads import INVOICE_FILE
from tests.market import CUSTOMER, OPERATOR_TOKEN
from tests.panel.visitor import Visitor, open_place

pytestmark = pytest.mark.anyio

PDF = b"%PDF-1.4\n%an invoice\n"


async def test_an_order_is_accepted_by_its_form_and_its_voucher_appears(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=2)
        listed = await place.merchant.get("/shop/orders")
        assert f"/shop/orders/{code}" in listed.links
        assert "€20.80" in listed.text
        assert "1 d left" in listed.text
        page = await place.merchant.get(f"/shop/orders/{code}")
        options = (await place.shop.show(code))["accept_options"]
        form = page.form(f"/shop/orders/{code}/accept")
        assert form.choices["pickup_location"] == [option["id"] for option in options["pickup_location"]]
        assert form.choices["pickup_window"] == [str(option["id"]) for option in options["pickup_window"]]
        assert form.choices["number_of_parcels"] == [str(count) for count in options["number_of_parcels"]]
        chosen = {"pickup_window": form.choices["pickup_window"][1], "number_of_parcels": "2"}
        done = await place.merchant.submit(page, f"/shop/orders/{code}/accept", chosen)
        assert done.done == "accept"
        await place.market.advance(2)
        order = await place.shop.show(code)
        assert (order["state"], order["number_of_parcels"]) == ("accepted", 2)
        after = await place.merchant.get(f"/shop/orders/{code}")
        [link] = {link for link in after.links if link.startswith("/vouchers/")}
        assert order["courier_voucher"].endswith(link)
        assert not [form for form in after.forms if form.action.endswith(("/accept", "/reject"))]


async def test_an_address_that_no_label_can_show_is_reported(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        plain = await place.shop.accepted()
        with capture_logs() as logs:
            code = await place.shop.accepted(customer=CUSTOMER | {"first_name": "王小明", "last_name": "Lee"})
        [line] = [line for line in logs if line["event"] == "address_unprintable"]
        assert (line["code"], line["unreadable_letters"]) == (code, 3)
        sentence = (
            "The label cannot show these letters of the address: 王小明. Write the address on the parcel by hand."
        )
        for page in (
            await place.merchant.get(f"/shop/orders/{code}"),
            await place.operator.get(f"/operator/orders/{code}"),
        ):
            assert sentence in page.text
        greek = await place.merchant.get(f"/shop/orders/{code}?language=el")
        assert "Γράψτε τη διεύθυνση στο δέμα με το χέρι" in greek.text
        assert "The label cannot show" not in (await place.operator.get(f"/operator/orders/{plain}")).text


async def test_a_line_of_limited_stock_is_rejected_and_a_new_order_follows(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=3, B=1)
        page = await place.merchant.get(f"/shop/orders/{code}")
        path = f"/shop/orders/{code}/reject"
        offered = (await place.shop.show(code))["reject_options"]["line_item_rejection_reasons"]
        assert page.form(path).choices["line_items[0][reason_id]"] == ["", *(str(reason["id"]) for reason in offered)]
        greek = await place.merchant.get(f"/shop/orders/{code}?language=el")
        assert all(reason["label"] in greek.text for reason in offered)
        await place.merchant.get(f"/shop/orders/{code}?language=en")
        refused = await place.merchant.submit(page, path, {"line_items[0][reason_id]": "4"})
        assert refused.status == 422
        assert refused.refusals == ["NeedsAvailablePieces"]
        # The page that shows the form again is the order's own: by its language links and for its news.
        assert not [link for link in refused.links if "language=" in link]
        [body] = [given for tag, given in refused.tags if tag == "body"]
        assert body["data-page"] == f"/shop/orders/{code}"
        # What was filled in is still there, and nothing has changed.
        assert refused.form(path).values["line_items[0][reason_id]"] == "4"
        assert (await place.shop.show(code))["state"] == "open"
        values = {"line_items[0][reason_id]": "4", "line_items[0][available_quantity]": "1"}
        await place.merchant.submit(refused, path, values)
        assert (await place.shop.show(code))["state"] == "rejected"
        listed = await place.merchant.get("/shop/orders?state=open")
        [new] = [link.rpartition("/")[2] for link in listed.links if link.startswith("/shop/orders/2")]
        lines = (await place.shop.show(new))["line_items"]
        assert [(line["shop_uid"], line["quantity"]) for line in lines] == [("A", 1), ("B", 1)]


async def test_an_empty_rejection_is_refused_and_a_typed_reason_rejects_all(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=3)
        page = await place.merchant.get(f"/shop/orders/{code}")
        refused = await place.merchant.submit(page, f"/shop/orders/{code}/reject")
        assert refused.status == 422
        token = page.form(f"/shop/orders/{code}/reject").values["form_token"]
        values = {"form_token": token, "rejection_reason_other": "Υγρασία", "confirmed": "1"}
        await place.merchant.post(f"/shop/orders/{code}/reject", values)
        assert (await place.shop.show(code))["rejection_info"] == {"reason": "Υγρασία", "actor": "merchant"}


async def test_the_pickup_is_moved_and_the_order_marked_ready(tmp_path: Path) -> None:
    places = [
        {"street_name": "Σταδίου", "street_number": "1", "zip": "10562", "city": "Αθήνα", "region": "Αττική"},
        {"street_name": "Τσιμισκή", "street_number": "5", "zip": "54624", "city": "Θεσσαλονίκη", "region": "Μακεδονία"},
    ]
    async with open_place(tmp_path, locations=places) as place:
        code = await place.shop.accepted()
        path = f"/shop/orders/{code}"
        page = await place.merchant.get(path)
        day = page.form(f"{path}/reschedule_pickup").choices["reschedule_date"][0]
        page = await place.merchant.submit(page, f"{path}/reschedule_pickup")
        assert (await place.shop.show(code))["pickup_window"]["from"].startswith(day)
        page = await place.merchant.submit(page, f"{path}/relocate_pickup")
        await place.market.advance(2)
        assert "Τσιμισκή" in (await place.shop.show(code))["pickup_address"]
        page = await place.merchant.submit(page, f"{path}/set_as_ready")
        assert (await place.shop.show(code))["is_ready_for_dispatch"] is True
        await place.merchant.submit(page, f"{path}/set_as_not_ready")
        assert (await place.shop.show(code))["is_ready_for_dispatch"] is False


async def test_a_preorder_voucher_is_requested_and_tracking_details_are_saved(tmp_path: Path) -> None:
    async with open_place(tmp_path, listing={"preorder_ships_on": "2026-12-10"}) as place:
        code = await place.shop.accepted()
        page = await place.merchant.get(f"/shop/orders/{code}")
        assert "10 Dec 2026" in page.text
        await place.merchant.submit(page, f"/shop/orders/{code}/request_voucher")
        await place.market.advance(2)
        assert (await place.shop.show(code))["courier_voucher"]
    async with open_place(tmp_path / "fbm", fulfillment_mode="fbm") as place:
        code = await place.shop.accepted()
        path = f"/shop/orders/{code}/tracking_details"
        page = await place.merchant.get(f"/shop/orders/{code}")
        values = {"tracking_details[0][courier]": "acs", "tracking_details[0][tracking_code]": "123"}
        await place.merchant.submit(page, path, values)
        assert (await place.shop.show(code))["courier_tracking_codes"] == ["123"]


async def test_invoices_are_accepted_or_refused_by_their_content(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.accepted()
        path = f"/shop/orders/{code}"
        page = await place.merchant.get(path)
        for action, field, done in (
            ("invoice", "invoice_file", "The invoice is saved."),
            ("credit_invoice", "credit_invoice_file", "The credit invoice is saved."),
        ):
            for content, sentence in ((b"<html>", "it looks like text/html"), (b"", "The file is empty")):
                refused = await place.merchant.upload(page, f"{path}/{action}", field, content)
                assert refused.status in {400, 422}, refused.text
                assert sentence in refused.text
            kept = await place.merchant.upload(page, f"{path}/{action}", field, PDF)
            assert done in kept.text
        page = await place.merchant.get(path)
        links = [link for link in page.links if link.startswith("/uploads/")]
        assert len(links) == 2
        for link in links:
            file = await place.market.call("GET", link)
            assert file.body == PDF
            assert file.headers["content-disposition"].startswith("attachment")
            assert file.headers["content-type"] == "application/pdf"
        too_large = await place.merchant.upload(page, f"{path}/invoice", "invoice_file", PDF + b"x" * 7_400_000)
        assert too_large.status == 422
        assert "larger than 7 MB" in too_large.text


async def test_reading_stops_when_a_file_is_far_too_large() -> None:
    part, read = b"x" * 1_000_000, 0

    async def receive() -> Message:
        nonlocal read
        read += 1
        begin = (
            b'--x\r\nContent-Disposition: form-data; name="invoice_file"; filename="a"\r\n\r\n' if read == 1 else b""
        )
        return {"type": "http.request", "body": begin + part, "more_body": True}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(DomainError, match="larger than 7 MB"):
        await read_file_form(request, INVOICE_FILE)
    assert 8 < read < 90


async def test_many_vouchers_are_one_pdf_and_mark_their_orders_ready(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.accepted() for _ in range(3)]
        open_order = await place.shop.cart(A=1)
        listed = await place.merchant.get("/shop/orders")
        assert set(listed.form("/shop/picking-list").choices["order"]) == {*codes, open_order}
        token = listed.form("/shop/picking-list").values["form_token"]
        pdf = (await place.merchant.post("/shop/vouchers.pdf", {"form_token": token, "order": codes})).answer
        assert pdf.headers["content-type"] == "application/pdf"
        with pypdfium2.PdfDocument(pdf.body) as document:
            texts = [page.get_textpage().get_text_range() for page in document]
        assert len(texts) == 3
        for code, text in zip(codes, texts, strict=True):
            assert code in text
            assert (await place.shop.show(code))["is_ready_for_dispatch"] is True
        for wrong, status in (("", 422), (open_order, 422), ("nothing", 404)):
            page = await place.merchant.post("/shop/vouchers.pdf", {"form_token": token, "order": wrong})
            assert page.status == status
        nothing = await place.merchant.post("/shop/vouchers.pdf", {"form_token": token})
        assert nothing.refusals == ["NoOrdersChosen"]
        assert codes[0] in nothing.text
        # The list stays the one that was chosen from.
        narrowed = await place.merchant.get("/shop/orders?state=accepted")
        nothing = await place.merchant.post(
            "/shop/vouchers.pdf?state=accepted", narrowed.form("/shop/picking-list").values
        )
        assert codes[0] in nothing.text
        assert open_order not in nothing.text


async def test_the_latest_webhook_is_sent_again_unless_the_switch_is_off(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        await place.market.settle()
        page = await place.merchant.get(f"/shop/orders/{code}")
        await place.merchant.submit(page, f"/shop/orders/{code}/webhook")
        await place.market.settle()
        assert place.network.events("http://shop/") == [("new_order", "open")] * 2
        settings = await place.merchant.get("/shop/settings")
        await place.merchant.post(
            "/shop/settings",
            {
                "form_token": settings.form("/shop/settings").values["form_token"],
                "webhook_url": "http://shop/",
            },
        )
        refused = await place.merchant.submit(page, f"/shop/orders/{code}/webhook")
        assert refused.status == 422
        await place.shop.cart(A=1)
        await place.market.settle()
        assert len(place.network.posts) == 2


async def test_the_url_filters_by_state_and_by_part_of_a_code(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        codes = [await place.shop.cart(A=1) for _ in range(3)]
        accepted = await place.shop.accepted()
        for query, wanted in (
            ("state=accepted", {accepted}),
            ("state=open", set(codes)),
            (f"q={codes[1][-5:]}", {codes[1]}),
            ("q=%25", set()),
            ("q=%27%20OR%201%3D1", set()),
            ("state=expired", set()),
            (f"q={codes[1][-5:]}&state=accepted", set()),
            (f"q=+{accepted[:6]}++{accepted[6:]}&state=accepted", {accepted}),
        ):
            page = await place.merchant.get(f"/shop/orders?{query}")
            found = {link.rpartition("/")[2] for link in page.links if link.startswith("/shop/orders/2")}
            assert found == wanted, query
        assert (await place.merchant.get("/shop/orders?state=nonsense")).status == 422
        assert (await place.merchant.get("/shop/orders?page=0")).status == 422


async def test_a_long_list_is_split_into_pages(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for _ in range(53):
            await place.shop.cart(A=1)
        first = await place.merchant.get("/shop/orders?state=open")
        assert "53 entries" in first.text
        [following] = [link for link in first.links if "page=2" in link]
        second = await place.merchant.get(f"/shop/orders{following}")
        assert len([link for link in second.links if link.startswith("/shop/orders/2")]) == 3
        assert "state=open" in following


async def test_pages_translate_pickup_windows_and_the_api_stays_greek(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        [first, *_] = (await place.shop.show(code))["accept_options"]["pickup_window"]
        assert first["label"] == "12:00 - 15:00, Τρί 24/11/26"
        for language, window, day in (
            ("en", "Tue 24 Nov 2026, 12:00–15:00", "Wed 25 Nov 2026"),
            ("el", "Τρί 24 Νοε 2026, 12:00–15:00", "Τετ 25 Νοε 2026"),
        ):
            page = await place.merchant.get(f"/shop/orders/{code}?language={language}")
            assert window in page.text
            accepted = await place.shop.accepted()
            page = await place.merchant.get(f"/shop/orders/{accepted}?language={language}")
            assert (window in page.text, day in page.text) == (True, True)
            reader = Visitor(place.market, language=language)
            await reader.sign_in(OPERATOR_TOKEN)
            assert window in (await reader.get(f"/operator/orders/{accepted}")).text
