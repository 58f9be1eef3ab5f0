"""The parts that shops and integrators use, on Windows as far as Linux can simulate it (`simulation.py`)."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.windows.simulation import UNIMPORTABLE

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# The SDK, the receiver, the connector with its printing, the marketplace as one process, the demo.
SUITE = (
    *(f"tests/unit/test_{name}.py" for name in ("client", "commands", "connector", "connector_stock", "csv_folder")),
    *(f"tests/unit/test_{name}.py" for name in ("printing", "private_files", "receiver", "stock_csv", "story")),
    *(f"tests/contract/test_{name}.py" for name in ("request_log", "uploads", "waiting", "wire")),
    "tests/e2e/test_demo.py::test_the_demo_narrates_both_use_cases_and_exits_with_zero",
)


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("KALATHI_", "PYTEST_"))}
    return own | {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT), str(ROOT / "src")]),
    }


def _run(arguments: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )


def test_the_suite_passes_where_the_modules_of_unix_are_missing() -> None:
    # Pytest's rewriting of assertions would import our modules before the simulation can.
    done = _run(["-m", "pytest", "--assert", "plain", "-q", "--maxfail=10", *SUITE], ROOT)
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.search(r"\d{3,} passed", done.stdout)


@pytest.mark.parametrize("name", UNIMPORTABLE)
def test_the_simulation_hides_what_windows_lacks(name: str, tmp_path: Path) -> None:
    assert f"import of {name} halted" in _run(["-c", f"import {name}"], tmp_path).stderr


@pytest.mark.parametrize(("number", "key"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGUSR1, "Ctrl-Break")])
def test_the_marketplace_serves_and_ends_cleanly(tmp_path: Path, number: signal.Signals, key: str) -> None:
    command = [sys.executable, "-m", "kalathi", "serve", "--port", "0", "--data", str(tmp_path / "market")]
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, cwd=tmp_path, text=True) as process:
        try:
            assert process.stdout is not None
            [url] = re.findall(r"http://\S+", process.stdout.readline())
            with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
                assert answer.status == 200
            second = _run(["-m", "kalathi", "serve", "--port", "0", "--data", str(tmp_path / "market")], tmp_path)
            assert second.returncode == 1, "the lock of the first process"
            assert "Another process serves this database" in second.stderr
            process.send_signal(number)
            assert process.wait(10) == 0, key
        finally:
            process.kill()
    # A clean end leaves no log of changes behind.
    assert not (tmp_path / "market" / "kalathi.db-wal").exists()
    for words in (["backup", "all.kalathi", "--data", "market"], ["restore", "all.kalathi", "--data", "other"]):
        done = _run(["-m", "kalathi", *words], tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_pytest_plugin_starts_and_ends_its_marketplace(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(kalathi):\n    assert kalathi.url\n", "utf-8")
    done = _run(["-m", "pytest", "--assert", "plain", "-q", "-p", "no:cacheprovider"], tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_several_processes_are_refused_in_words(tmp_path: Path) -> None:
    done = _run(["-m", "kalathi", "serve", "--processes", "2", "--database", "postgresql://u@127.0.0.1/x"], tmp_path)
    assert done.returncode == 1
    assert "--processes above 1 needs Linux" in done.stderr


def test_a_command_line_of_windows_keeps_its_backslashes(tmp_path: Path) -> None:
    text = r""""C:\Program Files\Viewer\viewer.exe" -print-to "Zebra \"A6\"" C:\labels\x"""
    code = "import sys; from kalathi.system.command_lines import split_command; print(split_command(sys.argv[1]))"
    assert _run(["-c", code, text.replace(r"\"", "")], tmp_path).stdout.strip() == str(
        [r"C:\Program Files\Viewer\viewer.exe", "-print-to", "Zebra A6", r"C:\labels\x"]
    )


@pytest.mark.parametrize(("system", "part"), [("win32", "kalathi"), ("darwin", "kalathi.system")])
def test_the_types_fit_each_system(system: str, part: str, tmp_path: Path) -> None:
    """The type checker knows which functions of Python's library a system lacks."""
    command = [sys.executable, "-m", "mypy", "--platform", system, "--cache-dir", str(tmp_path), "-p", part]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
