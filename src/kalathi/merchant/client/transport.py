"""The seams to the network: a request goes in, an answer comes out. Tests give others."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import niquests

from kalathi.merchant.client.failures import UnreachableError

_NO_HEADERS: Final[Mapping[str, str]] = {}


class HttpAnswer(NamedTuple):
    """Status, whole body, and headers under lower-case names."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _NO_HEADERS


class AsyncTransport(Protocol):
    """Sends one request."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class Transport(Protocol):
    """The same without an event loop."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


class AsyncNetwork:
    """The real network, over one pool of connections."""

    def __init__(self, timeout_seconds: float) -> None:
        self._session = niquests.AsyncSession(disable_http3=True)
        self._timeout_seconds = timeout_seconds

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer."""
        try:
            # The library's own limit is one for each read; this one is for the whole answer.
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._session.request(
                    method, url, headers=dict(headers), data=body, timeout=self._timeout_seconds
                )
        except TimeoutError:
            raise UnreachableError(f"no whole answer within {self._timeout_seconds:g} s") from None
        except (niquests.RequestException, ValueError) as error:  # ValueError: a link that is no address
            raise _no_answer(error) from None
        return _answer(response)

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


class Network:
    """The same without an event loop. The time limit is one for connecting and one for each read."""

    def __init__(self, timeout_seconds: float) -> None:
        self._session = niquests.Session(disable_http3=True)
        self._timeout_seconds = timeout_seconds

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer."""
        try:
            response = self._session.request(
                method, url, headers=dict(headers), data=body, timeout=self._timeout_seconds
            )
        except (niquests.RequestException, ValueError) as error:
            raise _no_answer(error) from None
        return _answer(response)

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()


def _no_answer(error: Exception) -> UnreachableError:
    # The text of the library's error may hold the whole URL, and a URL may hold a secret.
    return UnreachableError(f"no answer ({type(error).__name__})")


def _answer(response: niquests.Response) -> HttpAnswer:
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return HttpAnswer(response.status_code or 0, response.content or b"", headers)
