"""A tunnel through an egress proxy (RFC 9110, section 9.3.6): `CONNECT` to an address that has passed the guard.

The proxy never gets a host name, so it cannot reach any address but the checked one.
"""

import asyncio
import re
import socket
from typing import Final

from kalathi.marketplace.kernel.targets import BadUrl, Target, parse_target
from kalathi.marketplace.webhooks.names import Address

_LARGEST_HEAD_BYTES: Final = 65_536
# Less than the usual time limit of a webhook, so that a silent proxy is not taken for a silent endpoint.
_ANSWER_SECONDS: Final = 5.0
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


class ProxyError(OSError):
    """The proxy cannot be reached, or does not open the tunnel."""


def parse_proxy(url: str) -> Target | None:
    """Return the proxy of a setting, such as `http://user:password@proxy.example:3128`; None for an empty one. Raises
    ValueError."""
    if not url:
        return None
    target = parse_target(url)
    if isinstance(target, BadUrl):
        raise ValueError(f"webhook_proxy: it {target}")  # noqa: TRY004  (a setting's value, not its type)
    if target.is_tls or target.path != "/":
        raise ValueError("webhook_proxy: give http://, host and port only")
    return target


async def open_tunnel(opened: socket.socket, address: Address, authorization: str) -> None:
    """Ask the proxy at the other end for a tunnel to the address. Raises ProxyError."""
    host, port = address.place[:2]
    place = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    line = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
    request = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{line}\r\n".encode()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            head = await _ask(opened, request)
    except OSError as error:
        raise ProxyError("the proxy did not answer CONNECT") from error
    found = _STATUS.match(head)
    if found is None or not found[1].startswith(b"2"):
        raise ProxyError("the proxy does not open a tunnel")


async def _ask(opened: socket.socket, request: bytes) -> bytes:
    """Return the head of the proxy's answer. Raises OSError."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(opened, request)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # Byte by byte, because the bytes after the head belong to the endpoint.
        piece = await loop.sock_recv(opened, 1)
        head += piece
        if not piece or len(head) > _LARGEST_HEAD_BYTES:
            raise ProxyError("the proxy did not answer CONNECT")
    return head
