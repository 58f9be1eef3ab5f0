"""The wheel that is built from the checkout."""

import email
import os
import platform
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The dependencies of the base package. docs/installing.md names its size, so an addition is a decision.
BASE = {"click", "httptools", "msgspec", "niquests", "starlette", "structlog", "tzdata", "urllib3-future", "uvicorn"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--disable-pip-version-check", "--wheel-dir", str(folder), str(ROOT)], check=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_names_few_dependencies_and_every_extra(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    required = metadata.get_all("Requires-Dist", [])
    base = {re.split(r"[<>=;\[ ]", line)[0] for line in required if "extra ==" not in line}
    assert base == BASE
    assert set(metadata.get_all("Provides-Extra", [])) == {"all", "mcp", "metrics", "pdf", "postgres", "server", "sql"}
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Keywords"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_the_wheel_knows_its_commit(wheel: Path, tmp_path: Path) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    if not commit:
        pytest.skip("this is no git checkout")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-m", "kalathi", "--version"]
    out = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    version = ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(
        rf"kalathi 0\.1\.0 \(commit {commit}\+?, Python {re.escape(version)} on {platform.system()}\)\n", out
    )
