"""Build the wheel and the source distribution so that anybody can build the same bytes from the same commit."""

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple


class Built(NamedTuple):
    """The two files of a release."""

    wheel: Path
    source: Path

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file, by its name."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self}


class NotReproducibleError(Exception):
    """Two builds of the same commit differ. The text names the file."""


def build_twice(root: Path, folder: Path, target: Path) -> Built:
    """Build the commit of the checkout at `root` into `target`: from a clone, from a second clone at another place,
    and the wheel also from the unpacked source distribution. Raises NotReproducibleError, CalledProcessError."""
    built = _build(_clone(root, folder / "one"), target)
    again = _build(_clone(root, folder / "elsewhere" / "two"), folder / "again")
    with tarfile.open(built.source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    from_source = _build(unpacked, folder / "from-source", _time_of(root))
    for other in (again, from_source):
        for name, digest in built.digests().items():
            if other.digests()[name] != digest:
                raise NotReproducibleError(f"{name} differs between {built.wheel.parent} and {other.wheel.parent}")
    return built


def _clone(root: Path, folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(root), str(folder)], check=True)
    return folder


def _time_of(root: Path) -> str:
    command = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def _build(root: Path, target: Path, seconds: str = "") -> Built:
    """Build both files in `target`. Their times are the commit's (reproducible-builds.org, SOURCE_DATE_EPOCH)."""
    variables = {**os.environ, "SOURCE_DATE_EPOCH": seconds or _time_of(root)}
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    subprocess.run(command, cwd=root, env=variables, check=True, capture_output=True)
    [wheel], [source] = target.glob("*.whl"), target.glob("*.tar.gz")
    return Built(wheel, source)
