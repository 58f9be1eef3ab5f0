"""Temporary folders lie in memory only where a machine has a fit folder for them."""

from pathlib import Path

from tests.memory_folder import is_fit, use_memory


def test_a_folder_is_suitable_if_it_exists_and_has_room(tmp_path: Path) -> None:
    assert is_fit(tmp_path, needed_bytes=1)
    assert not is_fit(tmp_path, needed_bytes=1 << 60)
    assert not is_fit(tmp_path / "missing", needed_bytes=1)


def test_the_callers_own_folder_is_kept(tmp_path: Path) -> None:
    environment = {"PYTEST_DEBUG_TEMPROOT": "/somewhere"}
    use_memory(environment, tmp_path)
    assert environment == {"PYTEST_DEBUG_TEMPROOT": "/somewhere"}


def test_without_a_fit_folder_the_usual_one_is_used(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    use_memory(environment, tmp_path / "missing")
    assert environment == {}
