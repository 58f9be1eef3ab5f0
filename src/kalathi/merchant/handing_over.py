"""Telling the shop's own system of each order and each change: at least once, in an order's own order.

The body is `{"kind": "order" | "return", "order" | "return": <as received>}` (contract/received.py). The hand-over has
succeeded when a command ends with status 0, an address answers with 200 to 299, or a function returns.
"""

import asyncio
import hashlib
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from kalathi.contract.signatures import sign_headers
from kalathi.merchant.client import RedirectedError
from kalathi.merchant.client.transport import AsyncTransport
from kalathi.merchant.commands import HANDING_OVER, Command, Ended, Limit

_OPTIONS: Final = frozenset({"accept_options", "reject_options", "reschedule_options", "relocate_options"})
_JSON: Final = {"content-type": "application/json; charset=utf-8"}


class HandoverError(Exception):
    """The shop's system has not accepted the order; the hand-over is retried later."""


class Recipient(Protocol):
    """The shop's system."""

    async def receive(self, code: str, body: bytes) -> None:
        """Raises HandoverError when it has not taken it."""
        ...


def order_body(received: Mapping[str, Any]) -> bytes:
    """Return the body of an order as it was received. Its options are left out, because they change with the clock."""
    order = {name: value for name, value in received.items() if name not in _OPTIONS}
    return json.dumps({"kind": "order", "order": order}, ensure_ascii=False).encode("utf-8", "replace")


def return_body(received: Mapping[str, Any]) -> bytes:
    """The same of a return."""
    return json.dumps({"kind": "return", "return": dict(received)}, ensure_ascii=False).encode("utf-8", "replace")


class HttpRecipient:
    """An address that takes POSTs of JSON. Only a 2xx answer to the POST itself counts as taken."""

    def __init__(
        self,
        transport: AsyncTransport,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        secret: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """With a secret each POST is signed as Standard Webhooks are. `clock` gives seconds since 1970. Raises
        ValueError for a secret that is none."""
        self._transport = transport
        self._url = url
        self._headers = _JSON | {name.lower(): value for name, value in (headers or {}).items()}
        self._secrets = (secret,) if secret else ()
        self._clock = clock
        sign_headers(self._secrets, "", 0, b"")

    async def receive(self, code: str, body: bytes) -> None:
        """Raises HandoverError, UnreachableError."""
        # The same for each retry, so that the shop's system recognises duplicates.
        message_id = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
        signature = sign_headers(self._secrets, message_id, int(self._clock()), body)
        try:
            answer = await self._transport.send("POST", self._url, {**self._headers, **signature}, body)
        except RedirectedError as error:
            raise HandoverError(f"the shop's system has not taken it: {error}") from None
        if not 200 <= answer.status < 300:
            raise HandoverError(f"the shop's system has answered {answer.status}")


class CommandRecipient:
    """A command that gets the JSON on its standard input."""

    def __init__(self, command: Sequence[str], *, limit: Limit = HANDING_OVER) -> None:
        self._command = Command(command, limit)

    async def receive(self, code: str, body: bytes) -> None:
        """Raises HandoverError. When the task is cancelled, the command has ended before this returns."""
        outcome = await self._command.run_beside(body=body)
        if not isinstance(outcome, Ended) or outcome.status:
            raise HandoverError(self._command.describe(outcome))


class FunctionRecipient:
    """A function of Python. With await it runs on the event loop; without, in a thread, where it may take its time."""

    def __init__(self, function: Callable[[dict[str, object]], Awaitable[None] | None]) -> None:
        self._function = function
        # Its own thread: if the function hangs, nothing else of the connector does.
        self._thread = ThreadPoolExecutor(1)

    async def receive(self, code: str, body: bytes) -> None:
        """Raises HandoverError for every exception of the function."""
        try:
            content = json.loads(body)
            if inspect.iscoroutinefunction(self._function):
                await self._function(content)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._function, content)
        except Exception as error:
            raise HandoverError(f"{type(error).__name__}: {error}") from error
