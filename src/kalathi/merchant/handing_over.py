"""Telling the shop's own system of each order and each change: at least once, in an order's own order.

What is told is `{"kind": "order" | "return", "order" | "return": <as on the wire>}`. Who is told answers by ending
well: a command by status 0, an address by a status of 200 to 299, a function by returning.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from kalathi.contract.codec import encode
from kalathi.contract.orders import Order
from kalathi.contract.returns import Return
from kalathi.merchant.client.transport import AsyncTransport

_COMMAND_SECONDS: Final = 60.0


class HandoverError(Exception):
    """The shop's system has not taken it; it is told again later."""


class Recipient(Protocol):
    """The shop's system."""

    async def take(self, code: str, body: bytes) -> None:
        """Raises HandoverError when it has not taken it."""
        ...


def order_body(order: Order) -> bytes:
    """What is told of an order. Its options to answer change with the clock and are left out."""
    shown = json.loads(encode(order))
    for name in ("accept_options", "reject_options", "reschedule_options", "relocate_options"):
        shown.pop(name, None)
    return json.dumps({"kind": "order", "order": shown}, ensure_ascii=False).encode()


def return_body(returned: Return) -> bytes:
    """The same of a return."""
    return json.dumps({"kind": "return", "return": json.loads(encode(returned))}, ensure_ascii=False).encode()


class HttpRecipient:
    """An address that takes POSTs of JSON."""

    def __init__(self, transport: AsyncTransport, url: str, headers: dict[str, str] | None = None) -> None:
        self._transport = transport
        self._url = url
        self._headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}

    async def take(self, code: str, body: bytes) -> None:
        """Raises HandoverError, UnreachableError."""
        answer = await self._transport.send("POST", self._url, self._headers, body)
        if not 200 <= answer.status < 300:
            raise HandoverError(f"the shop's system has answered {answer.status}")


class CommandRecipient:
    """A command that gets the JSON on its standard input."""

    def __init__(self, command: Sequence[str], *, timeout_seconds: float = _COMMAND_SECONDS) -> None:
        self._command = list(command)
        self._timeout_seconds = timeout_seconds

    async def take(self, code: str, body: bytes) -> None:
        """Raises HandoverError."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise HandoverError(f"{self._command[0]}: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._timeout_seconds):
                _, told = await process.communicate(body)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise HandoverError(f"{self._command[0]} has not ended within {self._timeout_seconds:g} s") from None
        if process.returncode:
            raise HandoverError(
                f"{self._command[0]} has ended with {process.returncode}: {told[-200:].decode(errors='replace')}"
            )


class FunctionRecipient:
    """A function of Python. With await it runs on the event loop; without, in a thread, where it may take its time."""

    def __init__(self, function: Callable[[dict[str, object]], Awaitable[None] | None]) -> None:
        self._function = function
        # Its own thread: if the function hangs, nothing else of the connector does.
        self._thread = ThreadPoolExecutor(1)

    async def take(self, code: str, body: bytes) -> None:
        """Raises HandoverError for whatever the function raises."""
        try:
            content = json.loads(body)
            if inspect.iscoroutinefunction(self._function):
                await self._function(content)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._function, content)
        except Exception as error:
            raise HandoverError(f"{type(error).__name__}: {error}") from error
