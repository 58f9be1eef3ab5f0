"""The commands of the docs are run."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.metrics import Metrics
from kalathi.marketplace.kernel.storage.schema import METADATA
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
    told = Metrics().text(0, 0).decode()
    measured = set(re.findall(r"^# HELP (\w+)", told, re.MULTILINE))
    assert len(named) >= 6
    assert named <= measured, named - measured


def test_container_images_are_pinned() -> None:
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    images += re.findall(r"^ +image: (\S+)", (ROOT / "compose.yaml").read_text("utf-8"), re.MULTILINE)
    assert len(images) == 3
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z-]+", image) for image in images), images
    assert "--require-hashes -r requirements.txt" in (ROOT / "Dockerfile").read_text("utf-8")


def test_the_scale_page_lists_every_table_not_keyed_by_shop() -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    tables = METADATA.tables.items()
    assert named == {name for name, table in tables if next(iter(table.primary_key.columns)).name != "shop_id"}


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
