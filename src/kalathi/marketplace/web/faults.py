"""Injected faults of calls in a sandbox: a delay, a false answer, or no answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.sandbox.faults import FaultKind, FaultRule
from kalathi.marketplace.web.reply import INTERNAL_ERROR, Reply, envelope_reply

# The server adds a function under this name to a request's extensions. The function aborts the connection.
CUT_OFF: Final = "kalathi.cut_off"
_SENTENCE: Final = "The sandbox was told to fail this call."


async def go_wrong(
    rules: Sequence[FaultRule], answer: Callable[[], Awaitable[Reply]], scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a call according to the rules: all delays first, then the first rule that replaces or drops the answer."""
    for rule in rules:
        if rule.kind is FaultKind.DELAY:
            await asyncio.sleep(rule.seconds)
    final = next((rule for rule in rules if rule.kind is not FaultKind.DELAY), None)
    reply = await answer() if final is None or final.after else None
    if final is None and reply is not None:
        await reply(scope, receive, send)
        return
    if final is None:
        return
    if final.kind is FaultKind.TIMEOUT:
        await asyncio.sleep(final.seconds)
    if final.kind in {FaultKind.TIMEOUT, FaultKind.DROP}:
        await _abort_connection(scope, receive, send)
    else:
        await _make_fault_reply(final)(scope, receive, send)


def _make_fault_reply(rule: FaultRule) -> Reply:
    if rule.kind is FaultKind.RATE_LIMIT:
        return envelope_reply(ErrorCode.RATE_LIMITED, _SENTENCE, rule.retry_after_seconds)
    if rule.status == INTERNAL_ERROR.status:
        return envelope_reply(None, _SENTENCE, None)
    return envelope_reply(ErrorCode.UNAVAILABLE, _SENTENCE, rule.retry_after_seconds)._replace(status=rule.status)


async def _abort_connection(scope: Scope, receive: Receive, send: Send) -> None:
    cut = scope.get("extensions", {}).get(CUT_OFF)
    if cut is not None:
        cut()
        while (await receive())["type"] != "http.disconnect":
            pass  # Drop the rest of the request until the server notices the disconnect.
        return
    # Without this extension, an answer that is shorter than its Content-Length comes closest.
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
