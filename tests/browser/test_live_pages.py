"""Live pages: an update loses no input, and only changes of this page are announced."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from tests.browser.browsing import call_script, marketplace_in_browser, refresh
from tests.checkup.sample_report import sample_report

pytestmark = pytest.mark.anyio


async def test_open_sections_and_form_input_survive_an_update(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        page = await place.page()
        await page.goto(f"/operator/orders/{code}")
        await page.get_by_text("Reject as support").click()
        await page.get_by_label("Reason, which the shop sees").fill("Δεν υπάρχει")
        await page.locator("#do-extend").click()
        await place.shop.cart(CABLE=1)  # Another order is no news here.
        await place.caller.operate("POST", f"/marketplace/orders/{code}/extend", {"hours": 5})
        await expect(page.locator(".timeline").first).to_contain_text("More time to answer")
        await expect(page.locator("#news")).to_have_text("The order has changed.")
        await expect(page.locator("#do-extend")).to_be_focused()
        await expect(page.get_by_label("Reason, which the shop sees")).to_be_visible()
        await expect(page.get_by_label("Reason, which the shop sees")).to_have_value("Δεν υπάρχει")
        await call_script(page, "news.js", "showNews('')")
        await place.shop.cart(CABLE=1)
        await refresh(page)
        await expect(page.locator("#news")).to_have_text("")


async def test_a_checkup_that_the_page_starts_appears_on_it(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.page()
        await page.goto(f"/operator/shops/{place.shop.id}/checkup")
        await page.get_by_role("button", name="Run the checkup").click()
        await expect(page.get_by_text("The checkup has started.")).to_be_visible()
        # No program of this shop calls the marketplace, so the run ends with its set-up, without a reload by hand.
        await expect(page.locator("[data-fresh=report]")).to_contain_text("No call arrived at", timeout=20_000)
        await expect(page.locator("[data-fresh=report]")).to_contain_text("ended")


async def test_a_report_appears_while_it_grows(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        api, page = f"/marketplace/shops/{place.shop.id}/checkup", await place.page()
        await page.goto(f"/operator/shops/{place.shop.id}/checkup")
        await place.caller.operate("PUT", api, sample_report(place.shop.id))
        await expect(page.locator("#check-duplicate")).to_contain_text("2 calls accept")
        await page.get_by_text("Request and answer").click()
        await expect(page.get_by_text("curl -i http://x")).to_be_visible()


async def test_a_selected_voucher_stays_selected_while_the_list_updates(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        [code] = await place.shop.play("accept")
        page = await place.signed_in()
        box = page.get_by_label(f"Select {code}")
        await box.check()
        new = await place.shop.cart(LAMP=1)
        await expect(page.locator(f"#order-{new}")).to_be_visible()
        await expect(box).to_be_checked()
        await expect(box).to_be_focused()


async def test_typed_text_is_not_replaced_while_its_field_is_in_use(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code, page = await place.at_an_order()
        reason = page.get_by_label("Reason", exact=True).last
        await reason.fill("Έσπασε")
        await place.caller.operate("POST", f"/marketplace/orders/{code}/cancel")
        await expect(page.locator("[data-fresh=head]")).to_contain_text("Cancelled")
        await expect(page.locator("#news")).to_contain_text("It appears when you finish here")
        await expect(reason).to_have_value("Έσπασε")
        await reason.fill("")
        await page.get_by_role("heading", level=1).click()
        await expect(reason).to_have_count(0)


async def test_a_changed_form_updates_after_it_loses_the_focus(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        [code] = await place.shop.play("accept")
        page = await place.page()
        await page.goto(f"/operator/orders/{code}")
        await page.locator("#do-reschedule").click()
        window = page.get_by_label("Pickup window")
        await window.focus()
        first = await window.locator("option").first.inner_text()
        await place.caller.operate("POST", "/marketplace/clock", {"advance_seconds": 3 * 86_400})
        await refresh(page)
        await expect(page.locator("#news")).to_contain_text("It appears when you finish here")
        await expect(window).to_be_focused()
        await expect(window.locator("option").first).to_have_text(first)
        await page.get_by_role("heading", level=1).click()
        await expect(window.locator("option").first).not_to_have_text(first)
        await expect(window).to_be_visible()


async def test_the_time_left_updates_without_an_announcement(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        await place.shop.cart(LAMP=1)
        page = await place.signed_in()
        left = page.locator("tbody .left")
        before = await left.inner_text()
        await place.caller.operate("POST", "/marketplace/clock", {"advance_seconds": 3600})
        await refresh(page)
        await expect(left).not_to_have_text(before)
        await expect(page.locator("#news")).to_have_text("")


async def test_an_ended_session_is_shown_and_keeps_form_input(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code, page = await place.at_an_order()
        reason = page.get_by_label("Reason", exact=True).last
        await reason.fill("Έσπασε")
        await place.caller.operate("POST", f"/marketplace/shops/{place.shop.id}/api_token")
        await place.caller.operate("POST", f"/marketplace/orders/{code}/extend", {"hours": 5})
        await expect(page.get_by_role("alert")).to_contain_text("Your session has ended.")
        await expect(reason).to_have_value("Έσπασε")
        await page.get_by_role("link", name="sign in again").click()
        await page.wait_for_url(f"**/sign-in?then=%2Fshop%2Forders%2F{code}")


async def test_a_session_that_ends_before_the_page_follows_changes_is_shown_without_an_error(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.signed_in()
        code = await place.shop.cart(LAMP=1)
        may_follow = asyncio.Event()

        async def hold_back(route: Route) -> None:
            await may_follow.wait()
            await route.continue_()

        await page.route("**/live?*", hold_back)
        await page.goto(f"/shop/orders/{code}")
        await place.caller.operate("POST", f"/marketplace/shops/{place.shop.id}/api_token")
        may_follow.set()
        await expect(page.get_by_role("alert")).to_contain_text("Your session has ended.")


async def test_more_windows_than_browser_connections_all_update(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        first = await place.signed_in()
        windows = [first]
        for _ in range(7):
            page = await first.context.new_page()
            await page.goto("/shop/orders")
            windows.append(page)
        code = await place.shop.cart(LAMP=1)
        for page in windows:
            await expect(page.locator(f"#order-{code}")).to_be_visible()
