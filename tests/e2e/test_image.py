"""The steps of the Dockerfile, run without a builder of containers: the same commands, in a folder of the test."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _stage(name: str) -> str:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    [stage] = re.findall(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(stage)


def _value(stage: str, instruction: str) -> str:
    [value] = re.findall(rf"^{instruction} (.+)$", stage, re.MULTILINE)
    return str(value)


@pytest.fixture(scope="module")
def opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder /opt after the stage `build`."""
    folder = tmp_path_factory.mktemp("image")
    work = folder / "build"
    work.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KALATHI_"))}
    own |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "COMMIT": "0123456789ab"}
    own["PATH"] = f"{folder / 'bin'}:/usr/bin:/bin"
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    for instruction, rest in re.findall(r"^(COPY|RUN) (.+)$", _stage("build"), re.MULTILINE):
        if instruction == "RUN":
            done = subprocess.run(
                ["sh", "-ec", rest.replace("/opt/", f"{folder}/opt/")],
                cwd=work,
                env=own,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            continue
        *sources, target = rest.split()
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "pictures", "commit.txt")
                shutil.copytree(ROOT / source, work / target, ignore=ignored)
            else:
                shutil.copy(ROOT / source, work / target)
    return folder / "opt"


def test_the_built_environment_serves_and_has_no_installer(opt: Path, tmp_path: Path) -> None:
    binaries = opt / "kalathi" / "bin"
    environment = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(tmp_path)}
    for assignment in re.findall(r"(KALATHI_\w+=\S+)", _value(_stage("marketplace"), "ENV")):
        name, _, value = assignment.partition("=")
        environment[name] = value
    # The image's own port may be in use on this machine.
    environment |= {"KALATHI_DATA": str(tmp_path / "data"), "KALATHI_PORT": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    version = subprocess.run(
        ["kalathi", "--version"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "commit 0123456789ab" in version.stdout
    with subprocess.Popen(
        ["kalathi", *_words(_value(_stage("marketplace"), "CMD"))],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = re.findall(r"http://\S+", process.stdout.readline())[0]
            environment["KALATHI_PORT"] = address.rpartition(":")[2]
            health = re.findall(r"CMD (\[.+\])$", _stage("marketplace"), re.MULTILINE)[0]
            assert subprocess.run(_words(health), env=environment, cwd=tmp_path, check=False).returncode == 0
        finally:
            process.terminate()
    [site] = (opt / "kalathi").glob("lib/python3*/site-packages")
    installed = {path.name.partition("-")[0].lower() for path in site.glob("*.dist-info")}
    assert {"kalathi", "typst", "psycopg"} <= installed
    assert not {"pip", "setuptools", "hatchling", "wheel", "babel"} & installed


def _words(listed: str) -> list[str]:
    return re.findall(r'"([^"]+)"', listed)
