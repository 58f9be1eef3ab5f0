"""Screenshots of the README and the docs match the pages. `make pictures` takes them again."""

import os
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.browsing import marketplace_in_browser

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
NAMES = ("orders", "order", "settings", "overview", "delivery", "sandbox", "phone")


async def test_screenshots_of_the_main_pages_are_taken(tmp_path: Path) -> None:
    """Save them to KALATHI_PICTURES if it is set; the run itself is tested each time."""
    folder = Path(os.environ.get("KALATHI_PICTURES") or tmp_path / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    async with marketplace_in_browser(tmp_path / "data") as place:
        for scenario in ("accept", "limited_stock", "express", "store_pickup", "return_faulty", "sizes"):
            await place.shop.play(scenario)
        [accepted] = await place.shop.play("many_parcels")
        code = await place.shop.cart(LAMP=2, CABLE=1)
        window = {"width": 1180, "height": 820}
        page = await place.signed_in(viewport=window)
        operator = await place.page(viewport=window)
        phone = await place.signed_in(viewport={"width": 390, "height": 780}, locale="el-GR")
        for name, shown, address in (
            ("orders", page, "/shop/orders"),
            ("order", page, f"/shop/orders/{code}"),
            ("settings", page, "/shop/settings"),
            ("overview", operator, "/"),
            ("delivery", operator, f"/operator/deliveries/{place.shop.id}.{accepted}.3"),
            ("sandbox", operator, "/operator/sandbox"),
            ("phone", phone, f"/shop/orders/{code}"),
        ):
            await shown.goto(address)
            await expect(shown.get_by_role("heading", level=1)).to_be_visible()
            await shown.screenshot(path=folder / f"{name}.png")
    assert {path.stem for path in folder.glob("*.png")} == set(NAMES)


def test_every_screenshot_exists_and_is_used_in_the_docs() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for path in pages for name in re.findall(r"pictures/(\w+)\.png", path.read_text("utf-8"))}
    assert shown == set(NAMES)
    for name in NAMES:
        assert (ROOT / "docs/pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
