"""Build and check a release in `dist/`, and give the reasons that still forbid to publish it.

    python -m release [--rehearse] [python3.11 python3.12 ...]

It uses the last commit. Each given Python, or this one, gets empty environments in which the wheel and the source
distribution are installed and used. `dist/` then has both files, their checksums and the notes of the version. The exit
status is 1 if the version must not be published yet; with --rehearse the reasons are only printed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from release.building import Built, build_twice
from release.checking import check_base, check_metadata, check_server, list_components
from release.notes import Notes, read_notes

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"


def main(arguments: list[str]) -> int:
    """Make the release, and return the exit status."""
    interpreters = [word for word in arguments if word != "--rehearse"] or [sys.executable]
    version = read_version(ROOT)
    notes = read_notes((ROOT / "CHANGELOG.md").read_text("utf-8"), version)
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"Building kalathi {version}, three times")
        built = build_twice(ROOT, folder, DIST)
        for path, digest in built.digests().items():
            say(f"  {digest}  {path}")
        say("Checking the metadata")
        check_metadata(built, folder)
        place = folder
        for number, interpreter in enumerate(interpreters):
            say(f"Installing and using it with {interpreter}")
            place = folder / str(number)
            place.mkdir()
            check_base(built, place, interpreter)
            say(f"  {check_server(built, place, interpreter)}")
        say("Listing the components of the last environment")
        list_components(place / "server", folder, DIST / "kalathi-server.cdx.json")
    _write_extras(built, notes)
    say(f"{DIST.relative_to(ROOT)}/ is ready: " + ", ".join(sorted(path.name for path in DIST.iterdir())))
    reasons = find_obstacles(ROOT, version, notes, os.environ.get("GITHUB_REF_NAME", ""))
    for reason in reasons:
        say(f"Not to be published yet: {reason}")
    return 1 if reasons and "--rehearse" not in arguments else 0


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def read_version(root: Path) -> str:
    """Return the version of the package. Raises ValueError if there is none."""
    found = re.search(r'^__version__ = "(\d+\.\d+\.\d+)"', (root / "src/kalathi/__init__.py").read_text("utf-8"), re.M)
    if found is None:
        raise ValueError("src/kalathi/__init__.py has no version of three numbers")
    return found[1]


def find_obstacles(root: Path, version: str, notes: Notes, pushed_tag: str = "") -> list[str]:
    """Return the reasons that forbid to publish the version. `pushed_tag` is the tag for which a forge runs this."""
    reasons = []
    if pushed_tag and pushed_tag != f"v{version}":
        reasons.append(f"The tag {pushed_tag} is of another version than {version}.")
    if not notes.is_dated:
        reasons.append(f"CHANGELOG.md has no day for {version}.")
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    examples = [name for name, url in project["urls"].items() if ".example" in url]
    if examples:
        reasons.append(f"[project.urls] in pyproject.toml has examples: {', '.join(examples)}.")
    if _git(root, "status", "--porcelain"):
        reasons.append("The checkout has changes that are not committed. The build has none of them.")
    tags = _git(root, "tag", "--list", f"v{version}")
    if tags and _git(root, "rev-parse", f"v{version}^{{commit}}") != _git(root, "rev-parse", "HEAD"):
        reasons.append(f"The tag v{version} is another commit.")
    return reasons


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def _write_extras(built: Built, notes: Notes) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(built.digests().items())]
    (DIST / "SHA256SUMS").write_text("".join(lines), "utf-8")
    (DIST / "notes.md").write_text(notes.text, "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
