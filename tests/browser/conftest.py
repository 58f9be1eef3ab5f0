"""One browser serves all tests of this folder: to start one takes longer than most tests of a page. Each window that a
test opens is a new visitor's, with cookies and storage of its own, and is closed at the test's end."""

from collections.abc import AsyncIterator

import pytest

from tests.browser.browsing import close_browser


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    """One event loop for all tests of this folder, since the browser belongs to one event loop."""
    return "asyncio"


@pytest.fixture(scope="package", autouse=True)
async def one_browser(anyio_backend: str) -> AsyncIterator[None]:
    """Closes the browser behind the last test; the first desk has started it."""
    yield
    await close_browser()
