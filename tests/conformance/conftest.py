"""Every test here runs on every database that Kalathi takes; for now that is SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.database import Database


@pytest.fixture(params=["sqlite"])
def database_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a fresh database is to be opened."""
    return tmp_path / "kalathi.db"


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[Database]:
    """A fresh, open database."""
    opened = Database(database_path)
    yield opened
    opened.close()
