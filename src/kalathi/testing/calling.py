"""Calls of the operator's API, and how they run in tests with and without an event loop."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
import niquests

from kalathi.contract.codec import encode
from kalathi.operator_calls import add_query, find_wait, read_refusal, report_unreachable

P = ParamSpec("P")
T = TypeVar("T")

_SECONDS: Final = 30.0
_LONGEST_TURN_SECONDS: Final = 1.0


class Caller:
    """Calls a marketplace with the operator's token. `url` has no slash at its end."""

    def __init__(self, url: str, operator_token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {operator_token}", "Content-Type": "application/json"}
        self._session = niquests.Session(disable_http3=True)
        self._session.trust_env = False  # Otherwise the library reads `.netrc` and proxies of the environment.

    def call(self, method: str, path: str, body: object = None, query: Mapping[str, object] | None = None) -> Any:
        """Return the decoded answer. Parameters of the query that are None are left out. Raises OperatorError if the
        marketplace refuses the call or does not answer."""
        try:
            answer = self._session.request(
                method,
                self.url + add_query(path, query),
                headers=self._headers,
                data=None if body is None else encode(body),
                timeout=_SECONDS + find_wait(query),
                allow_redirects=False,
            )
        except niquests.RequestException as error:
            raise report_unreachable(self.url, error) from None
        content = answer.content or b""
        if answer.status_code not in {200, 201}:
            raise read_refusal(content, answer.status_code)
        return msgspec.json.decode(content)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class WaitTurns:
    """A wait in turns of a second, so that a cancelled test does not wait for the end of a long call."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def next_seconds(self) -> float:
        """Return the length of the next turn."""
        return round(min(_LONGEST_TURN_SECONDS, max(0.0, self._until - time.monotonic())), 3)

    @property
    def are_over(self) -> bool:
        """Whether there is no time left."""
        return time.monotonic() >= self._until


def run(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function that may wait for the network."""
    return function(*arguments, **named)


async def async_run(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function that may wait for the network, without blocking the event loop."""
    return await asyncio.to_thread(function, *arguments, **named)
