"""The pytest plugin: a marketplace for each test session, and a shop of its own for each test (docs/testing.md).

pytest imports this module in every project in which Kalathi is installed. So it imports the rest of Kalathi only when a
test uses one of its fixtures.
"""

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kalathi.testing import AsyncKalathi, Kalathi, Server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("kalathi", "a sandbox marketplace for tests")
    group.addoption(
        "--kalathi-url",
        default=os.environ.get("KALATHI_URL", ""),
        help="Use this running sandbox instead of starting one; its operator's token is in KALATHI_OPERATOR_TOKEN.",
    )
    group.addoption(
        "--kalathi-rough", action="store_true", help="Start the sandbox with --rough: a mild mixture of faults."
    )


@pytest.fixture(scope="session")
def kalathi_server(request: pytest.FixtureRequest) -> "Iterator[Server]":
    """The marketplace of this session, or of this xdist worker: a process on a free port, or the running sandbox of
    --kalathi-url."""
    from kalathi.testing.server import Server, run_server  # noqa: PLC0415  (see above)

    url = request.config.getoption("--kalathi-url")
    if url:
        yield Server(url, os.environ.get("KALATHI_OPERATOR_TOKEN", ""))
        return
    options = ["--rough"] if request.config.getoption("--kalathi-rough") else []
    with run_server(options) as server:
        yield server


_OPENED = pytest.StashKey["Kalathi"]()


@pytest.fixture
def kalathi(request: pytest.FixtureRequest, kalathi_server: "Server") -> "Iterator[Kalathi]":
    """A marketplace with a shop for this test. At the end, every webhook must have been answered with 200."""
    from kalathi.testing.sync_kalathi import Kalathi  # noqa: PLC0415  (see above)

    with Kalathi.connect(kalathi_server.url, kalathi_server.operator_token) as opened:
        request.node.stash[_OPENED] = opened
        yield opened


@pytest.fixture
def async_kalathi(kalathi: "Kalathi") -> "AsyncKalathi":
    """The same as `kalathi`, with calls that a test awaits. Both fixtures of one test have the same shop."""
    from kalathi.testing.async_kalathi import AsyncKalathi  # noqa: PLC0415  (see above)

    return AsyncKalathi(kalathi.state)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, None]:
    """Add the calls and webhooks of its shop to the report of a failed test."""
    report = (yield).get_result()
    opened = item.stash.get(_OPENED, None)
    # The message of a failed check of webhooks, after the test, has the report already.
    if report.when != "teardown" and report.failed and opened is not None:
        report.sections.append(("Kalathi", opened.report()))
