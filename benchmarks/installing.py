"""Measure the installation of the wheel: packages, size and time, in an empty environment for each Python and extra.

    python benchmarks/installing.py [python3.11 python3.12 ...]

It builds the wheel, installs it with pip, runs the demo, accepts an order with the SDK (release/smoke.py), and writes
the table of docs/installing.md. Sizes are bytes of files, without bytecode and without pip.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/installing.md"
EXTRAS: Final = ("", "server", "all")
_TABLE: Final = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)
_INSTALLERS: Final = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
_IMPORT: Final = "import time; t = time.perf_counter(); import kalathi.merchant; print(time.perf_counter() - t)"
_IMPORTS: Final = 9


class Installed(NamedTuple):
    """What one installation is."""

    python: str
    extra: str
    packages: int
    megabytes: float
    seconds: float
    import_millis: float
    demo_seconds: float | None
    order_seconds: float | None


def main() -> None:
    """Measure every Python of the command line, or this one, and write the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = _build(folder)
        found = []
        for number, python in enumerate(sys.argv[1:] or [sys.executable]):
            for extra in EXTRAS:
                found.append(_install(python, wheel, extra, folder / f"{number}-{extra or 'base'}"))
                print(found[-1], flush=True)
    PAGE.write_text(_TABLE.sub(lambda _: _render(found), PAGE.read_text("utf-8")), "utf-8")


def _build(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    [wheel] = folder.glob("kalathi-*.whl")
    return wheel


def _install(python: str, wheel: Path, extra: str, folder: Path) -> Installed:
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = folder / "bin/python"
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    began = time.perf_counter()
    subprocess.run(
        [own, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", wanted],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - began
    [site] = folder.glob("lib/python*/site-packages")
    packages = [path for path in site.glob("*.dist-info") if not path.name.startswith(("pip-", "setuptools-"))]
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and _counts(path.relative_to(site)))
    version = subprocess.run([own, "-V"], check=True, capture_output=True, text=True).stdout.split()[1]
    subprocess.run([own, "-m", "compileall", "-qq", site], check=False)  # Some libraries have files for other Pythons.
    imports = [
        float(subprocess.run([own, "-c", _IMPORT], check=True, capture_output=True).stdout) for _ in range(_IMPORTS)
    ]
    demo = order = None
    if extra:
        demo = _time([folder / "bin/kalathi", "demo", "--once"], folder)
        # Outside of the checkout, so that the example imports the installed package.
        order = _time([own, shutil.copy(ROOT / "release/smoke.py", folder)], folder)
    median = sorted(imports)[_IMPORTS // 2]
    return Installed(version, extra, len(packages), size / 1e6, seconds, median * 1000, demo, order)


def _time(command: list[object], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _counts(path: Path) -> bool:
    first = path.parts[0]
    return (
        "__pycache__" not in path.parts and first not in _INSTALLERS and not first.startswith(("pip-", "setuptools-"))
    )


def _render(found: list[Installed]) -> str:
    lines = [
        "| installed | Python | packages | MB | pip install | `import kalathi.merchant` | `kalathi demo --once`"
        " | one order with the SDK |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in found:
        name = f"kalathi[{entry.extra}]" if entry.extra else "kalathi"
        demo, order = ("" if it is None else f"{it:.1f} s" for it in (entry.demo_seconds, entry.order_seconds))
        lines.append(
            f"| `{name}` | {entry.python} | {entry.packages} | {entry.megabytes:.0f} | {entry.seconds:.1f} s |"
            f" {entry.import_millis:.0f} ms | {demo} | {order} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
