"""The daily work of shop and operator, in both languages, on a desktop and a phone, with and without script."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.browsing import check_accessible, marketplace_in_browser

pytestmark = pytest.mark.anyio


async def _submit(page: Page, action: str) -> None:
    """Confirm the form if it asks for that, and press its button."""
    form = page.locator(f"form[action='{action}']").first
    for box in await form.locator("input[name=confirmed]").all():
        await box.check()
    await form.locator("button:visible").last.click()


@pytest.mark.parametrize("has_script", [True, False])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("locale", ["el-GR", "en-GB"])
async def test_a_day_of_work(tmp_path: Path, locale: str, width: int, has_script: bool) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        codes = [await place.shop.cart(LAMP=2) for _ in range(3)]
        window = {"width": width, "height": 900}
        page = await place.signed_in(locale=locale, viewport=window, java_script_enabled=has_script)
        # Search, and save the view.
        await page.goto("/shop/orders?state=open")
        await page.locator("input[type=search]").fill(codes[0])
        await page.locator("input[type=search]").press("Enter")
        await expect(page.locator("tbody tr")).to_have_count(1)
        await page.goto("/shop/orders?state=open")
        await page.locator("input[name=view_name]").fill("Σήμερα")
        await _submit(page, "/shop/views?state=open")
        await expect(page.get_by_role("link", name="Σήμερα")).to_be_visible()
        # Accept two of them at once.
        for code in codes[:2]:
            await page.locator(f"input[name=order][value='{code}']").check()
        await page.locator("button[formaction^='/shop/bulk/accept']").click()
        await expect(page.locator("#bulk")).to_have_attribute("data-succeeded", "2")
        # Note something on the third, and reject a piece of it. A new order follows.
        here = f"/shop/orders/{codes[2]}"
        await page.goto(here)
        await page.locator("textarea[name=new_note]").fill("Έσπασε το ένα")
        await _submit(page, f"{here}/note")
        await expect(page.get_by_text("Έσπασε το ένα").first).to_be_visible()
        await page.locator("input[name='line_items[0][available_quantity]']").fill("1")
        await _submit(page, f"{here}/reject")
        await expect(page.locator("#done")).to_be_visible()
        if has_script:
            await check_accessible(page, here)
        # The operator finds the customer's orders.
        await page.goto("/operator/customers")
        await page.locator("main input[type=search]").fill("παπαδοπουλου")
        await page.locator("main input[type=search]").press("Enter")
        for code in codes:
            await expect(page.get_by_role("link", name=code)).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
