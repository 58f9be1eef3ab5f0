"""House rules that a machine can hold, each with its reason."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_module_has_a_vague_name() -> None:
    """A precise name can be found; a catch-all module only grows."""
    drawers = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}
    assert [path for path in SOURCES if path.stem in drawers] == []


def test_no_file_is_longer_than_400_lines() -> None:
    """A file above 400 lines needs a reason; none had a good one yet."""
    assert [(path.name, n) for path in SOURCES if (n := len(path.read_text("utf-8").splitlines())) > 400] == []


def test_no_function_is_longer_than_40_lines() -> None:
    """A function above 40 lines of code is a question. Commands of the line with many options and the steps from one
    shape of the tables to the next are the answers so far."""
    long = [
        (path.name, node.name)
        for path in SOURCES
        for node in _functions(path)
        if path.parent.name not in {"cli", "versions"} and (node.end_lineno or 0) - node.body[0].lineno > 40
    ]
    assert long == []


def test_the_core_is_pure() -> None:
    """The machine and the decisions read no clock, draw no randomness, and touch nothing outside."""
    forbidden = re.compile(r"\b(import|from) (time|random|secrets|os|asyncio|sqlite3|uuid|pathlib|niquests|aiohttp)\b")
    pure = ["returns/machine.py", "returns/review.py", "orders/returning.py", "orders/replacing.py"]
    pure += ["orders/machine.py", "orders/answer_checks.py", "orders/model.py", "webhooks/retry.py"]
    pure += ["merchant/decisions.py", "warehouse/model.py", "warehouse/requests.py"]
    for name in pure:
        [path] = [source for source in SOURCES if str(source).endswith(name)]
        text = path.read_text("utf-8")
        assert not forbidden.search(text), name
        assert ".now(" not in text, name


def test_the_state_is_assigned_by_the_machine_only() -> None:
    """A state that is assigned in many places has no rules."""
    writers = [path.name for path in SOURCES if re.search(r"replace\([^)]*\bstate=", path.read_text("utf-8"))]
    assert set(writers) <= {"machine.py"}


def test_only_the_kernel_has_sql_that_changes_rows() -> None:
    """Writes are change sets; reads stand in the stores."""
    writes = re.compile(r"\b(INSERT INTO|INSERT OR|UPDATE \w+ SET|DELETE FROM)\b")
    # A step from one shape of the tables to the next moves rows as well; the merchant's inbox is its own small file.
    others = [path for path in SOURCES if path.parent.name not in {"versions", "inbox"}]
    speakers = {path.name for path in others if writes.search(path.read_text("utf-8"))}
    # PostgreSQL's groups are statements over arrays, or over rows on several nodes; a restore fills tables that no
    # marketplace serves yet.
    assert speakers == {"postgres_writing.py", "postgres_forms.py", "statements.py", "writing.py", "backup_sqlite.py"}
    selects = {path.name for path in others if re.search(r'"[^"]*\bSELECT \w', path.read_text("utf-8"))}
    outside = {name for name in selects if not list((ROOT / "src/kalathi/marketplace/kernel").rglob(name))}
    assert outside <= {"store.py", "log.py"}


def test_tests_use_fakes_and_wait_on_conditions() -> None:
    """A patch ties a test to where a name lives; a sleep is too short on one machine and too long on another."""
    for path in TESTS:
        if path.name in {"test_tidy.py", "conftest.py"}:
            continue
        text = path.read_text("utf-8")
        assert "monkeypatch" not in text, path.name
        assert "mock" not in text, path.name
        assert "time.sleep" not in text, path.name


def test_only_tests_without_a_marketplace_skip_the_postgresql_run() -> None:
    """A test of the marketplace runs on every database that the marketplace takes."""
    [names] = re.findall(r"^WITHOUT_THE_MARKETPLACES_DATABASE := (.*)", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert names
    for name in names.split():
        assert not re.search(r"\btests\.(market|panel)\b", (ROOT / name).read_text("utf-8")), name


def test_the_checks_of_a_change_are_one_command() -> None:
    """A newcomer and CI run the same checks, including the browser."""
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith(("#", "set ", "cd "))] == ["make test"]


def test_dependencies_are_pinned_with_hashes_and_without_addresses() -> None:
    """The installed packages are the reviewed ones, from any index."""
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text("utf-8")
        assert "://" not in text, name
        assert "--index" not in text, name
        pins = re.findall(r"^[a-z0-9].*", text, re.MULTILINE)
        assert pins
        assert all("==" in pin for pin in pins), name
        assert len(re.findall(r"--hash=sha256:", text)) >= len(pins), name


def test_no_source_contains_a_todo() -> None:
    """Open work belongs in an issue."""
    marked = [path for path in SOURCES if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text("utf-8"))]
    assert marked == []


def test_no_member_has_the_name_of_a_type_in_its_class() -> None:
    """Python 3.14 evaluates annotations late, when `date: date` already means the member."""
    found = []
    for path in SOURCES:
        for group in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(group, ast.ClassDef):
                members = [node for node in group.body if isinstance(node, ast.AnnAssign)]
                names = {node.target.id for node in members if isinstance(node.target, ast.Name)}
                used = {name.id for node in members for name in ast.walk(node.annotation) if isinstance(name, ast.Name)}
                found += [f"{path.name}: {group.name}.{name}" for name in names & used]
    assert found == []
