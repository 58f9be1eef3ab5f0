"""Live pages during input: an update loses no click and no form input, and no page shows another shop's data."""

from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.browsing import BrowserSetup, marketplace_in_browser, press_final, refresh
from tests.market import LOCATION

pytestmark = pytest.mark.anyio

HELD = "It appears when you finish here"


async def test_an_update_during_a_click_does_not_lose_the_click(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await _focused_order(place)
        await page.get_by_role("button", name="Hand over to the courier").hover()
        await page.mouse.down()
        await refresh(page)
        await page.mouse.up()
        await expect(page.locator("[data-fresh=head]")).to_contain_text("Dispatched")


async def test_an_update_during_a_key_press_does_not_lose_the_press(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await _focused_order(place)
        button = page.get_by_role("button", name="Hand over to the courier")
        await button.evaluate("button => { window.dispatchEvent(new Event('focus')); button.focus() }")
        await page.keyboard.down("Space")
        await refresh(page)
        await page.keyboard.up("Space")
        await expect(page.locator("[data-fresh=head]")).to_contain_text("Dispatched")


async def test_updates_resume_after_a_press_without_a_release(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        await place.shop.cart(LAMP=1)
        page = await place.signed_in()
        # A scrollbar reports the press, but no release.
        await page.evaluate("document.dispatchEvent(new PointerEvent('pointerdown'))")
        code = await place.shop.cart(LAMP=1)
        await expect(page.locator("#news")).to_contain_text(HELD)
        await expect(page.locator(f"#order-{code}")).to_have_count(0)
        await page.mouse.move(300, 300)
        await expect(page.locator(f"#order-{code}")).to_be_visible()


async def test_a_change_that_was_undone_is_no_longer_announced(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        [code] = await place.shop.play("accept")
        page = await place.signed_in()
        await page.goto(f"/shop/orders/{code}")
        await page.get_by_label("New date").focus()
        await _call(place, code, "set_as_ready")
        await expect(page.locator("#news")).to_contain_text(HELD)
        await _call(place, code, "set_as_not_ready")
        await expect(page.locator("#news")).not_to_contain_text(HELD)
        await expect(page.get_by_label("New date")).to_be_focused()


async def test_a_window_does_not_switch_to_a_shop_opened_in_another(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        window = await place.signed_in()
        of_the_order = await window.context.new_page()
        await of_the_order.goto(f"/shop/orders/{code}")
        reason = of_the_order.get_by_label("Reason", exact=True).last
        await reason.fill("Έσπασε")
        facts = {"name": "Το άλλο", "domain": "other.example", "locations": [LOCATION]}
        other = await place.caller.operate("POST", "/marketplace/shops", facts)
        async with window.context.expect_page() as opened:
            await window.evaluate("window.open('/sign-in')")
        page = await opened.value
        await page.fill("input[name=token]", other["api_token"])
        await page.press("input[name=token]", "Enter")
        await expect(page.locator(".name")).to_have_text("Το άλλο")
        place.expected_statuses.add(404)
        for shown in (window, of_the_order):
            await expect(shown.get_by_text("Another shop has been opened in this browser, so")).to_be_visible()
            await expect(shown.locator(".name")).to_have_text(place.shop.name)
        await expect(window.locator(f"#order-{code}")).to_be_visible()
        await expect(reason).to_have_value("Έσπασε")
        # The form is refused if it is sent anyway: it was written for the other shop.
        place.expected_statuses.add(403)
        await press_final(of_the_order, "Reject the order")
        await expect(of_the_order.get_by_text("Another shop has been opened in this browser since")).to_be_visible()
        await expect(of_the_order.locator("#written")).to_contain_text("Έσπασε")
        await window.locator("#another-shop a").click()
        await expect(window.locator(".name")).to_have_text("Το άλλο")


async def test_a_sign_out_is_shown_in_every_window_and_keeps_form_input(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code, page = await place.at_an_order()
        settings = await page.context.new_page()
        await settings.goto("/shop/settings")
        await settings.get_by_label("Address for orders").fill("https://new.example/")
        reason = page.get_by_label("Reason", exact=True).last
        await reason.fill("Έσπασε")
        other = await page.context.new_page()
        await other.goto("/shop/orders")
        await other.get_by_role("button", name="Sign out").click()
        for shown in (page, settings):
            await expect(shown.get_by_text("Your session has ended. Copy")).to_be_visible()
        await expect(reason).to_have_value("Έσπασε")
        place.expected_statuses.add(401)
        await press_final(page, "Reject the order")
        await expect(page.get_by_role("alert").first).to_contain_text("Nothing was done. Sign in and try again.")
        await expect(page.locator("#written")).to_contain_text("Έσπασε")
        await page.fill("input[name=token]", place.shop.token)
        await page.press("input[name=token]", "Enter")
        await page.wait_for_url(f"**/shop/orders/{code}")


async def test_a_refused_form_blocks_no_updates_and_a_reload_does_not_resend(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code, page = await place.at_an_order()
        place.expected_statuses.add(422)
        await press_final(page, "Reject these items")
        await expect(page.get_by_role("alert").first).to_contain_text("Choose a reason for at least one line")
        await expect(page).to_have_url(f"{place.address}/shop/orders/{code}")
        await place.caller.operate("POST", f"/marketplace/orders/{code}/cancel")
        await expect(page.get_by_role("button", name="Accept the order")).to_have_count(0)
        await expect(page.get_by_role("button", name="Reject these items")).to_have_count(0)
        await expect(page.locator("#news")).not_to_contain_text(HELD)
        await page.reload()
        await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_reload_does_not_resend_a_form_of_the_same_address(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        page = await place.signed_in()
        await page.goto("/shop/settings")
        await page.get_by_label("Address for orders").fill("ftp://x")
        place.expected_statuses.add(422)
        posts = []
        page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        await page.get_by_role("button", name="Save the settings").click()
        await expect(page.get_by_role("alert").first).to_contain_text("Nothing was saved.")
        await page.reload()
        await expect(page.get_by_role("alert")).to_have_count(0)
        assert len(posts) == 1


async def test_the_other_forms_of_a_page_update_after_a_refusal(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        await place.caller.operate("PATCH", f"/marketplace/shops/{place.shop.id}", {"fulfillment_mode": "fbm"})
        code, page = await place.at_an_order()
        await page.get_by_role("button", name="Accept the order").click()
        await page.get_by_label("Invoice: PDF").first.set_input_files(
            {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"no PDF"}
        )
        place.expected_statuses.add(422)
        await page.get_by_role("button", name="Upload the invoice").click()
        await expect(page.get_by_role("alert").first).to_contain_text("Nothing was saved.")
        await _call(place, code, "tracking_details", {"tracking_details": [{"courier": "acs", "tracking_code": "7"}]})
        await expect(page.get_by_label("Tracking code").first).to_have_value("7")


async def test_the_select_all_box_follows_the_other_boxes(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        [first] = await place.shop.play("accept")
        page = await place.signed_in()
        every = page.locator("#all")
        await every.check()
        await expect(page.get_by_label(f"Select {first}")).to_be_checked()
        [second] = await place.shop.play("accept")
        box = page.get_by_label(f"Select {second}")
        await expect(box).not_to_be_checked()
        await expect(every).not_to_be_checked()
        assert await every.evaluate("box => box.indeterminate")
        await box.check()
        await expect(every).to_be_checked()
        await box.uncheck()
        await expect(every).not_to_be_checked()


async def test_vouchers_can_be_downloaded_twice_in_a_row(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        codes = [code for _ in range(2) for code in await place.shop.play("accept")]
        page = await place.signed_in()
        # As in a browser that keeps PDFs instead of showing them.
        await page.route("**/vouchers.pdf", _as_download)
        for code in codes:
            await page.get_by_label(f"Select {code}").check()
            async with page.expect_download() as download:
                await page.get_by_role("button", name="Vouchers (PDF)").click()
            assert (await (await download.value).path()).read_bytes().startswith(b"%PDF-")
            await page.get_by_label(f"Select {code}").uncheck()


async def _refuse_updates(route: Route) -> None:
    if route.request.resource_type == "fetch":
        await route.fulfill(status=503)
    else:
        await route.continue_()


async def test_a_form_of_an_older_session_comes_back_filled_in(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await place.shop.cart(LAMP=1)
        page = await place.page()
        await page.goto(f"/operator/orders/{code}")
        await page.locator("#do-reject").click()
        await page.get_by_label("Reason, which the shop sees").fill("Δεν υπάρχει")
        # The page gets no update before the form is sent. An update would bring the form's token of the new session.
        await page.route(f"**/operator/orders/{code}", _refuse_updates)
        other = await page.context.new_page()
        await other.goto(f"/operator/shops/{place.shop.id}")
        await other.get_by_role("button", name="Sign in as this shop").click()
        await other.wait_for_url("**/shop/orders")
        place.expected_statuses |= {403, 503}
        await press_final(page, "Reject")
        await expect(page.get_by_role("alert")).to_contain_text("Your session changed since you opened this form.")
        await expect(page.get_by_label("Reason, which the shop sees")).to_have_value("Δεν υπάρχει")
        await press_final(page, "Reject")
        await expect(page.locator("[data-fresh=head]")).to_contain_text("Rejected")


async def test_input_of_a_refused_form_survives_an_update(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await _delivered(place)
        page = await place.page()
        await page.goto(f"/operator/orders/{code}")
        await page.locator("#do-return").click()
        await page.get_by_label("Nothing is sent back").check()
        place.expected_statuses.add(422)
        await page.get_by_role("button", name="Request the return").click()
        await expect(page.get_by_role("alert")).to_contain_text("Enter a quantity")
        await refresh(page)
        await expect(page.get_by_label("Nothing is sent back")).to_be_checked()


async def test_text_of_a_refused_form_is_not_announced_as_a_change(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code = await _delivered(place)
        line = (await place.caller.operate("GET", f"/marketplace/orders/{code}"))["order"]["line_items"][0]["id"]
        asked = {"line_items": [{"id": line, "quantity": 1, "reason": "faulty", "photos": ["https://x.example/1.jpg"]}]}
        answer = await place.caller.operate("POST", f"/marketplace/orders/{code}/returns", asked)
        returned = answer["return"]["return_code"]
        page = await place.signed_in()
        await page.goto(f"/shop/returns/{returned}")
        comment = page.get_by_label("Comment for the customer")
        await comment.fill("Δεν είναι δικό μας")
        await page.locator("form[action$=review]").evaluate("form => { form.noValidate = true }")
        place.expected_statuses.add(422)
        await press_final(page, "Submit decision")
        await expect(page.get_by_role("alert").first).to_contain_text("Nothing was saved.")
        await refresh(page)
        await expect(page.locator("#news")).to_have_text("")
        await expect(comment).to_have_value("Δεν είναι δικό μας")


async def test_a_selected_row_that_leaves_the_list_does_not_stop_updates(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        [code] = await place.shop.play("accept")
        page = await place.signed_in()
        await page.goto("/shop/orders?state=accepted")
        await page.get_by_label(f"Select {code}").check()
        await place.caller.operate("POST", f"/marketplace/orders/{code}/hand_over")
        [new] = await place.shop.play("accept")
        await expect(page.locator(f"#order-{new}")).to_be_visible()
        await expect(page.locator(f"#order-{code}")).to_have_count(0)


async def _as_download(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, headers={**answer.headers, "content-disposition": "attachment"})


async def _focused_order(place: BrowserSetup) -> Page:
    """An operator's order page with the focus on a choice of pickup windows that are no longer offered."""
    [code] = await place.shop.play("accept")
    page = await place.page()
    await page.goto(f"/operator/orders/{code}")
    await page.locator("#do-reschedule").click()
    await page.get_by_label("Pickup window").focus()
    await place.caller.operate("POST", "/marketplace/clock", {"advance_seconds": 3 * 86_400})
    await refresh(page)
    await expect(page.locator("#news")).to_contain_text(HELD)
    return page


async def _delivered(place: BrowserSetup) -> str:
    [code] = await place.shop.play("accept")
    for step in ("hand_over", "deliver"):
        await place.caller.operate("POST", f"/marketplace/orders/{code}/{step}")
    return code


async def _call(place: BrowserSetup, code: str, action: str, body: object = None) -> None:
    address = f"{place.address}/merchants/ecommerce/orders/{code}/{action}"
    headers = {"Authorization": f"Bearer {place.shop.token}", "Accept": "application/vnd.skroutz+json; version=3.0"}
    async with place.caller.session.post(address, headers=headers, json=body) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_tick_stays_with_its_form_during_an_update(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        code, page = await place.at_an_order()
        whole = page.locator("form", has=page.get_by_role("button", name="Reject the order", exact=True))
        items = page.locator("form", has=page.get_by_role("button", name="Reject these items", exact=True))
        await whole.get_by_label("I understand").check()
        # Both forms have the same address and the same box. Other windows are on offer, so the forms are replaced.
        await page.locator("[data-fresh=actions]").evaluate("region => { region.firstElementChild.id = 'old' }")
        await place.caller.operate("POST", f"/marketplace/orders/{code}/extend", {"hours": 100})
        await place.caller.operate("POST", "/marketplace/clock", {"advance_seconds": 3 * 86_400})
        await place.caller.operate("POST", f"/marketplace/orders/{code}/extend", {"hours": 72})
        await expect(page.locator("#old")).to_have_count(0)
        await expect(whole.get_by_label("I understand")).to_be_checked()
        await expect(items.get_by_label("I understand")).not_to_be_checked()
