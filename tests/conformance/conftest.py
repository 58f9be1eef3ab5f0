"""Every test here runs on every supported database."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.kernel.storage.opening import open_database
from tests.databases import drop_postgres, fresh_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a fresh database is to be opened."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'kalathi.db'}"
    else:
        url = fresh_postgres()
        yield url
        drop_postgres(url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, open database."""
    opened = await open_database(database_url)
    yield opened
    await opened.close()
