"""Calls of the operator's API, and how they run in tests with and without an event loop."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlencode

import msgspec
import niquests

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode, encode
from kalathi.contract.errors import ErrorEnvelope

P = ParamSpec("P")
T = TypeVar("T")

_SECONDS: Final = 30.0


class RefusedCallError(Exception):
    """The marketplace refused a call. `code` is its error code, and the text has its sentences."""

    def __init__(self, code: str, sentences: str) -> None:
        super().__init__(f"{code}: {sentences}")
        self.code = code


class Caller:
    """Calls a marketplace with the operator's token. `url` has no slash at its end."""

    def __init__(self, url: str, operator_token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {operator_token}", "Content-Type": "application/json"}
        self._session = niquests.Session(disable_http3=True)
        self._session.trust_env = False  # Otherwise the library reads `.netrc` and proxies of the environment.

    def call(self, method: str, path: str, body: object = None, query: Mapping[str, object] | None = None) -> Any:
        """Return the decoded answer. Parameters of the query that are None are left out. Raises RefusedCallError, and
        niquests.RequestException if the marketplace does not answer."""
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        wait = float(given.get("wait", 0))
        answer = self._session.request(
            method,
            f"{self.url}{path}?{urlencode(given)}" if given else self.url + path,
            headers=self._headers,
            data=None if body is None else encode(body),
            timeout=_SECONDS + wait,
            allow_redirects=False,
        )
        content = answer.content or b""
        if answer.status_code not in {200, 201}:
            raise _refusal_of(answer.status_code, content)
        return msgspec.json.decode(content)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _refusal_of(status: int | None, content: bytes) -> RefusedCallError:
    try:
        envelope = decode(content, ErrorEnvelope)
    except (UnreadableBodyError, UnexpectedShapeError):
        return RefusedCallError(str(status), "The answer is not an error envelope.")
    return RefusedCallError(envelope.errors[0].code if envelope.errors else str(status), envelope.sentences())


def run(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function that may wait for the network."""
    return function(*arguments, **named)


async def async_run(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function that may wait for the network, without blocking the event loop."""
    return await asyncio.to_thread(function, *arguments, **named)
