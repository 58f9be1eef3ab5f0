"""Resolve host names on separate threads.

The system's resolver blocks for as long as a name server does not answer, and a time limit does not free its thread.
asyncio's own pool has few threads: some such names would stop every other delivery that needs a lookup. Here a name is
never looked up twice at the same time, so a silent server holds one thread per name.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol

# More than the number of slow shops that can have a delivery in flight. Threads are created on demand.
_THREADS: Final = 128


class Address(NamedTuple):
    """An address to dial: its family, and its place as `socket.connect` expects it."""

    family: int
    place: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The IPv4 or IPv6 address as a text."""
        return str(self.place[0])


class Names(Protocol):
    """A resolver of host names."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of a host, at least one. Raises OSError if there is none."""
        ...

    async def close(self) -> None:
        """Stop without waiting for running lookups."""
        ...


LookUp = Callable[[str, int], Sequence[Address]]


class PooledNames:
    """The system's resolver, on threads."""

    def __init__(self, look_up: LookUp | None = None) -> None:
        """`look_up` may block. The default is the system's resolver."""
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="kalathi-names")
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[Address]]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of a host. Raises OSError if it has none."""
        name = (host, port)
        answer = self._asked.get(name)
        if answer is None:
            answer = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port)
            self._asked[name] = answer
            answer.add_done_callback(lambda ended: self._forget(name, ended))
        # A cancelled caller must not cancel the lookup of the others.
        return await asyncio.shield(answer)

    def _forget(self, name: tuple[str, int], ended: asyncio.Future[Sequence[Address]]) -> None:
        self._asked.pop(name, None)
        if not ended.cancelled():
            ended.exception()  # All callers may have given up.

    async def close(self) -> None:
        """Close without waiting: a lookup may take very long."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [Address(family, place) for family, _, _, _, place in found]
