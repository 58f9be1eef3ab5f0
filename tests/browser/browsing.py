"""A real browser in front of a real marketplace. Every page is checked: no request to another host, no console error,
nothing that the policy has refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright

from tests.browser.get_browser import NoBrowserError, ThisMachine, find_browser
from tests.e2e.processes import Caller, Endpoint, endpoint, running, serve
from tests.market import CUSTOMER, LOCATION

# The browser of a test connects only to the test.
_QUIET = (
    *("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--disable-dev-shm-usage"),
)
PATIENCE_MILLIS = 15_000


@cache
def chromium(playwrights_own: str) -> str:
    """The path of the browser that `make test` found. Without one, the test fails and says how to get it."""
    tried: list[str] = []
    found = find_browser(ThisMachine(lambda: playwrights_own), tried)
    if not found:
        pytest.fail(str(NoBrowserError(tried)))
    return found


class _Running(NamedTuple):
    playwright: Playwright
    browser: Browser


_running: list[_Running] = []


async def shared_browser() -> Browser:
    """The browser of all tests of this process (conftest.py closes it), started anew if it has died."""
    if _running and not _running[0].browser.is_connected():
        await close_browser()
    if not _running:
        playwright = await async_playwright().start()
        try:
            path = chromium(playwright.chromium.executable_path)
            browser = await playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        except BaseException:
            await playwright.stop()
            raise
        _running.append(_Running(playwright, browser))
    return _running[0].browser


async def close_browser() -> None:
    """Close it, if one runs."""
    while _running:
        one = _running.pop()
        await one.browser.close()
        await one.playwright.stop()


class Shop:
    """The shop of a test, with its caller and token."""

    def __init__(self, caller: Caller, facts: dict[str, Any], token: str) -> None:
        self.caller = caller
        self.id: str = facts["id"]
        self.name: str = facts["name"]
        self.token = token

    async def cart(self, **wanted: int) -> str:
        """A customer buys pieces by listing; gives the order's code."""
        items = [{"shop_id": self.id, "shop_uid": uid, "quantity": count} for uid, count in wanted.items()]
        cart = {"customer": CUSTOMER, "items": items, "payment_method": "card"}
        answer = await self.caller.operate("POST", "/marketplace/carts", cart)
        code: str = answer["orders"][0]["code"]
        return code

    async def play(self, scenario: str) -> list[str]:
        """A scenario; gives its orders' codes."""
        answer = await self.caller.operate("POST", f"/marketplace/scenarios/{scenario}", {"shop_id": self.id})
        return [order["code"] for order in answer["orders"]]


class BrowserSetup:
    """A marketplace, its shop, the shop's endpoint, and a browser."""

    def __init__(self, address: str, browser: Browser, shop: Shop, hook: Endpoint) -> None:
        self.address = address
        self.browser = browser
        self.shop = shop
        self.hook = hook
        self.caller = shop.caller
        self.complaints: list[str] = []
        # Statuses that a test causes; browsers report them on their console.
        self.expected_statuses: set[int] = set()

    async def page(self, **options: Any) -> Page:
        """A new window of a new visitor."""
        usual: dict[str, Any] = {"locale": "en-GB", "viewport": {"width": 1280, "height": 900}}
        context: BrowserContext = await self.browser.new_context(base_url=self.address, **{**usual, **options})
        context.set_default_timeout(PATIENCE_MILLIS)
        page = await context.new_page()
        host = urlsplit(self.address).netloc

        def requested(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme in {"http", "https"} and parts.netloc != host:
                self.complaints.append(f"asks {request.url}")

        def said(message: Any) -> None:
            if message.type in {"error", "warning"}:
                self.complaints.append(message.text)

        page.on("request", requested)
        page.on("console", said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    async def signed_in(self, **options: Any) -> Page:
        """A window of the shop, at its list of orders."""
        page = await self.page(**options)
        await page.goto("/sign-in")
        await page.fill("input[name=token]", self.shop.token)
        await page.press("input[name=token]", "Enter")
        await page.wait_for_url("**/shop/orders")
        return page

    async def at_an_order(self) -> tuple[str, Page]:
        """A new order's code, and a window of the shop at its page."""
        code = await self.shop.cart(LAMP=1)
        page = await self.signed_in()
        await page.goto(f"/shop/orders/{code}")
        return code, page


@asynccontextmanager
async def marketplace_in_browser(folder: Path) -> AsyncIterator[BrowserSetup]:
    """All of it, and at the end nothing that was wrong on any page."""
    async with (
        running(folder, *serve(folder, "--open-console")) as process,
        endpoint() as hook,
        # The server closes idle connections after some seconds, perhaps at the moment of the next call.
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        caller = Caller(session, process.address)
        facts = {
            "name": "Το κατάστημα",
            "domain": "shop.example",
            "webhook_url": f"{hook.address}/hook",
            "locations": [LOCATION, {**LOCATION, "street_name": "Τσιμισκή", "city": "Θεσσαλονίκη"}],
        }
        answer = await caller.operate("POST", "/marketplace/shops", facts)
        shop = Shop(caller, answer["shop"], answer["api_token"])
        listings = [
            {"shop_uid": "LAMP", "product_name": "Λάμπα LED E27", "unit_price": 10.4, "commission_rate": 8.34},
            {"shop_uid": "CABLE", "product_name": "Καλώδιο USB-C 1m", "unit_price": 25, "commission_rate": 8.34},
        ]
        listings = [{**listing, "quantity": 1000} for listing in listings]
        await caller.operate("PUT", f"/marketplace/shops/{shop.id}/listings", listings)
        browser = await shared_browser()
        made = BrowserSetup(process.address, browser, shop, hook)
        try:
            yield made
        finally:
            for context in browser.contexts:
                await context.close()
        expected = [f"status of {status} " for status in made.expected_statuses]
        assert [text for text in made.complaints if not any(part in text for part in expected)] == []


async def call_script(page: Page, module: str, call: str) -> Any:
    """Call a function of one of the page's modules, such as `refresh()` of `refresh.js`, and return its result."""
    address = f"new URL('{module}', document.querySelector('script[type=module]').src)"
    return await page.evaluate(f"import({address}).then((module) => module.{call})")


async def press_final(page: Page, button: str) -> None:
    """Tick the box of the form with this button, and press the button. The action cannot be undone."""
    form = page.locator("form", has=page.get_by_role("button", name=button, exact=True))
    await form.get_by_label("I understand").check()
    await form.get_by_role("button", name=button, exact=True).click()


async def refresh(page: Page) -> None:
    """Load the page again and show the changes, as it does itself after a change."""
    await call_script(page, "refresh.js", "refresh()")


async def check_accessible(page: Page, where: str) -> None:
    """axe-core finds nothing, of WCAG 2.2 AA and of its own best practices."""
    results = await Axe().run(page)
    found = [
        f"{entry['id']}: {entry['help']}: {[node['html'][:200] for node in entry['nodes'][:3]]}"
        for entry in results.response["violations"]
    ]
    assert found == [], where
