"""Looking names up, on threads of its own.

The system's resolver blocks for as long as a name server keeps silent, and a time limit does not free its thread. The
loop has four threads for that: four such names would stop every other delivery that needs a lookup. Here a name that
is being looked up is not looked up a second time, so that a silent server holds one thread a name.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

# More than there are slow shops with a delivery in flight; threads are made as they are needed.
_THREADS: Final = 128

_Name = tuple[str, int, int]


class PooledResolver(AbstractResolver):
    """The system's resolver."""

    def __init__(self, look_up: Callable[[str, int, socket.AddressFamily], list[ResolveResult]] | None = None) -> None:
        """`look_up` blocks; without one, the system's."""
        self._look_up = look_up or _looked_up
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="kalathi-names")
        self._asked: dict[_Name, asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError when the name has no address."""
        name = (host, port, int(family))
        answer = self._asked.get(name)
        if answer is None:
            answer = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port, family)
            self._asked[name] = answer
            answer.add_done_callback(lambda ended: self._forget(name, ended))
        # Whoever gives up leaves the others waiting.
        return await asyncio.shield(answer)

    def _forget(self, name: _Name, ended: asyncio.Future[list[ResolveResult]]) -> None:
        self._asked.pop(name, None)
        if not ended.cancelled():
            ended.exception()  # Nobody may be waiting for it any more.

    async def close(self) -> None:
        """Waits for nobody: a lookup may take as long as it likes."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _looked_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        ResolveResult(
            hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=protocol, flags=numeric
        )
        for kind, _, protocol, _, address in found
    ]
