"""Check the built files as a user meets them: their metadata, and installations in empty environments."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from release.building import Built

_SMOKE = Path(__file__).with_name("smoke.py")


def check_metadata(built: Built, folder: Path) -> None:
    """Check the metadata as a package index does, with the newest twine. Raises CalledProcessError."""
    python = _make_environment(folder / "twine", sys.executable)
    _run([python, "-m", "pip", "install", "twine"], folder)
    _run([python, "-m", "twine", "check", "--strict", *map(str, built)], folder)


def check_base(built: Built, folder: Path, interpreter: str) -> None:
    """Install the source distribution without an extra and use the merchant's side. Raises CalledProcessError."""
    python = _make_environment(folder / "base", interpreter)
    _run([python, "-m", "pip", "install", str(built.source)], folder)
    _run([python, "-c", "from kalathi.merchant import Client, AsyncClient"], folder)
    _run([python, "-m", "kalathi", "merchant", "--help"], folder)


def check_server(built: Built, folder: Path, interpreter: str) -> str:
    """Install the wheel with the extra `server`, play the demo, and accept an order with the SDK. Return
    the output of `kalathi --version`. Raises CalledProcessError."""
    python = _make_environment(folder / "server", interpreter)
    _run([python, "-m", "pip", "install", f"{built.wheel}[server]"], folder)
    _run([python, "-m", "kalathi", "demo", "--once"], folder)
    _run([python, str(_SMOKE)], folder)
    return _run([python, "-m", "kalathi", "--version"], folder).strip()


def list_components(environment: Path, folder: Path, target: Path) -> None:
    """Write the bill of materials (SBOM, CycloneDX in JSON) of an environment. Raises CalledProcessError."""
    python = _make_environment(folder / "components", sys.executable)
    _run([python, "-m", "pip", "install", "cyclonedx-bom"], folder)
    command = [python, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON", "-o", str(target)]
    _run([*command, str(_find_python(environment))], folder)


def _make_environment(folder: Path, interpreter: str) -> str:
    subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
    return str(_find_python(folder))


def _find_python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: Sequence[str], folder: Path) -> str:
    """Run a command outside of the checkout, without its settings and paths. Show its output if it fails."""
    hidden = ("PYTHON", "KALATHI_", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    variables["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
    return done.stdout
