"""One marketplace for all checkups of a process. Its clock only moves forward, as in a long-running sandbox."""

from collections.abc import Iterator

import pytest

from kalathi.testing.server import Server, run_server


@pytest.fixture(scope="session")
def marketplace() -> Iterator[Server]:
    with run_server() as server:
        yield server
