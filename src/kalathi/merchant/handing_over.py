"""Hand every order, return and change over to the shop's own system: at least once, and in sequence for each code.

The body is `{"kind": "order" | "return", "order" | "return": <as received>}` (contract/received.py). A hand-over
succeeds if the command ends with status 0, the address answers with 200 to 299, or the function returns.
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
    """The shop's system did not accept the order or return. The connector retries the hand-over later."""


class Recipient(Protocol):
    """The shop's system."""

    async def receive(self, code: str, body: bytes) -> None:
        """Hand one body over. Raises HandoverError if the shop's system does not accept it."""
        ...


def order_body(received: Mapping[str, Any]) -> bytes:
    """Return the body of an order as it was received. Its options are left out, because they change with the clock."""
    order = {name: value for name, value in received.items() if name not in _OPTIONS}
    return json.dumps({"kind": "order", "order": order}, ensure_ascii=False).encode("utf-8", "replace")


def return_body(received: Mapping[str, Any]) -> bytes:
    """Return the body of a return as it was received."""
    return json.dumps({"kind": "return", "return": dict(received)}, ensure_ascii=False).encode("utf-8", "replace")


class HttpRecipient:
    """An address that accepts POSTs of JSON. Only a 2xx answer to the POST itself is a success."""

    def __init__(
        self,
        transport: AsyncTransport,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        secret: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """With a secret, sign each POST according to Standard Webhooks. `clock` returns seconds since 1970. Raises
        ValueError for a malformed secret."""
        self._transport = transport
        self._url = url
        self._headers = _JSON | {name.lower(): value for name, value in (headers or {}).items()}
        self._secrets = (secret,) if secret else ()
        self._clock = clock
        sign_headers(self._secrets, "", 0, b"")

    async def receive(self, code: str, body: bytes) -> None:
        """POST one body. Raises HandoverError, UnreachableError."""
        # The id is the same for each retry, so that the shop's system recognises duplicates.
        message_id = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
        signature = sign_headers(self._secrets, message_id, int(self._clock()), body)
        try:
            answer = await self._transport.send("POST", self._url, {**self._headers, **signature}, body)
        except RedirectedError as error:
            raise HandoverError(f"the shop's system did not accept it: {error}") from None
        if not 200 <= answer.status < 300:
            raise HandoverError(f"the shop's system answered {answer.status}")


class CommandRecipient:
    """A command that gets the JSON on its standard input."""

    def __init__(self, command: Sequence[str], *, limit: Limit = HANDING_OVER) -> None:
        self._command = Command(command, limit)

    async def receive(self, code: str, body: bytes) -> None:
        """Run the command with the body. Raises HandoverError. If the task is cancelled, end the command first."""
        outcome = await self._command.run_beside(body=body)
        if not isinstance(outcome, Ended) or outcome.status:
            raise HandoverError(self._command.describe(outcome))


class FunctionRecipient:
    """A Python function. A coroutine runs on the event loop; a plain function runs in a thread and may block."""

    def __init__(self, function: Callable[[dict[str, object]], Awaitable[None] | None]) -> None:
        self._function = function
        # Use a separate thread, so that a function that hangs does not block the rest of the connector.
        self._thread = ThreadPoolExecutor(1)

    async def receive(self, code: str, body: bytes) -> None:
        """Call the function with the decoded body. Raises HandoverError for every exception of the function."""
        try:
            content = json.loads(body)
            if inspect.iscoroutinefunction(self._function):
                await self._function(content)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._function, content)
        except Exception as error:
            raise HandoverError(f"{type(error).__name__}: {error}") from error
