"""Async tests of this folder run on asyncio."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of async tests."""
    return "asyncio"
