"""Data folders and lock files are their owner's, on both sides of the wire."""

import os
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase, lock_database
from kalathi.merchant.inbox import Inbox
from kalathi.system.files import make_private_folder, open_lock_file
from tests.market import open_market

pytestmark = pytest.mark.anyio


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def _open_umask() -> object:
    """Whatever the umask lets through."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_new_folder_is_private_and_an_existing_one_keeps_its_mode(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "new")
    assert _mode(tmp_path / "new") == 0o700
    (tmp_path / "there").mkdir(mode=0o755)
    make_private_folder(tmp_path / "there")
    assert _mode(tmp_path / "there") == 0o755


@pytest.mark.posix("Windows has no modes of files")
def test_a_lock_file_is_made_private_even_if_it_exists(tmp_path: Path) -> None:
    with open_lock_file(tmp_path / "new"):
        assert _mode(tmp_path / "new") == 0o600
    (tmp_path / "old").touch(mode=0o666)
    with open_lock_file(tmp_path / "old"):
        assert _mode(tmp_path / "old") == 0o600


async def test_the_files_of_a_marketplace_are_private(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "market" / "kalathi.db")
    await database.close()
    lock_database(tmp_path / "market" / "kalathi.db").close()
    async with open_market(tmp_path / "market"):
        _check_private(tmp_path / "market")


def test_the_files_of_a_connector_are_private(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "merchant" / "merchant.db")
    _check_private(tmp_path / "merchant")
    inbox.close()


def _check_private(folder: Path) -> None:
    assert _mode(folder) == 0o700
    assert {path.name: oct(_mode(path)) for path in folder.iterdir() if _mode(path) & 0o077} == {}
