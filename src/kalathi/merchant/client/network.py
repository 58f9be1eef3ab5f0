"""The real network, with and without an event loop.

The HTTP library follows no redirects and does not read `.netrc`. `redirects.py` decides about redirects, and only the
caller's headers are sent. Certificates come from the environment, and proxies too if the caller wants that.

The library takes two thirds of the time of `import kalathi.merchant`, so a client imports this module when it is made.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from typing import Any

import niquests
from niquests.utils import get_environ_proxies

from kalathi.merchant.client.failures import RedirectedError, UnreachableError
from kalathi.merchant.client.redirects import Refused, Request, decide
from kalathi.merchant.client.transport import HttpAnswer, is_this_machine

# Both sessions override `resolve_redirects`. Even with allow_redirects=False the library prepares the next request, and
# raises an error if its address is malformed. The overrides use no argument, so their signature is shorter than the
# library's, and mypy ignores that.


class _AsyncSession(niquests.AsyncSession):
    async def resolve_redirects(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:  # type: ignore[override]  # Shorter than the library's, as said above.
        """Yield no request."""
        nothing: tuple[Any, ...] = ()
        for request in nothing:
            yield request


class _Session(niquests.Session):
    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:  # type: ignore[override]  # Shorter than the library's, as said above.
        """Yield no request."""
        return iter(())


class AsyncNetwork:
    """The real network, over one pool of connections."""

    def __init__(self, timeout_seconds: float, *, setting: str = "", uses_proxy: bool = False) -> None:
        """`setting` is the flag that sets the time limit, for messages about the limit. `uses_proxy`: calls to other
        machines use the proxy of the environment."""
        self._uses_proxy = uses_proxy
        self._session = _AsyncSession(disable_http3=True)
        self._session.trust_env = False  # Otherwise the library reads `.netrc`.
        self._timeout_seconds = timeout_seconds
        self._named_limit = f"{timeout_seconds:g} s ({setting})" if setting else f"{timeout_seconds:g} s"

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Send one request. Raises UnreachableError without an answer, RedirectedError for a refused redirect."""
        try:
            # The library applies its time limit to each read. This limit is for the whole answer, with redirects.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._follow(Request(method, url, headers, body))
        except TimeoutError:
            raise UnreachableError(f"no whole answer within {self._named_limit}") from None
        except (niquests.RequestException, ValueError) as error:  # ValueError: the link is not an address.
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
        """Close the connections."""
        await self._session.close()


class Network:
    """The real network without an event loop. The time limit applies to connecting, and to each read."""

    def __init__(self, timeout_seconds: float, *, uses_proxy: bool = False) -> None:
        self._uses_proxy = uses_proxy
        self._session = _Session(disable_http3=True)
        self._session.trust_env = False
        self._timeout_seconds = timeout_seconds

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Send one request. Raises UnreachableError without an answer, RedirectedError for a refused redirect."""
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
        """Close the connections."""
        self._session.close()


def environment(url: str, *, uses_proxy: bool) -> dict[str, Any]:
    """Return the proxies and certificates of the environment, for a session that does not read `.netrc`.

    Without TLS, a proxy sees every token that is sent to the marketplace. So a proxy is used only with `uses_proxy`,
    and never for an address of this machine.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    proxies = get_environ_proxies(url) if uses_proxy and not is_this_machine(url) else {}
    return {"proxies": proxies, "verify": bundle or None}


def _steps(request: Request) -> Generator[Request | HttpAnswer, niquests.Response, None]:
    """Yield each request to send, receive the library's response to it, and finally yield the answer.

    Both networks use this loop. Raises RedirectedError.
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
    """Return the request for a redirect, or None if the answer is not a redirect. Raises RedirectedError."""
    decision = decide(request, answer.status, answer.headers.get("location", ""), earlier)
    if isinstance(decision, Refused):
        raise RedirectedError(decision)
    return decision


def _no_answer(error: Exception) -> UnreachableError:
    # The text of the library's error may contain the whole URL, and a URL may contain a secret.
    return UnreachableError(f"no answer ({type(error).__name__})")


def _answer(response: niquests.Response) -> HttpAnswer:
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return HttpAnswer(response.status_code or 0, response.content or b"", headers)
