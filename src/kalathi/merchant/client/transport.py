"""The seams to the network: a request goes in, an answer comes out. Tests give others.

The HTTP library follows no redirects and does not read `.netrc`. `redirects.py` decides about redirects, and only the
caller's headers are sent. Proxies and certificates come from the environment as usual.
"""

import asyncio
import ipaddress
import os
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import niquests
from niquests.utils import get_environ_proxies

from kalathi.merchant.client.failures import RedirectedError, UnreachableError
from kalathi.merchant.client.redirects import Refused, Request, decide

_NO_HEADERS: Final[Mapping[str, str]] = {}


class HttpAnswer(NamedTuple):
    """Status, whole body, and headers under lower-case names."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _NO_HEADERS


class AsyncTransport(Protocol):
    """Sends one request."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer, RedirectedError for a redirect that is not followed."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class Transport(Protocol):
    """The same without an event loop."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer, RedirectedError for a redirect that is not followed."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


# Both sessions override `resolve_redirects`. Even with allow_redirects=False the library prepares the next request, and
# raises if its address is malformed. The signature is shorter than the library's, because no argument is needed: hence
# the two ignored overrides.


class _AsyncSession(niquests.AsyncSession):
    async def resolve_redirects(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:  # type: ignore[override]  # Any arguments.
        """Yield no request."""
        nothing: tuple[Any, ...] = ()
        for request in nothing:
            yield request


class _Session(niquests.Session):
    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:  # type: ignore[override]  # Any arguments.
        """The same."""
        return iter(())


class AsyncNetwork:
    """The real network, over one pool of connections."""

    def __init__(self, timeout_seconds: float, *, setting: str = "", uses_proxy: bool = False) -> None:
        """`setting` is the flag that sets the time limit; a message about the limit names it. `uses_proxy`: calls to
        other machines go through the proxy of the environment."""
        self._uses_proxy = uses_proxy
        self._session = _AsyncSession(disable_http3=True)
        self._session.trust_env = False  # It is what reads `.netrc`.
        self._timeout_seconds = timeout_seconds
        self._named_limit = f"{timeout_seconds:g} s ({setting})" if setting else f"{timeout_seconds:g} s"

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer, RedirectedError for a redirect that is not followed."""
        try:
            # The library's own limit is one for each read; this one is for the whole answer, redirects included.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._follow(Request(method, url, headers, body))
        except TimeoutError:
            raise UnreachableError(f"no whole answer within {self._named_limit}") from None
        except (niquests.RequestException, ValueError) as error:  # ValueError: a link that is no address
            raise _no_answer(error) from None

    async def _follow(self, request: Request) -> HttpAnswer:
        steps = _steps(request)
        sending = next(steps)
        while isinstance(sending, Request):
            sending = steps.send(
                await self._session.request(**_arguments(sending, self._timeout_seconds, uses_proxy=self._uses_proxy))
            )
        return sending

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


class Network:
    """The same without an event loop. The time limit is one for connecting and one for each read."""

    def __init__(self, timeout_seconds: float, *, uses_proxy: bool = False) -> None:
        self._uses_proxy = uses_proxy
        self._session = _Session(disable_http3=True)
        self._session.trust_env = False
        self._timeout_seconds = timeout_seconds

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Raises UnreachableError when there is no answer, RedirectedError for a redirect that is not followed."""
        try:
            return self._follow(Request(method, url, headers, body))
        except (niquests.RequestException, ValueError) as error:
            raise _no_answer(error) from None

    def _follow(self, request: Request) -> HttpAnswer:
        steps = _steps(request)
        sending = next(steps)
        while isinstance(sending, Request):
            sending = steps.send(
                self._session.request(**_arguments(sending, self._timeout_seconds, uses_proxy=self._uses_proxy))
            )
        return sending

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()


def environment(url: str, *, uses_proxy: bool) -> dict[str, Any]:
    """Return proxies and certificates of the environment, for a session that does not read `.netrc`.

    A proxy sees every token that goes to a marketplace without TLS, so it is used only by choice, and never for an
    address of this machine.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    proxies = get_environ_proxies(url) if uses_proxy and not is_this_machine(url) else {}
    return {"proxies": proxies, "verify": bundle or None}


def is_this_machine(url: str) -> bool:
    """Whether the URL's host is this machine by its name or address."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _steps(request: Request) -> Generator[Request | HttpAnswer, niquests.Response, None]:
    """Yield each request to send, for which the caller sends the library's response, and at last the answer.

    Both networks drive this one loop. Raises RedirectedError.
    """
    earlier: list[str] = []
    while True:
        answer = _answer((yield request))
        following = _following(request, answer, earlier)
        if following is None:
            yield answer
            return
        earlier.append(request.url)
        request = following


def _arguments(request: Request, timeout_seconds: float, *, uses_proxy: bool) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "data": request.body,
        "timeout": timeout_seconds,
        "allow_redirects": False,
        **environment(request.url, uses_proxy=uses_proxy),
    }


def _following(request: Request, answer: HttpAnswer, earlier: Sequence[str]) -> Request | None:
    """The request that the answer leads to, if it leads to one. Raises RedirectedError."""
    decision = decide(request, answer.status, answer.headers.get("location", ""), earlier)
    if isinstance(decision, Refused):
        raise RedirectedError(decision)
    return decision


def _no_answer(error: Exception) -> UnreachableError:
    # The text of the library's error may hold the whole URL, and a URL may hold a secret.
    return UnreachableError(f"no answer ({type(error).__name__})")


def _answer(response: niquests.Response) -> HttpAnswer:
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return HttpAnswer(response.status_code or 0, response.content or b"", headers)
