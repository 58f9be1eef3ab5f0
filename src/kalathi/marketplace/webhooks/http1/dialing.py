"""Dial a target: look its name up, check the addresses, connect to the first that answers, and begin TLS.

The address that is dialled is the one that has passed the guard. Several addresses race as RFC 8305 says.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from typing import Final

from kalathi.marketplace.kernel.targets import Target
from kalathi.marketplace.webhooks.answer import SendError
from kalathi.marketplace.webhooks.guard import Allowed, ForbiddenAddressError, is_written_out
from kalathi.marketplace.webhooks.http1.connections import Connection
from kalathi.marketplace.webhooks.http1.tunnel import ProxyError, open_tunnel
from kalathi.marketplace.webhooks.names import Address, Names

# Delay before the next address is tried in parallel (RFC 8305, section 5).
_NEXT_ADDRESS_SECONDS: Final = 0.25
# Cache time of a name lookup. Without it, a receiver that closes every connection would cost a lookup per webhook.
_NAMES_KEPT_SECONDS: Final = 10.0
_MOST_NAMES: Final = 4096


class Dialer:
    """Opens connections to targets."""

    def __init__(
        self,
        names: Names,
        allowed: Allowed | None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        proxy: Target | None = None,
    ) -> None:
        """`allowed` says which addresses may be dialled; None allows all. `tls` replaces the system's certificates.
        `clock` counts seconds. With a `proxy` every connection is a tunnel through it."""
        self._proxy = proxy
        self._clock = clock
        self._names = names
        self._allowed = allowed
        self._tls = tls or ssl.create_default_context()
        self._found: dict[tuple[str, int], tuple[float, Sequence[Address]]] = {}

    async def dial(self, target: Target) -> Connection:
        """Return an open connection. Raises ForbiddenAddressError, OSError; ssl.SSLError is one of the latter."""
        addresses = await self.addresses(target.host, target.port)
        opened = await (connect_first(addresses) if self._proxy is None else self._tunnel(self._proxy, addresses))
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection,
                sock=opened,
                ssl=self._tls if target.is_tls else None,
                server_hostname=target.host.removesuffix(".") if target.is_tls else None,
            )
        except BaseException:
            opened.close()
            raise
        return connection

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of a host after checking each with the guard. One forbidden address forbids the host.

        Raises ForbiddenAddressError; OSError if the host has no address.
        """
        addresses = await self._resolve(host, port)
        for address in addresses:
            if self._allowed is not None and not self._allowed(address.host):
                raise ForbiddenAddressError(f"{host} is at {address.host}")
        return addresses

    async def _tunnel(self, proxy: Target, addresses: Sequence[Address]) -> socket.socket:
        """Return a socket that is connected through the proxy to the first address that the proxy can reach. Raises
        ProxyError."""
        failure = ProxyError("the name has no address")
        for address in alternate(addresses):
            try:
                # The operator has named the proxy, so its own address may be private.
                opened = await connect_first(await self._resolve(proxy.host, proxy.port))
            except OSError as error:
                raise ProxyError("the proxy cannot be reached") from error
            try:
                await open_tunnel(opened, address, proxy.authorization)
            except ProxyError as error:
                opened.close()
                failure = error
            except BaseException:
                opened.close()
                raise
            else:
                return opened
        raise failure

    async def close(self) -> None:
        """Stop looking up names."""
        await self._names.close()

    async def _resolve(self, host: str, port: int) -> Sequence[Address]:
        if is_written_out(host):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return [Address(family, (host, port))]
        found_until, found = self._found.get((host, port), (0.0, ()))
        now = self._clock()
        if found_until > now:
            return found
        found = await self._names.resolve(host, port)
        if len(self._found) >= _MOST_NAMES:
            self._found.clear()
        self._found[host, port] = (now + _NAMES_KEPT_SECONDS, found)
        return found


Connect = Callable[[Address], Awaitable[socket.socket]]


async def connect_first(addresses: Sequence[Address], connect: Connect | None = None) -> socket.socket:
    """Return a socket that is connected to the first address that answers. If none does, raise the most specific
    OSError."""
    waiting = alternate(addresses)
    running: set[asyncio.Future[socket.socket]] = set()
    failures: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future((connect or _connect)(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=_NEXT_ADDRESS_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    running |= done - {task}
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failures.append(error)
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()
    # A refusal is more specific than the error for an IPv6 network that this machine does not have.
    failures.sort(key=lambda failure: not isinstance(failure, ConnectionRefusedError))
    raise failures[0] if failures else OSError("the name has no address")


def alternate(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with the two families in turn (RFC 8305, section 4); the resolver's first stays first."""
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


async def _connect(address: Address) -> socket.socket:
    opened = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(opened, address.place)
    except BaseException:
        opened.close()
        raise
    return opened


def _close_late(task: asyncio.Future[socket.socket]) -> None:
    """Close the socket of an attempt that connected although another one was faster."""
    with contextlib.suppress(asyncio.CancelledError):
        if task.exception() is None:
            task.result().close()


_HOSTNAME_MISMATCH: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
_VERSIONS: Final = frozenset(
    {"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "UNKNOWN_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"}
)


def explain_failure(error: OSError) -> SendError:
    """Return the word for an error while connecting, or for a broken connection."""
    match error:
        case ProxyError():
            return SendError.PROXY
        case ForbiddenAddressError():
            return SendError.FORBIDDEN_ADDRESS
        case ssl.SSLCertVerificationError():
            if error.verify_code in _HOSTNAME_MISMATCH:
                return SendError.CERTIFICATE_NAME
            return SendError.CERTIFICATE_EXPIRED if error.verify_code in _EXPIRED else SendError.CERTIFICATE
        case ssl.SSLError():
            if error.reason in _NOT_TLS:
                return SendError.NOT_TLS
            return SendError.TLS_VERSION if error.reason in _VERSIONS else SendError.TLS
        case socket.gaierror():
            return SendError.NAME_SERVER if error.errno == socket.EAI_AGAIN else SendError.NO_SUCH_NAME
        case ConnectionRefusedError():
            return SendError.REFUSED
        case ConnectionError():
            return SendError.RESET
        case TimeoutError():
            return SendError.CONNECT_TIMEOUT
        case OSError(errno=errno.EMFILE | errno.ENFILE | errno.ENOMEM):
            return SendError.UNFORESEEN  # This machine's own limits.
        case _:
            return SendError.UNREACHABLE
