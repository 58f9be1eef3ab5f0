"""Check that every library has a file that is ready to install, for each system, processor and version of Python.

    python -m release.platforms

It asks the package index, changes nothing, and writes the table of docs/installing.md. A library without such a file
would have to be compiled by the user.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/installing.md"
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
# The names that the resolver has for them.
PLATFORMS: Final = {
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, arm64": "aarch64-manylinux_2_28",
    "Linux with musl (Alpine), x86-64": "x86_64-unknown-linux-musl",
    "macOS, Apple silicon": "aarch64-apple-darwin",
    "macOS, Intel": "x86_64-apple-darwin",
    "Windows, x86-64": "x86_64-pc-windows-msvc",
    "Windows, arm64": "aarch64-pc-windows-msvc",
}
EXTRAS: Final = ("", "server", "all")
# Resolving takes a second; an index that hangs is an error.
_SECONDS: Final = 120.0
_TABLE: Final = re.compile(r"(?<=<!-- platforms -->\n).*?(?=<!-- end -->)", re.DOTALL)
_CULPRIT: Final = re.compile(
    r"\b([a-z][a-z0-9-]*)(?:\[\w+\])?(?:[=<>]+\S+)? has no (?:usable )?wheels"
    r"|of ([a-z0-9-]+) have no usable"
    r"|Wheels are available for `([a-z0-9-]+)`"
)


def main() -> None:
    """Resolve every combination, and write the table."""
    lines = ["| system | `kalathi` | `kalathi[server]` | `kalathi[all]` |\n", "|---|---|---|---|\n"]
    for title, platform in PLATFORMS.items():
        cells = [_describe(extra, platform) for extra in EXTRAS]
        lines.append(f"| {title} | {' | '.join(cells)} |\n")
        print(lines[-1], end="", flush=True)
    PAGE.write_text(_TABLE.sub(lambda _: "".join(lines), PAGE.read_text("utf-8")), "utf-8")


def _describe(extra: str, platform: str) -> str:
    missing = {python: name for python in PYTHONS if (name := find_missing_wheel(extra, platform, python))}
    if not missing:
        return "yes"
    names = ", ".join(sorted(f"`{name}`" for name in set(missing.values())))
    return f"no: {names}" if len(missing) == len(PYTHONS) else f"not with {', '.join(missing)}: {names}"


def find_missing_wheel(extra: str, platform: str, python: str) -> str:
    """Return the library that cannot be installed without compiling it; empty if there is none."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--only-binary", ":all:"]
    command += ["--python-platform", platform, "--python-version", python]
    command += ["--extra", extra] if extra else []
    command.append("pyproject.toml")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if done.returncode == 0:
        return ""
    found = _CULPRIT.search(" ".join(done.stderr.split()))
    if found is None:
        raise SystemExit(done.stderr)
    return found[1] or found[2] or found[3]


if __name__ == "__main__":
    main()
