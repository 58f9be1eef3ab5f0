"""The layout of every page in both languages: menus fit in one line on a desktop, buttons do not touch on a phone."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import marketplace_in_browser
from tests.browser.test_accessibility import create_pages

pytestmark = pytest.mark.anyio

# The gap in pixels that two buttons need between them.
_GAP = 4
_BUTTONS = """
() => [...document.querySelectorAll("main button, main .button, header button")]
  .filter((button) => button.checkVisibility({ visibilityProperty: true }))
  .map((button) => ({ text: button.textContent.trim(), ...button.getBoundingClientRect().toJSON() }))
  .filter((box) => box.width > 0)
"""


def _find_touching(boxes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The pairs of buttons with less than the gap between them."""
    return [
        (first["text"], second["text"])
        for number, first in enumerate(boxes)
        for second in boxes[number + 1 :]
        if first["left"] < second["right"] + _GAP
        and second["left"] < first["right"] + _GAP
        and first["top"] < second["bottom"] + _GAP
        and second["top"] < first["bottom"] + _GAP
    ]


@pytest.mark.parametrize("locale", ["el-GR", "en-GB"])
async def test_menus_fit_and_buttons_do_not_touch(tmp_path: Path, locale: str) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        shops, operators = await create_pages(place)
        for width in (1280, 390):
            page = await place.signed_in(locale=locale, viewport={"width": width, "height": 900})
            for address in (*shops, *operators):
                await page.goto(address)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, address
                touching = _find_touching(await page.evaluate(_BUTTONS))
                assert not touching, (address, width, touching)
                if width == 1280:
                    height = await page.locator("header nav.places").evaluate("element => element.offsetHeight")
                    assert height < 48, (address, height)


async def test_badges_break_only_between_words(tmp_path: Path) -> None:
    async with marketplace_in_browser(tmp_path) as place:
        await place.shop.play("limited_stock")
        page = await place.signed_in(locale="el-GR", viewport={"width": 390, "height": 900})
        for address in ("/shop/orders", "/operator/orders"):
            await page.goto(address)
            for badge in await page.locator(".state").all():
                words = (await badge.inner_text()).split()
                height = await badge.evaluate("element => element.getClientRects().length")
                assert height <= max(1, len(words)), words
