"""Get a browser for the tests of the pages. `make test` calls this first: `python -m tests.browser.get_browser`.

It takes the first way that works:

1. a browser that is installed: the one that KALATHI_CHROMIUM names, one on the PATH, or Playwright's own,
2. as root on Debian or Ubuntu, the package `chromium`,
3. Playwright's own browser, `playwright install chromium`.

Only when all of them fail does it exit with 1, and says why each one did. A browser counts as working when it answers
`--version`: the `chromium-browser` of Ubuntu, for example, is a script that only says that a snap is missing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_GET_ONE: Final = (
    "Get one: sudo apt-get install chromium (or your system's package of Chromium or Chrome).\n"
    "Or name another one: make test KALATHI_CHROMIUM=/path/to/it"
)
_ANSWER_SECONDS: Final = 60
_INSTALL_SECONDS: Final = 1200
# A fresh machine often upgrades itself at its first start; apt-get then waits for its turn.
_APT_GET: Final = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")


class Machine(Protocol):
    """What the choice of a browser depends on. Tests give a machine of their own."""

    def named(self) -> str:
        """KALATHI_CHROMIUM, or an empty text."""

    def path_of(self, command: str) -> str | None:
        """Where a command of this name is, or None."""

    def playwrights_own(self) -> str:
        """Where Playwright's own browser is once it is installed."""

    def is_root(self) -> bool:
        """Whether this process may install packages."""

    def run(self, *command: str, seconds: int) -> str | None:
        """Run a command to its end. Return why it failed, or None."""


class NoBrowserError(Exception):
    """No way worked. The text says what was tried, each with its reason, and how to get a browser."""

    def __init__(self, tried: list[str]) -> None:
        lines = [f"  {what}" for what in tried]
        super().__init__("\n".join(["Tried for a browser that clicks through the pages:", *lines, HOW_TO_GET_ONE]))


def find_browser(machine: Machine, tried: list[str]) -> str | None:
    """Return the path of an installed browser that works, or None. Append to `tried` why each other one is not used."""
    for label, path in _candidates(machine):
        reason = machine.run(path, "--version", seconds=_ANSWER_SECONDS) if path else "not there"
        if reason is None:
            return path
        tried.append(f"{label}: {reason}")
    return None


def get_browser(machine: Machine, say: Callable[[str], None]) -> str:
    """Return the path of a browser that works, installed first if need be. Raises NoBrowserError."""
    tried: list[str] = []
    found = find_browser(machine, tried)
    for label, commands in _ways(machine, tried):
        if found:
            break
        say(f"No browser works on this machine yet. Running {label}: it takes a minute or more.")
        failures = [reason for command in commands if (reason := machine.run(*command, seconds=_INSTALL_SECONDS))]
        missing: list[str] = []
        found = find_browser(machine, missing)
        tried.append(f"{label}: {'; '.join(failures or missing)}")
    if not found:
        raise NoBrowserError(tried)
    return found


def _candidates(machine: Machine) -> Iterator[tuple[str, str | None]]:
    named = machine.named()
    if named:
        yield f"KALATHI_CHROMIUM={named}", named
    for name in NAMES:
        yield name, machine.path_of(name)
    yield "the browser of Playwright", machine.playwrights_own()


def _ways(machine: Machine, tried: list[str]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """The commands of each way to install a browser. If the lists cannot be updated, the old ones may be enough."""
    packages = machine.is_root() and machine.path_of("apt-get") is not None
    if packages:
        install = (*_APT_GET, "install", "--no-install-recommends", "chromium")
        yield "apt-get install chromium", [(*_APT_GET, "update"), install]
    else:
        reason = "there is no apt-get" if machine.is_root() else "only root may install packages"
        tried.append(f"apt-get install chromium: {reason}")
    # Playwright's browser needs libraries of the system, which Playwright installs by apt-get as well.
    extra = ("--with-deps",) if packages else ()
    yield "playwright install chromium", [(sys.executable, "-m", "playwright", "install", *extra, "chromium")]


class ThisMachine:
    """The machine that runs the tests."""

    def __init__(self, playwrights_own: Callable[[], str]) -> None:
        """`playwrights_own` is asked only when no other browser works: Playwright starts a process to answer."""
        self.playwrights_own = playwrights_own

    def named(self) -> str:
        return os.environ.get("KALATHI_CHROMIUM", "")

    def path_of(self, command: str) -> str | None:
        return shutil.which(command)

    def is_root(self) -> bool:
        return os.geteuid() == 0

    def run(self, *command: str, seconds: int) -> str | None:
        variables = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        try:
            ended = subprocess.run(
                command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no end after {seconds} seconds"
        except OSError as error:
            return error.strerror or str(error)
        said = (ended.stderr + ended.stdout).decode(errors="replace").split("\n")
        return None if ended.returncode == 0 else _reason(ended.returncode, said)


def _reason(status: int, lines: list[str]) -> str:
    """The exit status and the most informative line: one that names an error, else the first."""
    lines = [line.strip() for line in lines if line.strip()]
    line = next((line for line in lines if line.lower().startswith(("e:", "error"))), next(iter(lines), ""))
    return f"exit status {status}: {line[:300]}"


def _playwrights_own() -> str:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (it starts a process; most machines need none)

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def main(machine: Machine) -> int:
    """Say which browser the tests use. Return the exit status: 1 when there is none."""
    try:
        path = get_browser(machine, lambda text: print(text, flush=True))
    except NoBrowserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The tests of the pages use {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(ThisMachine(_playwrights_own)))
