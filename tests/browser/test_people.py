"""People in a real browser: invite, join, sign in, and see only what the role allows; with and without script."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.browsing import BrowserSetup, check_accessible, marketplace_in_browser

pytestmark = pytest.mark.anyio

_PASSWORD = "correct horse battery"


async def _invite(page: Page, role: str) -> str:
    await page.goto("/shop/people")
    await page.locator("form[action='/shop/people'] select").select_option(role)
    await page.get_by_role("button", name="Make an invitation").click()
    return await page.locator("#secret").inner_text()


async def _join(place: BrowserSetup, link: str, name: str, *, has_script: bool) -> Page:
    page = await place.page(java_script_enabled=has_script)
    await page.goto(link)
    if has_script:
        await check_accessible(page, "/invitation")
    await page.get_by_label("Your name or e-mail address").fill(name)
    await page.get_by_label("Password").fill(_PASSWORD)
    await page.get_by_role("button", name="Join").click()
    await expect(page.locator("#done")).to_contain_text("Welcome.")
    return page


@pytest.mark.parametrize("has_script", [True, False])
async def test_an_owner_invites_a_reader_who_sees_no_form(tmp_path: Path, has_script: bool) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        first = await place.signed_in(java_script_enabled=has_script)
        owner = await _join(place, await _invite(first, "owner"), "Μαρία", has_script=has_script)
        reader = await _join(place, await _invite(owner, "read_only"), "Ρένα", has_script=has_script)
        await reader.goto(f"/shop/orders/{code}")
        await expect(reader.get_by_role("heading", name=f"Order {code}")).to_be_visible()
        await expect(reader.get_by_role("button", name="Accept the order")).to_have_count(0)
        await expect(reader.get_by_role("heading", name="Reject items")).to_have_count(0)
        await owner.goto(f"/shop/orders/{code}")
        await owner.get_by_role("button", name="Accept the order").click()
        await expect(owner.locator("#done")).to_contain_text("The order is accepted.")
        await reader.goto(f"/shop/orders/{code}")
        await expect(reader.get_by_text("Μαρία (shop)").first).to_be_visible()
        # The token no longer opens the pages, but the name does.
        again = await place.page(java_script_enabled=has_script)
        await again.goto("/sign-in")
        await again.get_by_label("Name").fill("μαρια")
        await again.get_by_label("Password").fill(_PASSWORD)
        await again.get_by_role("button", name="Sign in").first.click()
        await again.wait_for_url("**/shop/orders")
