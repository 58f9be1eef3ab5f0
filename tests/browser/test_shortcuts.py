"""The list of orders by keyboard, marks of new orders, the number in the title, and the optional sound."""

import asyncio
from pathlib import Path

import pypdfium2
import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.browsing import BrowserSetup, marketplace_in_browser, refresh

pytestmark = pytest.mark.anyio


async def _place(place: BrowserSetup, number: int) -> list[str]:
    return list(await asyncio.gather(*(place.shop.cart(LAMP=1) for _ in range(number))))


async def _press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def _wait_for_vouchers(place: BrowserSetup, codes: list[str]) -> None:
    async with asyncio.timeout(20):
        for code in codes:
            while not (await place.caller.operate("GET", f"/marketplace/orders/{code}"))["order"]["courier_voucher"]:
                await asyncio.sleep(0.05)


async def _as_download(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, headers={**answer.headers, "content-disposition": "attachment"})


async def test_forty_open_orders_are_worked_off_by_keyboard(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        codes = await _place(place, 40)
        page = await place.signed_in()
        # Seven keys in all, far below two minutes of typing.
        await _press(page, "2")
        await page.wait_for_url("**/shop/orders?state=open")
        await _press(page, "*", "a")
        await expect(page.locator("#bulk")).to_contain_text("40 orders are accepted.")
        await _press(page, "3")
        await page.wait_for_url("**/shop/orders?state=accepted")
        await expect(page.locator("tbody tr")).to_have_count(40)
        await _wait_for_vouchers(place, codes)
        await page.route("**/vouchers.pdf?state=accepted", _as_download)
        async with page.expect_download() as download:
            await _press(page, "*", "v")
        with pypdfium2.PdfDocument(await (await download.value).path()) as document:
            assert len(document) == 40
        # The ticks stay.
        await refresh(page)
        await _press(page, "r")
        # The download has marked them as ready, as for every shop that does not mark parcels itself.
        await expect(page.locator("#bulk")).to_contain_text("40 orders")


async def test_rows_are_walked_selected_and_opened(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        await _place(place, 3)
        page = await place.signed_in()
        rows = page.locator("tbody tr")
        await _press(page, "j", "j", "x")
        await expect(rows.nth(1).get_by_role("checkbox")).to_be_checked()
        await _press(page, "k")
        await expect(rows.nth(0).get_by_role("link")).to_be_focused()
        await _press(page, "/")
        await expect(page.locator("#search")).to_be_focused()
        # In a text field, keys are letters.
        await _press(page, "j", "x", "a")
        await expect(page.locator("#search")).to_have_value("jxa")
        await page.locator("#search").fill("")
        await page.locator("h1").click()
        await _press(page, "j", "Enter")
        await page.wait_for_url("**/shop/orders/2*")
        await _press(page, "a")
        await expect(page.locator("#done")).to_contain_text("The order is accepted.")


async def test_the_help_lists_the_keys_and_turns_them_off(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        await _place(place, 1)
        page = await place.signed_in()
        await _press(page, "?")
        dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
        await expect(dialog).to_contain_text("Accept the selected orders")
        await dialog.get_by_label("Shortcuts are on").uncheck()
        await dialog.get_by_role("button", name="Close").click()
        await page.reload()
        await _press(page, "/")
        await expect(page.locator("#search")).not_to_be_focused()
        await page.get_by_role("button", name="Keyboard shortcuts").click()
        await dialog.get_by_label("Shortcuts are on").check()
        await _press(page, "Escape", "/")
        await expect(page.locator("#search")).to_be_focused()


async def test_new_orders_are_marked_until_they_are_opened_and_counted_in_the_title(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        first, second = await _place(place, 2)
        page = await place.signed_in()
        await expect(page).to_have_title("(2) Orders · Kalathi")
        marks = page.locator("[data-unopened]")
        await expect(page.locator("[data-unopened]:visible")).to_have_count(2)
        await page.goto(f"/shop/orders/{first}")
        await page.goto("/shop/orders")
        await expect(marks.and_(page.locator(f"[data-unopened='{first}']"))).to_be_hidden()
        await expect(page.locator(f"[data-unopened='{second}']")).to_be_visible()
        [third] = await _place(place, 1)
        await expect(page.locator(f"[data-unopened='{third}']")).to_be_visible()
        await expect(page).to_have_title("(3) Orders · Kalathi")


async def test_the_sound_is_off_until_it_is_wanted_and_plays_for_more_open_orders(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.page()
        await page.add_init_script(
            "window.played = 0; const start = OscillatorNode.prototype.start;"
            "OscillatorNode.prototype.start = function (...given) { window.played += 1; start.apply(this, given); };"
        )
        await page.goto("/sign-in")
        await page.fill("input[name=token]", place.shop.token)
        await page.press("input[name=token]", "Enter")
        await page.wait_for_url("**/shop/orders")
        await _place(place, 1)
        await expect(page).to_have_title("(1) Orders · Kalathi")
        assert await page.evaluate("window.played") == 0
        await page.get_by_label("Sound for new orders while this page is visible").check()
        assert await page.evaluate("window.played") == 1, "the choice itself lets the user hear it"
        await _place(place, 1)
        await expect(page).to_have_title("(2) Orders · Kalathi")
        assert await page.evaluate("window.played") == 2
