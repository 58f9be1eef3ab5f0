"""Which browser the tests of the pages get, on every kind of machine."""

import sys
from collections.abc import Callable

import pytest

from tests.browser.get_browser import (
    HOW_TO_GET_ONE,
    NAMES,
    Machine,
    NoBrowserError,
    ThisMachine,
    find_browser,
    get_browser,
    main,
)

OWN = "/cache/playwright/chrome"
PLAYWRIGHT = (sys.executable, "-m", "playwright", "install")


class FakeMachine:
    """A machine on which only some browsers work. `installs` says what each command line brings or why it fails."""

    def __init__(
        self, *working: str, named: str = "", root: bool = False, apt: bool = True, broken: tuple[str, ...] = ()
    ) -> None:
        self.working = set(working)
        self.broken = set(broken)
        self.name = named
        self.root = root
        self.apt = apt
        # By the words that its command line ends with: the browser that is there afterwards, or why it fails.
        self.brings: dict[str, str] = {}
        self.fails: dict[str, str] = {}
        self.ran: list[tuple[str, ...]] = []
        self.said: list[str] = []

    def named(self) -> str:
        return self.name

    def path_of(self, command: str) -> str | None:
        if command == "apt-get":
            return "/usr/bin/apt-get" if self.apt else None
        path = f"/usr/bin/{command}"
        return path if path in self.working | self.broken else None

    def playwrights_own(self) -> str:
        return OWN

    def is_root(self) -> bool:
        return self.root

    def run(self, *command: str, seconds: int) -> str | None:
        assert seconds > 0
        if command[1:] == ("--version",):
            return None if command[0] in self.working else "exit status 1: it needs a snap"
        self.ran.append(command)
        what = "update" if command[-1] == "update" else "apt-get" if command[0] == "apt-get" else "playwright"
        if what in self.fails:
            return self.fails[what]
        if what in self.brings:
            self.working.add(self.brings[what])
        return None

    def get(self) -> str:
        return get_browser(self, self.said.append)

    def ran_briefly(self) -> list[str]:
        """The commands that install, without their options of apt-get and the path of Python."""
        brief = []
        for command in self.ran:
            words = command[command.index("install" if "install" in command else "update") :]
            brief.append(" ".join((command[0] if command[0] == "apt-get" else command[2], *words)))
        return brief


APT = ["apt-get update", "apt-get install --no-install-recommends chromium"]


@pytest.mark.parametrize("name", NAMES)
def test_an_installed_browser_is_used_and_nothing_is_installed(name: str) -> None:
    machine = FakeMachine(f"/usr/bin/{name}", root=True)
    assert machine.get() == f"/usr/bin/{name}"
    assert machine.ran == []
    assert machine.said == []


def test_the_named_browser_comes_before_the_installed_ones() -> None:
    machine = FakeMachine("/opt/mine", "/usr/bin/chromium", OWN, named="/opt/mine")
    assert machine.get() == "/opt/mine"


def test_browsers_of_the_machine_come_in_the_order_of_their_names_and_before_playwrights_own() -> None:
    paths = [*(f"/usr/bin/{name}" for name in NAMES), OWN]
    for first in range(len(paths)):
        assert FakeMachine(*paths[first:]).get() == paths[first]


def test_playwrights_own_browser_is_found_when_it_was_installed_before() -> None:
    machine = FakeMachine(OWN, root=True)
    assert machine.get() == OWN
    assert machine.ran == []


def test_a_browser_that_does_not_start_is_passed_over() -> None:
    machine = FakeMachine("/usr/bin/google-chrome", broken=("/usr/bin/chromium-browser",))
    assert machine.get() == "/usr/bin/google-chrome"


def test_a_named_browser_that_does_not_work_is_passed_over_with_the_reason() -> None:
    tried: list[str] = []
    machine = FakeMachine("/usr/bin/chromium", named="/opt/gone")
    assert find_browser(machine, tried) == "/usr/bin/chromium"
    assert tried == ["KALATHI_CHROMIUM=/opt/gone: exit status 1: it needs a snap"]


def test_root_updates_the_lists_announces_and_installs_the_package() -> None:
    machine = FakeMachine(root=True)
    machine.brings = {"apt-get": "/usr/bin/chromium"}
    assert machine.get() == "/usr/bin/chromium"
    assert machine.ran_briefly() == APT
    assert [text for text in machine.said if "apt-get install chromium" in text and "a minute or more" in text]
    assert len(machine.said) == 1


def test_a_failed_list_update_does_not_stop_the_installation() -> None:
    machine = FakeMachine(root=True)
    machine.fails = {"update": "exit status 100: E: no network"}
    machine.brings = {"apt-get": "/usr/bin/chromium"}
    assert machine.get() == "/usr/bin/chromium"
    assert machine.ran_briefly() == APT


def test_without_the_package_playwright_installs_browser_and_libraries() -> None:
    machine = FakeMachine(root=True)
    machine.fails = {"apt-get": "exit status 100: E: no installation candidate"}
    machine.brings = {"playwright": OWN}
    assert machine.get() == OWN
    assert machine.ran_briefly() == [*APT, "playwright install --with-deps chromium"]


def test_if_the_package_does_not_work_playwright_installs_its_browser() -> None:
    machine = FakeMachine(root=True, broken=("/usr/bin/chromium-browser",))
    machine.brings = {"playwright": OWN}
    assert machine.get() == OWN
    assert len(machine.said) == 2


@pytest.mark.parametrize(("root", "apt"), [(False, True), (False, False), (True, False)])
def test_without_root_or_apt_get_playwright_installs_its_browser(root: bool, apt: bool) -> None:
    machine = FakeMachine(root=root, apt=apt)
    machine.brings = {"playwright": OWN}
    assert machine.get() == OWN
    assert machine.ran == [(*PLAYWRIGHT, "chromium")]


def test_when_all_fail_each_is_named_with_its_reason_and_how_to_get_one() -> None:
    machine = FakeMachine(named="/opt/gone", root=True, broken=("/usr/bin/chromium-browser",))
    machine.fails = {
        "update": "exit status 100: E: no network",
        "apt-get": "exit status 100: E: unable to locate package",
        "playwright": "exit status 1: Error: getaddrinfo ENOTFOUND",
    }
    with pytest.raises(NoBrowserError) as caught:
        machine.get()
    assert str(caught.value).splitlines() == [
        "Tried for a browser that clicks through the pages:",
        "  KALATHI_CHROMIUM=/opt/gone: exit status 1: it needs a snap",
        "  chromium: not there",
        "  chromium-browser: exit status 1: it needs a snap",
        "  google-chrome: not there",
        "  google-chrome-stable: not there",
        "  the browser of Playwright: exit status 1: it needs a snap",
        "  apt-get install chromium: exit status 100: E: no network; exit status 100: E: unable to locate package",
        "  playwright install chromium: exit status 1: Error: getaddrinfo ENOTFOUND",
        *HOW_TO_GET_ONE.splitlines(),
    ]


@pytest.mark.parametrize(
    ("root", "apt", "reason"),
    [(False, True, "only root may install packages"), (True, False, "there is no apt-get")],
)
def test_when_all_fail_the_reason_for_no_package_is_named(root: bool, apt: bool, reason: str) -> None:
    machine = FakeMachine(root=root, apt=apt)
    machine.fails = {"playwright": "exit status 1"}
    with pytest.raises(NoBrowserError, match=f"apt-get install chromium: {reason}"):
        machine.get()


def test_an_installation_without_a_browser_is_a_failure() -> None:
    with pytest.raises(NoBrowserError, match="playwright install chromium: chromium: not there"):
        FakeMachine().get()


def test_main_fails_only_if_every_way_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def machine_that(prepare: Callable[[FakeMachine], None]) -> Machine:
        machine = FakeMachine(root=True)
        prepare(machine)
        return machine

    assert main(machine_that(lambda machine: machine.working.add("/usr/bin/chromium"))) == 0
    assert main(machine_that(lambda machine: machine.brings.update({"apt-get": "/usr/bin/chromium"}))) == 0
    assert main(machine_that(lambda machine: machine.brings.update({"playwright": OWN}))) == 0
    out, error = capsys.readouterr()
    assert out.splitlines()[-1] == f"The tests of the pages use {OWN}"
    assert error == ""
    assert main(machine_that(lambda machine: None)) == 1
    assert HOW_TO_GET_ONE in capsys.readouterr().err


def _python(code: str, seconds: int = 60) -> str | None:
    return ThisMachine(lambda: OWN).run(sys.executable, "-c", code, seconds=seconds)


def test_a_successful_command_has_no_failure_reason() -> None:
    assert _python("print('Chromium 1')") is None


def test_the_reason_of_a_command_is_its_status_and_the_line_that_names_the_error() -> None:
    code = "import sys; print('Reading'); print('W: old'); print('E: Unable to locate', file=sys.stderr); sys.exit(100)"
    assert _python(code) == "exit status 100: E: Unable to locate"
    assert _python("print('It needs a snap'); exit(1)") == "exit status 1: It needs a snap"


def test_a_missing_or_endless_command_has_a_failure_reason() -> None:
    assert ThisMachine(lambda: OWN).run("/nowhere/chromium", "--version", seconds=60) == "No such file or directory"
    assert _python("import threading; threading.Event().wait()", seconds=1) == "no end after 1 seconds"
