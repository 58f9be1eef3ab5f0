"""The base package works without any library of an extra."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from kalathi.extras import EXTRAS, Extra

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src/kalathi"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# The parts that need the extra `server` or `mcp` as a whole, and single modules.
SERVERS = ("marketplace/", "checkup/", "mcp_server/", "simulation/listener.py")
# Files that import a library when it is needed, each with its libraries.
WHEN_NEEDED = {
    "cli/database_option.py": {"psycopg", "sqlalchemy"},
    "cli/checks.py": {"psycopg"},
    "merchant/metrics.py": {"prometheus_client"},
    "merchant/overview.py": {"pypdfium2"},
    "merchant/stock/database.py": {"sqlalchemy"},
    "merchant/vouchers.py": {"pypdfium2"},
    "system/loops.py": {"uvloop"},
}


def _distributions(extra: str) -> set[str]:
    """The distributions that an extra adds by itself, without those of other extras of ours."""
    names = {re.split(r"[<>=;\[ ]", line)[0] for line in PROJECT["optional-dependencies"][extra]}
    return names - {"kalathi"}


def test_each_library_belongs_to_the_extra_that_pyproject_names() -> None:
    distributions = {
        module: {name.lower().replace("_", "-") for name in names} for module, names in packages_distributions().items()
    }
    listed = {name: extra for extra in Extra for name in _distributions(extra)}
    of_modules = {module: listed[name] for module in EXTRAS for name in distributions[module] & listed.keys()}
    assert of_modules == EXTRAS
    assert {name for module in EXTRAS for name in distributions[module]} >= listed.keys()
    assert {*Extra, "all"} == set(PROJECT["optional-dependencies"])


def _imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """The top-level modules that are imported, each with whether it is imported at the start."""
    at_start = {id(node) for node in tree.body} if isinstance(tree, ast.Module) else set()
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        yield from ((module.partition(".")[0], id(node) in at_start) for module in modules)


def test_only_the_named_files_import_a_library_of_an_extra() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = str(path.relative_to(SOURCES))
        if name.startswith(SERVERS):
            continue
        for module, is_at_start in _imports(ast.parse(path.read_text("utf-8"))):
            if module in EXTRAS:
                assert not is_at_start, f"{name} imports {module} at its start"
                found.setdefault(name, set()).add(module)
    assert found == WHEN_NEEDED


def _run(code: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python without the libraries of all extras."""
    without = f"import sys; sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r})); "
    command = [sys.executable, "-c", without + code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_sdk_the_receiver_and_the_connector_need_no_extra() -> None:
    modules = (
        *("kalathi.merchant", "kalathi.merchant.receiver", "kalathi.merchant.connector", "kalathi.merchant.printing"),
        *("kalathi.merchant.overview", "kalathi.merchant.stock", "kalathi.serving", "kalathi.cli.merchant_parts"),
        *("kalathi.testing", "kalathi.simulation.operator", "kalathi.pytest_plugin"),
    )
    done = _run(f"import {', '.join(modules)}; print('ok')")
    assert done.stdout == "ok\n", done.stderr


def test_a_voucher_is_checked_without_the_extra_pdf() -> None:
    pdf = "b'%PDF-1.4 ... %%EOF'"
    done = _run(f"from kalathi.merchant.vouchers import whole_pdf; print(whole_pdf('1', b'.' + {pdf}) == {pdf})")
    assert done.stdout == "True\n", done.stderr


def test_work_runs_without_uvloop() -> None:
    done = _run("import asyncio; from kalathi.serving import run_loop; run_loop(asyncio.sleep(0)); print('ok')")
    assert done.stdout == "ok\n", done.stderr


CONNECTOR = ("merchant", "--url", "http://127.0.0.1:9", "--token", "t", "--port", "0", "--print-to", ".")
COMMAND = "from kalathi.cli import main; main()"


@pytest.mark.parametrize("command", [(), ("merchant",), ("serve",), ("checkup",), ("listen",)])
def test_help_needs_no_extra(command: tuple[str, ...]) -> None:
    done = _run(COMMAND, *command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("serve", "--port", "0"), "server"),
        (("demo", "--once"), "server"),
        (("checkup", "--webhook-url", "http://127.0.0.1:9"), "server"),
        (("openapi",), "server"),
        (
            (
                *CONNECTOR,
                "--stock",
                "sqlite:///x.db",
                "--stock-query",
                "SELECT 1 FROM t WHERE s = :shop_uid",
            ),
            "sql",
        ),
        ((*CONNECTOR, "--stock", "stock.csv", "--watch-port", "0"), "metrics"),
    ],
)
def test_a_command_without_its_extra_says_the_line_that_installs_it(
    tmp_path: Path, arguments: tuple[str, ...], extra: str
) -> None:
    done = _run(COMMAND, *arguments, folder=tmp_path)
    assert done.returncode == 1
    assert f'pip install "kalathi[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr
