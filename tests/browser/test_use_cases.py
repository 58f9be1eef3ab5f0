"""Both use cases, clicked through; the live list, the log, the clock."""

import json
from pathlib import Path

import pypdfium2
import pytest
from playwright.async_api import Page, expect

from tests.browser.browsing import marketplace_in_browser, press_final, shared_browser
from tests.e2e.processes import kalathi, running, serve
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio


async def test_a_new_order_and_its_voucher_appear_without_a_reload(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.signed_in()
        await expect(page.get_by_text("There are no orders yet")).to_be_visible()
        code = await place.shop.cart(LAMP=2)
        # The page was not reloaded.
        await page.get_by_role("link", name=code).click()
        await expect(page.get_by_role("heading", name=f"Order {code}")).to_be_visible()
        await page.get_by_label("Pickup from").select_option(label="Τσιμισκή 1, Τ.Κ. 10562, Θεσσαλονίκη, Αττική")
        await page.get_by_label("Parcels").select_option("2")
        await page.get_by_role("button", name="Accept the order").click()
        await expect(page.locator("#done")).to_contain_text("The order is accepted.")
        # Voucher created a second later, and the page shows it by itself.
        link = page.get_by_role("link", name="Voucher (PDF)")
        await expect(link).to_be_visible()
        await expect(page.locator("main")).to_contain_text("Τσιμισκή 1")
        voucher = await page.request.get(await link.get_attribute("href") or "")
        assert voucher.headers["content-type"] == "application/pdf"
        with pypdfium2.PdfDocument(await voucher.body()) as document:
            assert len(document) == 2
            assert code in document[0].get_textpage().get_text_range()
        assert place.hook.by_order[code][0] == ("new_order", "open")


async def test_a_line_of_limited_stock_is_rejected_and_a_new_order_follows(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=3, CABLE=1)
        page = await place.signed_in()
        await page.get_by_role("link", name=code).click()
        line = page.get_by_role("group", name="3 × Λάμπα LED E27")
        await line.get_by_label("Reason").select_option("Limited pieces")
        await press_final(page, "Reject these items")
        await expect(page.get_by_role("alert")).to_contain_text("Enter how many pieces are available")
        # The browser itself notes on the console that a page came with 422.
        assert "422" in place.complaints.pop()
        await expect(line.get_by_label("Reason")).to_have_value("4")
        await line.get_by_label("Available").fill("1")
        await press_final(page, "Reject these items")
        await expect(page.locator("#done")).to_contain_text("The order is rejected.")
        await page.get_by_role("link", name="Orders", exact=True).first.click()
        await page.get_by_role("link", name="Open 1").click()
        await page.wait_for_url("**/shop/orders?state=open")
        new = page.locator("tbody th a")
        await expect(new).to_have_count(1)
        await new.click()
        await expect(page.locator("main")).to_contain_text("€35.40")


async def test_vouchers_of_several_orders_are_merged_into_one_pdf(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        codes = [code for _ in range(2) for code in await place.shop.play("accept")]
        page = await place.signed_in()
        for code in codes:
            await page.get_by_label(f"Select {code}").check()
        form = page.locator("form[action='/shop/picking-list']")
        pairs = await form.evaluate("form => Array.from(new FormData(form))")
        assert [value for name, value in pairs if name == "order"] == list(reversed(codes))
        body = await form.evaluate("form => new URLSearchParams(new FormData(form)).toString()")
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        pdf = await page.request.post("/shop/vouchers.pdf", data=body, headers=kind)
        with pypdfium2.PdfDocument(await pdf.body()) as document:
            assert len(document) == 2


async def test_an_update_keeps_text_that_is_being_typed(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code, page = await place.at_an_order()
        reason = page.get_by_label("Reason", exact=True).last
        await reason.fill("Έσπασε")
        await place.caller.operate("POST", f"/marketplace/orders/{code}/extend", {"hours": 5})
        await expect(page.get_by_text("More time to answer")).to_be_visible()
        await expect(reason).to_have_value("Έσπασε")
        await expect(page.locator("#news")).to_contain_text("The order has changed.")


async def test_the_log_shows_attempts_as_they_happen_and_sends_again(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.page()
        await page.goto("/operator/deliveries")
        await expect(page.get_by_text("No matching webhook.")).to_be_visible()
        code = await place.shop.cart(LAMP=1)
        row = page.get_by_role("row", name=code)
        await expect(row).to_contain_text("status 200")
        await row.get_by_role("link", name="New order").click()
        await expect(page.locator("#body + .json")).to_contain_text(code)
        before = len(place.hook.bodies)
        await page.get_by_role("button", name="Send again").click()
        await expect(page.locator("#done")).to_contain_text("The webhook is sent again.")
        await expect(page.locator("[data-fresh=attempts] tbody tr")).to_have_count(2)
        assert place.hook.bodies[before:] == [place.hook.bodies[before - 1]]


async def test_the_copy_button_copies_a_curl_command(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        page = await place.page(permissions=["clipboard-read", "clipboard-write"])
        await page.goto(f"/operator/deliveries/{place.shop.id}.{code}.1")
        await page.get_by_role("button", name="Copy as curl").click()
        await expect(page.locator("#news")).to_contain_text("Copied.")
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("curl -i -X POST ")
        assert code in copied


async def test_the_clock_moves_to_the_next_event_and_the_order_expires(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        page = await place.page()
        await page.goto("/operator/sandbox")
        coming = page.locator("[data-fresh=coming] li")
        await expect(coming).to_have_count(1)
        await expect(coming).to_contain_text("The order expires unless it is answered")
        now = await page.locator(".now").inner_text()
        await page.get_by_role("button", name="+1 hour").click()
        await expect(page.locator(".now")).not_to_have_text(now)
        await page.get_by_role("button", name="Next event").click()
        await expect(page.get_by_text("Nothing is due.")).to_be_visible()
        await page.goto(f"/operator/orders/{code}")
        await expect(page.locator("[data-fresh=head]")).to_contain_text("Expired")


async def test_a_fault_can_be_switched_on_and_off(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.page()
        await page.goto("/operator/sandbox")
        await _switch(page, "Webhooks come three seconds late", on=True)
        await expect(page.locator("#done")).to_contain_text("The faults are applied.")
        faults = await place.caller.operate("GET", "/marketplace/faults")
        assert [rule["kind"] for rule in faults["rules"]] == ["delay"]
        await _switch(page, "Webhooks come three seconds late", on=False)
        assert (await place.caller.operate("GET", "/marketplace/faults"))["rules"] == []


async def _switch(page: Page, sentence: str, *, on: bool) -> None:
    await page.get_by_role("switch", name=sentence).set_checked(on)
    await page.get_by_role("button", name="Apply").click()
    await expect(page.get_by_role("switch", name=sentence)).to_be_checked(checked=on)


async def test_a_scenario_is_played_and_a_return_reviewed(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.page()
        await page.goto("/operator/sandbox?q=return_expired")
        await page.get_by_role("button", name="return_expired", exact=True).click()
        await expect(page.get_by_role("heading", name="The scenario return_expired was played")).to_be_visible()
        [code] = await place.shop.play("partial_delivery")
        await page.goto(f"/operator/orders/{code}")
        await page.get_by_text("Return requested by the customer").click()
        form = page.locator(f"form[action='/operator/orders/{code}/return']")
        await form.get_by_label("Pieces").first.fill("1")
        await form.get_by_role("button", name="Request the return").click()
        asked = (await page.get_by_role("heading", level=1).inner_text()).split()[-1]
        shop = await place.signed_in()
        await shop.goto(f"/shop/returns/{asked}")
        await shop.get_by_label("Approve the return").check()
        await press_final(shop, "Submit decision")
        await expect(shop.locator("#done")).to_contain_text("Your decision is saved.")
        await expect(shop.get_by_role("button", name="Submit decision")).to_have_count(0)


async def test_a_sign_in_link_opens_the_operators_pages(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as process:
        to = ("--url", process.address, "--token", OPERATOR_TOKEN)
        _, out, _ = await kalathi("open", "--print", "--json", *to)
        link = json.loads(out)["url"]
        context = await (await shared_browser()).new_context(base_url=process.address)
        try:
            page = await context.new_page()
            await page.goto("/operator/sandbox")
            await expect(page.get_by_label("Token")).to_be_visible()
            # From a page elsewhere too, such as the one that `--open` writes.
            await page.goto(f"data:text/html,<a href={link}>Open</a>")
            await page.get_by_role("link", name="Open").click()
            await page.wait_for_url(f"{process.address}/")
            await page.goto("/operator/sandbox")
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            await expect(page.get_by_label("Token")).to_have_count(0)
        finally:
            await context.close()
