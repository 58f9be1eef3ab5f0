"""The differences between operating systems stand in one package; here is its behaviour on Unix."""

import os
import re
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.storage.opening import sqlite_path, sqlite_url
from kalathi.system.command_lines import split_command
from kalathi.system.files import open_for_appending, open_new, read_tail
from kalathi.system.locks import is_locked, lock_file
from kalathi.system.streams import has_room

SOURCES = Path(__file__).parents[2] / "src" / "kalathi"


def test_no_other_package_asks_for_the_operating_system() -> None:
    asking = re.compile(
        r"sys\.platform|os\.name\b|import (fcntl|resource|msvcrt|pwd|uvloop)\b|platform\.system\(\) ?=="
    )
    found = {str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.py") if asking.search(path.read_text("utf-8"))}
    assert {path for path in found if not path.startswith("system/")} == set()


def test_a_locked_file_is_locked_until_its_handle_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not is_locked(path)
    handle = lock_file(path)
    assert handle is not None
    assert is_locked(path)
    assert lock_file(path) is None
    handle.close()
    assert not is_locked(path)


def test_appended_bytes_are_written_as_they_are_and_the_tail_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for content in (b"one\n", b"two\n"):
        descriptor = open_for_appending(path)
        os.write(descriptor, content)
        os.close(descriptor)
    with path.open("rb") as file:
        assert read_tail(file, 4) == b"two\n"
        assert read_tail(file, 100) == b"one\ntwo\n"


def test_a_new_file_never_replaces_another_one(tmp_path: Path) -> None:
    with open_new(tmp_path / "new") as file:
        file.write(b"x\n")
    with pytest.raises(FileExistsError):
        open_new(tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"x\n"


def test_a_pipe_that_nobody_reads_has_no_room() -> None:
    reading, writing = os.pipe()
    assert has_room(writing, 0)
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, bytes(65_536))
    assert not has_room(writing, 0)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lp -d labels", ["lp", "-d", "labels"]),
        (r"print 'one word' \"two\" a\ b", ["print", "one word", '"two"', "a b"]),
        ("print # no comment", ["print", "#", "no", "comment"]),
        ("", []),
    ],
)
def test_a_command_line_is_split_as_a_shell_does(text: str, words: list[str]) -> None:
    assert split_command(text) == words


def test_a_command_line_with_an_open_quote_is_refused() -> None:
    with pytest.raises(ValueError, match="quotation"):
        split_command("print 'label")


@pytest.mark.parametrize("name", ["plain", "with space", "a?b#c", "100%25", "%41", "Καλάθι"])
def test_any_folder_can_be_in_the_url_of_a_database(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "kalathi.db"
    assert sqlite_path(sqlite_url(path)) == path
