"""The script's modules, each by itself: in a browser, on pages of a few elements, without a marketplace."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final

import pytest
from playwright.async_api import Page, Route

import kalathi.marketplace.panel
from tests.browser.browsing import call_script, shared_browser

pytestmark = pytest.mark.anyio

_SITE: Final = "http://panel.test"
_ASSETS: Final = resources.files(kalathi.marketplace.panel) / "assets"
_MAIN: Final = '<script type="module" src="/assets/x/main.js"></script>'


@asynccontextmanager
async def script(body: str, **later: str) -> AsyncIterator[Page]:
    """A page with this body and the script. `later` are the bodies of `/later/<name>`."""
    context = await (await shared_browser()).new_context()
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    pages: Mapping[str, str] = {"/": body, **{f"/later/{name}": text for name, text in later.items()}}

    async def answer(route: Route) -> None:
        path = route.request.url.removeprefix(_SITE)
        if path.startswith("/assets/"):
            content = (_ASSETS / path.rpartition("/")[2]).read_text("utf-8")
            await route.fulfill(body=content, content_type="text/javascript")
        else:
            found = pages.get(path.partition("?")[0], "")
            await route.fulfill(body=f"<!doctype html>{_MAIN}{found}", content_type="text/html; charset=utf-8")

    await page.route(f"{_SITE}/**", answer)
    await page.goto(_SITE)
    try:
        yield page
    finally:
        await context.close()
    assert problems == []


async def carry_over(page: Page, fresh: str) -> Any:
    """Carry the changes of `#region` over into a newer copy of it. Return whether that was possible, the values of the
    copy's controls, and its open folds."""
    return await page.evaluate(
        """async (fresh) => {
            const { carryOver } = await import("/assets/x/controls.js");
            const copy = document.createElement("div");
            copy.innerHTML = fresh;
            const isPossible = carryOver(document.getElementById("region"), copy);
            const values = Array.from(copy.querySelectorAll("input, select, textarea"), (control) =>
                control.type === "checkbox" ? control.checked : control.value);
            return [isPossible, values, copy.querySelectorAll("details[open]").length];
        }""",
        fresh,
    )


FORM: Final = """<div id="region"><form action="/a">
<input name="day"><textarea name="note"></textarea><input type="checkbox" name="order" value="1">
<select name="window"><option value="1">one<option value="2">two</select></form>
<details><summary>More</summary></details></div>"""


async def test_typed_texts_ticks_choices_and_folds_are_carried_over() -> None:
    async with script(FORM) as page:
        await page.fill("[name=day]", "Tuesday")
        await page.fill("[name=note]", "Broken")
        await page.check("[name=order]")
        await page.select_option("[name=window]", "2")
        await page.click("summary")
        assert await carry_over(page, FORM) == [True, ["Tuesday", "Broken", True, "2"], 1]


async def test_untouched_controls_take_the_newer_values() -> None:
    async with script(FORM) as page:
        newer = FORM.replace('<input name="day">', '<input name="day" value="Monday">')
        assert await carry_over(page, newer) == [True, ["Monday", "", False, "1"], 0]


async def test_a_typed_text_without_a_place_keeps_the_region_and_changes_nothing() -> None:
    async with script(FORM) as page:
        await page.check("[name=order]")
        await page.fill("[name=note]", "Broken")
        newer = FORM.replace('<textarea name="note"></textarea>', "")
        assert await carry_over(page, newer) == [False, ["", False, "1"], 0]


async def test_ticks_blanks_and_choices_go_with_what_they_belonged_to() -> None:
    async with script(FORM) as page:
        await page.check("[name=order]")
        await page.select_option("[name=window]", "2")
        await page.fill("[name=note]", "  ")
        assert await carry_over(page, "<p>Nothing is left.</p>") == [True, [], 0]


async def test_a_choice_that_is_no_longer_on_offer_keeps_the_region() -> None:
    async with script(FORM) as page:
        await page.select_option("[name=window]", "2")
        assert (await carry_over(page, FORM.replace('<option value="2">two', "")))[0] is False


async def test_the_same_name_in_another_form_is_another_control() -> None:
    body = '<div id="region"><form action="/a"><input name="x"></form><form action="/b"><input name="x"></form></div>'
    async with script(body) as page:
        await page.fill("form[action='/b'] input", "second")
        assert await carry_over(page, body) == [True, ["", "second"], 0]


async def test_every_control_of_a_refused_form_counts_as_changed() -> None:
    body = '<div data-refused="/a"></div>' + FORM.replace('name="day"', 'name="day" value="kept"')
    async with script(body) as page:
        assert await carry_over(page, FORM) == [True, ["kept", "", False, "1"], 0]


BOXES: Final = """<form><input type="checkbox" id="all" data-all="order">
<input type="checkbox" name="order" value="1"><input type="checkbox" name="order" value="2">
<input type="checkbox" name="other"></form>"""


async def test_a_box_for_all_checks_the_boxes_of_its_name_and_shows_what_they_are() -> None:
    async with script(BOXES) as page:
        state = "() => [all.checked, all.indeterminate, document.querySelectorAll('[name]:checked').length]"
        await page.check("#all")
        assert await page.evaluate(state) == [True, False, 2]
        await page.uncheck("[value='1']")
        assert await page.evaluate(state) == [False, True, 1]
        await page.uncheck("[value='2']")
        assert await page.evaluate(state) == [False, False, 0]
        await page.check("[name=other]")
        assert await page.evaluate(state) == [False, False, 1]


def _region(text: str, extra: str = "") -> str:
    return (
        f'<body data-page="/later/page" data-whose="s1" data-news="Changed." data-held="Waits." {extra}>'
        f'<main id="main" tabindex="-1"><p id="news"></p><p id="ended" hidden>Ended</p>'
        f'<p id="another-shop" hidden>Another</p><div data-fresh="state">{text}</div></main></body>'
    )


async def test_a_changed_region_is_replaced_and_announced() -> None:
    async with script(_region("Open"), page=_region("Accepted")) as page:
        assert await call_script(page, "refresh.js", "refresh()") is True
        assert await page.inner_text("[data-fresh]") == "Accepted"
        assert await page.inner_text("#news") == "Changed."


async def test_a_change_of_the_time_left_is_shown_without_an_announcement() -> None:
    quiet = "<span data-quiet>{} min</span>"
    async with script(_region(quiet.format(5)), page=_region(quiet.format(4))) as page:
        await call_script(page, "refresh.js", "refresh()")
        assert await page.inner_text("[data-fresh]") == "4 min"
        assert await page.inner_text("#news") == ""


async def test_a_region_in_which_the_user_types_waits() -> None:
    async with script(_region("Open<input name=x>"), page=_region("Accepted<input name=x>")) as page:
        await page.focus("[name=x]")
        await call_script(page, "refresh.js", "refresh()")
        assert await page.inner_text("[data-fresh]") == "Open"
        assert await page.inner_text("#news") == "Waits."
        await page.focus("#main")
        await call_script(page, "refresh.js", "refresh()")
        assert await page.inner_text("[data-fresh]") == "Accepted"


async def test_the_focus_stays_on_the_same_element_or_goes_to_the_page() -> None:
    before, kept, gone = ("<button>Go</button> 1", "<button>Go</button> 2", "Nothing to press")
    async with script(_region(before), page=_region(kept)) as page:
        await page.focus("button")
        await call_script(page, "refresh.js", "refresh()")
        assert await page.evaluate("document.activeElement.textContent") == "Go"
    async with script(_region(before), page=_region(gone)) as page:
        await page.focus("button")
        await call_script(page, "refresh.js", "refresh()")
        assert await page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize(
    ("later", "shown"),
    [
        (_region("x").replace('data-whose="s1"', 'data-whose="anonymous"'), "ended"),
        (_region("x").replace('data-whose="s1"', 'data-whose="s2"'), "another-shop"),
    ],
)
async def test_a_page_whose_session_has_ended_says_so_and_stays_as_it_is(later: str, shown: str) -> None:
    async with script(_region("Open"), page=later) as page:
        await call_script(page, "refresh.js", "refresh()")
        assert await page.is_visible(f"#{shown}")
        assert await page.inner_text("[data-fresh]") == "Open"
        assert await call_script(page, "refresh.js", "hasEnded()") is True


async def test_a_page_of_a_proxy_changes_nothing() -> None:
    async with script(_region("Open"), page="<h1>Bad gateway</h1>") as page:
        assert await call_script(page, "refresh.js", "refresh()") is False
        assert await page.inner_text("[data-fresh]") == "Open"
        assert not await page.is_visible("#ended")


async def test_a_form_is_sent_once_after_two_clicks_and_again_after_a_return() -> None:
    async with script('<form method="post" action="/later/sent"><button>Send</button></form>') as page:
        await page.evaluate(
            """() => {
                window.sent = 0;
                document.addEventListener("submit", (event) => {
                    window.sent += event.defaultPrevented ? 0 : 1;
                    event.preventDefault();
                });
            }"""
        )
        await page.click("button")
        await page.click("button")
        assert await page.evaluate("window.sent") == 1
        await page.evaluate("window.dispatchEvent(new Event('pageshow'))")
        await page.click("button")
        assert await page.evaluate("window.sent") == 2


async def test_a_text_that_cannot_be_copied_is_selected() -> None:
    body = '<p id="news"></p><pre id="secret">s3cret</pre><button data-copy="secret" data-copied="Copied.">C</button>'
    async with script(body) as page:
        await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        await page.click("button")
        await page.wait_for_function("getSelection().toString() === 's3cret'")
        assert await page.inner_text("#news") == ""
