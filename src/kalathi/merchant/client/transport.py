"""The one seam to the network: a request goes in, an answer comes out. Tests give another one."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import niquests

from kalathi.merchant.client.failures import UnreachableError


class HttpAnswer(NamedTuple):
    """Status and whole body."""

    status: int
    body: bytes


class Transport(Protocol):
    """Sends one request."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class NetworkTransport:
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
            # The text of the library's error may hold the whole URL, and a URL may hold a secret.
            raise UnreachableError(f"no answer ({type(error).__name__})") from None
        return HttpAnswer(response.status_code or 0, response.content or b"")

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()
