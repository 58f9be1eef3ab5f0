"""What the pages say is run."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def _blocks(page: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")),
    reason="the page is written for curl and bash, and this machine has not got both",
)
async def test_the_first_order_by_hand_goes_as_the_page_says(tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(_blocks("docs/first-order.md"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script,
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    assert process.returncode == 0, error.decode() + out.decode()
    assert out.decode().endswith("accepted\ndelivered\n"), out.decode()
    assert (tmp_path / "voucher.pdf").read_bytes().startswith(b"%PDF")


def test_the_readme_names_commands_and_rooms_that_exist() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for command in re.findall(r"make ([a-z]+)", readme):
        assert command in targets, command
    for room in re.findall(r"^  (\w+(?:/|\.py)) ", readme, re.MULTILINE):
        found = list((ROOT / "src" / "kalathi").rglob(room.rstrip("/")))
        assert found, room
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / link).exists(), link
