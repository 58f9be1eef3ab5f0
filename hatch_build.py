"""Hooks of the build: the commit for `kalathi --version`, and a README whose links work on a package index."""

import re
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

COMMIT_LENGTH = 12
# The commit stands in a source distribution, because there is no git where that is built.
COMMIT_FILE = "src/kalathi/commit.txt"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


class CommitHook(BuildHookInterface[Any]):
    """Adds the commit of a checkout to a wheel and to a source distribution."""

    _file: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file. An editable installation has none, because its commit changes."""
        file = Path(self.root) / COMMIT_FILE
        if not file.exists():
            commit = find_commit(Path(self.root))
            if version == "editable" or not commit:
                return
            self._file = file = Path(self.directory) / "commit.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(commit + "\n", "utf-8")
        # Files that are forced come last, so both builds have the same sequence.
        build_data["force_include"][str(file)] = "kalathi/commit.txt" if self.target_name == "wheel" else COMMIT_FILE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the file, so that only the built files are left in the folder."""
        if self._file is not None:
            self._file.unlink()


class ReadmeHook(MetadataHookInterface):
    """Gives the README with absolute links to the files of this version."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description of the project."""
        root = Path(self.root)
        text = (root / "README.md").read_text("utf-8")
        version = _VERSION.search((root / "src/kalathi/__init__.py").read_text("utf-8"))
        if version is None:
            raise ValueError("src/kalathi/__init__.py has no version")
        source = metadata["urls"]["Source"]
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": make_links_absolute(text, source, f"v{version[1]}", root),
        }


def make_links_absolute(text: str, source: str, tag: str, root: Path) -> str:
    """Return Markdown whose links to files of the project lead to this tag on the forge."""

    def link(found: re.Match[str]) -> str:
        picture, title, path, place = found[1], found[2], found[3], found[4] or ""
        kind = "raw" if picture else "tree" if (root / path).is_dir() else "blob"
        return f"{picture}[{title}]({source}/{kind}/{tag}/{path}{place})"

    return _LINK.sub(link, text)


def find_commit(root: Path) -> str:
    """Return the commit of the checkout, with a plus sign if tracked files were changed; empty without git."""
    try:
        described = subprocess.run(  # noqa: S603  (constant arguments, no shell)
            ["git", "describe", "--always", "--dirty=+", "--exclude=*", f"--abbrev={COMMIT_LENGTH}"],  # noqa: S607  (git is found on the path of the user)
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
