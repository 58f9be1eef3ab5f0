"""Write the commit of a checkout into the wheel, for `kalathi --version`."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT_LENGTH = 12


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds `kalathi/commit.txt` to a wheel that is built in a git checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file. An editable installation has none, because its commit changes."""
        commit = find_commit(Path(self.root))
        if version == "editable" or not commit:
            return
        file = Path(self.directory) / "commit.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(commit + "\n", "utf-8")
        build_data["force_include"][str(file)] = "kalathi/commit.txt"


def find_commit(root: Path) -> str:
    """Return the commit of the checkout, with a plus sign if tracked files were changed; empty without git."""
    try:
        described = subprocess.run(  # noqa: S603  (constant arguments, no shell)
            ["git", "describe", "--always", "--dirty=+", "--exclude=*", f"--abbrev={COMMIT_LENGTH}"],  # noqa: S607  (git of this machine)
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
