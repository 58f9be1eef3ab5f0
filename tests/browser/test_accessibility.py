"""Accessibility of the pages: keyboard only, phone, no JavaScript, screen reader."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.browsing import BrowserSetup, check_accessible, marketplace_in_browser, press_final
from tests.checkup.sample_report import sample_report

pytestmark = pytest.mark.anyio


async def create_pages(place: BrowserSetup) -> tuple[Sequence[str], Sequence[str]]:
    """Addresses of the shop's pages and of the operator's, each with something to see."""
    [open_order] = await place.shop.play("new_order")
    [accepted] = await place.shop.play("set_as_ready")
    await place.shop.play("return_expired")
    await place.shop.play("invoice")
    await place.caller.operate("POST", "/marketplace/orders/" + accepted + "/hand_over")
    returned = (await place.caller.operate("GET", "/marketplace/returns"))["returns"][0]["code"]
    await place.caller.operate("PUT", f"/marketplace/shops/{place.shop.id}/checkup", sample_report(place.shop.id))
    shops = (
        "/shop/orders",
        f"/shop/orders/{open_order}",
        f"/shop/orders/{accepted}",
        "/shop/returns",
        f"/shop/returns/{returned}",
        "/shop/warehouse",
        "/shop/warehouse/purchase-orders",
        "/shop/warehouse/suppliers",
        "/shop/listings",
        "/shop/listing?uid=KALATHI-STICK",
        "/shop/settings",
        "/shop/overview",
        "/shop/people",
        "/shop/history",
    )
    operators = (
        "/",
        "/operator/orders",
        f"/operator/orders/{open_order}",
        f"/operator/orders/{accepted}",
        "/operator/returns",
        f"/operator/returns/{returned}",
        "/operator/deliveries",
        f"/operator/deliveries/{place.shop.id}.{accepted}.2",
        "/operator/shops",
        f"/operator/shops/{place.shop.id}",
        f"/operator/shops/{place.shop.id}/checkup",
        f"/operator/cart?shop={place.shop.id}",
        "/operator/sandbox",
        "/operator/people",
        "/operator/history",
        "/operator/customers?q=kalathi",
    )
    return shops, operators


async def test_every_page_passes_axe_and_fits_the_window_width(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        shops, operators = await create_pages(place)
        for options in (
            {"color_scheme": "light"},
            {"color_scheme": "dark", "locale": "el-GR", "viewport": {"width": 360, "height": 740}},
        ):
            page = await place.page(**options)
            await page.goto("/sign-in")
            await check_accessible(page, "/sign-in")
            await page.fill("input[name=token]", place.shop.token)
            await page.press("input[name=token]", "Enter")
            await page.wait_for_url("**/shop/orders")
            for address in (*shops, *operators, "/operator/orders/none", "/docs"):
                if address == "/operator/orders/none":
                    await page.goto(address)
                    # The browser itself notes on the console that a page came with 404.
                    assert "404" in place.complaints.pop()
                else:
                    answer = await page.goto(address)
                    assert answer is not None
                    assert answer.status == 200, address
                await check_accessible(page, address)
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= page.viewport_size["width"] if page.viewport_size else 0, (address, width)


async def test_an_order_is_accepted_with_the_keyboard_alone(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        page = await place.page()
        await page.goto("/sign-in")
        await page.keyboard.type(place.shop.token)  # The field has the focus from the start.
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/shop/orders")
        await page.keyboard.press("Tab")
        await expect(page.locator(":focus")).to_have_text("Skip to the content")
        await expect(page.locator(":focus")).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await _tab_to(page, code)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/shop/orders/{code}")
        await _tab_to(page, "Accept the order")
        outline = await page.locator(":focus").evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline == "solid"
        await page.keyboard.press("Enter")
        await expect(page.locator("#done")).to_contain_text("The order is accepted.")


async def _tab_to(page: Page, text: str) -> None:
    for _ in range(40):
        await page.keyboard.press("Tab")
        if (await page.locator(":focus").inner_text()).strip() == text:
            return
    raise AssertionError(f"{text} is not reached")


async def test_the_focused_row_keeps_the_focus_when_the_list_changes(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        page = await place.signed_in()
        await page.locator(f"#order-{code}").focus()
        new = await place.shop.cart(LAMP=1)
        await expect(page.locator(f"#order-{new}")).to_be_visible()
        await expect(page.locator(f"#order-{code}")).to_be_focused()
        await expect(page.locator("#news")).to_contain_text("The list has changed.")


async def test_a_double_click_submits_a_form_once(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        _, page = await place.at_an_order()
        await page.get_by_role("button", name="Accept the order").dblclick()
        await expect(page.locator("#done")).to_contain_text("The order is accepted.")
        assert await page.get_by_role("alert").count() == 0


async def test_pages_work_without_javascript(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code, other = await place.shop.cart(LAMP=2), await place.shop.cart(CABLE=2)
        page = await place.signed_in(java_script_enabled=False)
        await expect(page.get_by_role("link", name=code)).to_be_visible()
        await page.get_by_role("link", name=code).click()
        await page.get_by_role("button", name="Accept the order").click()
        await expect(page.locator("#done")).to_contain_text("The order is accepted.")
        await page.goto(f"/shop/orders/{other}")
        await page.get_by_label("Reason").last.fill("Έσπασαν")
        await press_final(page, "Reject the order")
        await expect(page.locator("#done")).to_contain_text("The order is rejected.")
        await page.goto(f"/operator/deliveries/{place.shop.id}.{code}.1")
        await page.get_by_text("Show the command").click()
        await expect(page.get_by_text("curl -i -X POST")).to_be_visible()
        await expect(page.get_by_role("button", name="Copy as curl")).to_be_hidden()
        await page.get_by_role("button", name="Send again").click()
        await expect(page.locator("#done")).to_contain_text("The webhook is sent again.")
        await page.get_by_role("link", name="Ελληνικά").click()
        await expect(page.get_by_role("heading", name="Η διαφορά")).to_have_count(0)
        await expect(page.get_by_role("heading", name="Προσπάθειες")).to_be_visible()


async def test_an_order_is_accepted_on_a_phone(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        page = await place.signed_in(
            viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2
        )
        await page.get_by_role("link", name=code).tap()
        button = page.get_by_role("button", name="Accept the order")
        box = await button.bounding_box()
        assert box is not None
        assert box["height"] >= 40
        await button.tap()
        await expect(page.locator("#done")).to_contain_text("The order is accepted.")
