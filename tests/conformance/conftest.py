"""Every test here runs on every database that Kalathi takes; for now that is SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.database import Database
from kalathi.marketplace.kernel.opening import open_database


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fresh database is to be opened."""
    return f"sqlite:///{tmp_path / 'kalathi.db'}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, open database."""
    opened = await open_database(database_url)
    yield opened
    await opened.close()
