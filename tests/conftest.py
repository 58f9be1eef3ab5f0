"""Shared by every suite: the event loop, the garbage collector, a sealed network for tests without one, and the check
that statements name their shop."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from kalathi.serving import spare_the_collector
from tests.memory_folder import use_memory

use_memory(os.environ)

# Show their failed assertions in full, as in the tests themselves.
pytest.register_assert_rewrite(
    "tests.market", "tests.virtual.life", "tests.virtual.life_returns", "tests.browser.browsing"
)

from tests.market import Market, Shop, open_market  # noqa: E402  (after its assertions are registered)
from tests.statement_shapes import StatementLog, describe_faults  # noqa: E402  (with the one above)

# No deadline: these machines are shared, and a slow moment is no fault of the code. A failing example is printed with
# the blob that reproduces it.
settings.register_profile("kalathi", deadline=None, print_blob=True)
settings.load_profile("kalathi")


def pytest_collection_finish() -> None:
    """Set the collector of cycles as every command of the product sets it. By default it walks through all modules and
    all collected tests again and again, which takes a fifth of the time of a test that makes many calls."""
    spare_the_collector()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that none of them is the last one that runs, on one core alone. On Windows, also
    a simulated one, skip those that say why they cannot pass there."""
    if find_spec("fcntl") is None:
        for item in items:
            if marker := item.get_closest_marker("posix"):
                item.add_marker(pytest.mark.skip(reason=marker.args[0]))
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))


_LONGEST = (
    "test_correct_receivers.py",
    "test_connector_days.py",
    "test_simulation.py",
    "test_crash.py",
    "test_days.py",
    "test_accessibility.py",
    "test_races.py",
    "test_connector_memory.py",
    "test_hostile.py",
)
_SEALED = ("unit", "contract", "panel", "exhaustive")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, which is what the product runs on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def sealed_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests of these folders never open a connection."""
    if Path(str(request.node.path)).parent.name in _SEALED:

        def refuse(*_arguments: object) -> None:
            raise AssertionError("a test of this folder must not use the network")

        monkeypatch.setattr(socket.socket, "connect", refuse)
    yield


@pytest.fixture(scope="session", autouse=True)
def statement_log() -> Iterator[StatementLog]:
    """The statements of this process."""
    logger, log = logging.getLogger("kalathi.statements"), StatementLog()
    logger.addFilter(log)
    logger.setLevel(logging.DEBUG)
    yield log
    logger.setLevel(logging.NOTSET)
    logger.removeFilter(log)


@pytest.fixture(autouse=True)
def statements_name_their_shop(statement_log: StatementLog) -> Iterator[None]:
    """Fail a test that runs a new statement which needs all nodes of a database that is spread over nodes."""
    yield
    if faults := describe_faults(statement_log.take_new()):
        pytest.fail(faults, pytrace=False)


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    """A whole marketplace in this process, with an empty database."""
    async with open_market(tmp_path) as opened:
        yield opened


@pytest.fixture
async def shop(market: Market) -> Shop:
    """A shop of the marketplace with two listings."""
    return await market.shop()


@pytest.fixture
def examples() -> Path:
    """The recorded bodies."""
    return Path(__file__).parent / "data" / "examples"
