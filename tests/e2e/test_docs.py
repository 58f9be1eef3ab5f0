"""The commands of the docs are run."""

import asyncio
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from kalathi.marketplace.kernel.metrics import Metrics
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN, ON_COORDINATOR, REFERENCE
from tests.databases import drop_postgres, empty_postgres, fresh_postgres, postgres_tools

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def _blocks(page: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


in_a_shell = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")),
    reason="the pages are written for curl and bash, and this machine has not got both",
)


async def run_blocks(blocks: list[str], folder: Path, **variables: str) -> str:
    """Runs the blocks as one script; gives what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")} | variables
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        # A command that fails ends what runs beside it, which would hold the script's output open.
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + "\n".join(blocks),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    assert process.returncode == 0, error.decode() + out.decode()
    return out.decode()


@in_a_shell
async def test_the_commands_of_the_first_order_page_work(tmp_path: Path) -> None:
    out = await run_blocks(_blocks("docs/first-order.md"), tmp_path)
    assert re.search(r"^Order \S+: dispatched\nOrder \S+: delivered\n\Z", out, re.MULTILINE), out
    assert (tmp_path / "voucher.pdf").read_bytes().startswith(b"%PDF")


@in_a_shell
async def test_the_commands_of_the_connect_page_work(tmp_path: Path) -> None:
    out = await run_blocks(_blocks("docs/connect-your-shop.md"), tmp_path)
    assert "would accept" in out
    assert "would reject" in out
    assert "Nothing needs a person." in out
    assert "today.pdf: 2 pages." in out
    assert "is printed again" in out
    assert (tmp_path / "today.pdf").read_bytes().startswith(b"%PDF")


@in_a_shell
async def test_the_documented_backup_of_sqlite_can_be_restored(tmp_path: Path) -> None:
    blocks = [block for block in _blocks("docs/operating.md") if "DATABASE" not in block and "RESTORED" not in block]
    assert "Βιβλία Αθηνά" in await run_blocks(blocks, tmp_path)


@in_a_shell
async def test_the_documented_backup_of_postgresql_can_be_restored(tmp_path: Path) -> None:
    blocks = [block for block in _blocks("docs/operating.md") if "DATABASE" in block or "RESTORED" in block]
    database, restored = fresh_postgres(), empty_postgres()
    path = f"{postgres_tools()}:{os.environ['PATH']}"
    assert "Βιβλία Αθηνά" in await run_blocks(blocks, tmp_path, DATABASE=database, RESTORED=restored, PATH=path)
    drop_postgres(database)
    drop_postgres(restored)


def test_documented_alerts_use_existing_metrics() -> None:
    named = set(re.findall(r"kalathi_\w+", (ROOT / "docs" / "operating.md").read_text("utf-8")))
    told = Metrics().text(0, 0, {"open": 0}).decode()
    measured = set(re.findall(r"^# HELP (\w+)", told, re.MULTILINE))
    assert len(named) >= 6
    assert named <= measured, named - measured


def test_container_images_are_pinned() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    [python] = re.findall(r"^ARG PYTHON=(\S+)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}", python)
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", dockerfile, re.MULTILINE)
    assert {image for image, _ in stages} == {"${PYTHON}", "base"}
    assert stages[-1][1] == "marketplace", "the last stage is the default"
    for requirements in ("requirements.txt", "requirements-build.txt"):
        assert f"--require-hashes -r {requirements}" in dockerfile
    [database] = re.findall(r"^ +image: (\S+)", (ROOT / "compose.yaml").read_text("utf-8"), re.MULTILINE)
    assert re.fullmatch(r"[a-z]+:\d+\.\d+-[a-z]+", database)


def test_the_image_has_no_installer_and_its_stages_copy_existing_files() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    build, _, rest = dockerfile.partition(" AS base\n")
    assert "venv --without-pip /opt/kalathi" in build
    assert "pip install" not in rest
    assert "rm -rf /usr/local/bin/pip*" in rest, "the one of the base image"
    copied = [name for line in re.findall(r"^COPY (?!--)(.+) \S+$", build, re.MULTILINE) for name in line.split()]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    shipped = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert {*copied, "Dockerfile"} == set(shipped)


def test_the_compose_file_leaves_the_mode_to_the_operator() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    for name in ("market", "worker"):
        service = compose["services"][name]
        assert service["environment"]["KALATHI_MODE"].startswith("${KALATHI_MODE:?")
        assert service["environment"]["KALATHI_PUBLIC_URL"].startswith("${KALATHI_PUBLIC_URL:?")
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_the_scale_page_has_the_place_of_every_table_that_is_not_with_its_shop() -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \|", page, re.MULTILINE)
    named = {name: place for names, place in rows for name in re.findall(r"`(\w+)`", names)}
    by_column = {table for table, column in BY_COLUMN.items() if column != "shop_id"}
    assert {name for name, place in named.items() if place.startswith("by the ")} == by_column
    assert {name for name, place in named.items() if place == "a copy on every node"} == REFERENCE
    assert {name for name, place in named.items() if place == "on the coordinator"} == ON_COORDINATOR
    assert len(named) == len(by_column) + len(REFERENCE) + len(ON_COORDINATOR)


def test_commands_and_files_named_in_the_docs_exist() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for command in re.findall(r"make ([a-z]+)", readme):
        assert command in targets, command
    architecture = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = re.findall(r"^ +(\w+(?:/|\.py)) +\S", architecture.partition("```\nsrc/kalathi/")[2], re.MULTILINE)
    assert len(rooms) > 20
    for room in rooms:
        assert list((ROOT / "src" / "kalathi").rglob(room.rstrip("/"))), room


def test_the_workflows_of_the_forge_fit_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pythons = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]
    flows = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github/workflows").iterdir()}
    systems = flows["test"]["jobs"]["systems"]["strategy"]["matrix"]
    assert systems["python"] == pythons
    assert [system.partition("-")[0] for system in systems["os"]] == ["ubuntu", "macos", "windows"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    stages = re.findall(r"^FROM .* AS (\w+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    for flow in flows.values():
        for job in flow["jobs"].values():
            assert {job["needs"]} <= flow["jobs"].keys() if "needs" in job else True
            for step in job["steps"]:
                command = step.get("run", "")
                assert set(re.findall(r"^make ([a-z-]+)", command)) <= set(targets)
                files = re.findall(r"\b(?:tests|release)/[\w/.]+", command)
                assert [name for name in files if not (ROOT / name).exists()] == []
                assert step.get("with", {}).get("target", stages[0]) in stages, stages
