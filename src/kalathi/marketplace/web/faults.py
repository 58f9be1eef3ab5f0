"""Injected faults of calls in a sandbox: a delay, a changed or false answer, or no answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from kalathi.contract.products import SCANNING_SENTENCE
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.sandbox.body_faults import change_body
from kalathi.marketplace.sandbox.faults import BODY_KINDS, FaultKind, FaultRule, Injection
from kalathi.marketplace.web.reply import INTERNAL_ERROR, JSON, Reply, envelope_reply

# The server adds a function under this name to a request's extensions. The function aborts the connection.
CUT_OFF: Final = "kalathi.cut_off"
_SENTENCE: Final = "A fault rule of the sandbox failed this call."
# The code of an injected 4xx. A status that is not here has the code of 422, because clients classify errors by status.
_CODES: Final = {
    400: ErrorCode.UNREADABLE_BODY,
    401: ErrorCode.UNAUTHORIZED,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    406: ErrorCode.NOT_ACCEPTABLE,
    409: ErrorCode.CONFLICT,
    413: ErrorCode.BODY_TOO_LARGE,
    415: ErrorCode.COMPRESSED_BODY,
    422: ErrorCode.INVALID_PARAMETER,
}


async def answer_with_faults(
    injections: Sequence[Injection], answer: Callable[[], Awaitable[Reply]], scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a call according to the rules: all delays first, then the first rule that replaces or drops the answer. An
    answer that is not replaced gets the faults in its body."""
    for injection in injections:
        if injection.rule.kind is FaultKind.DELAY:
            await asyncio.sleep(injection.rule.seconds)
    final = _find_final(injections)
    reply = await answer() if final is None or final.after else None
    if final is None and reply is not None:
        await apply_body_faults(injections, reply)(scope, receive, send)
        return
    if final is None:
        return
    if final.kind is FaultKind.TIMEOUT:
        await asyncio.sleep(final.seconds)
    if final.kind in {FaultKind.TIMEOUT, FaultKind.DROP}:
        await _abort_connection(scope, receive, send)
    else:
        await _make_fault_reply(final)(scope, receive, send)


def apply_body_faults(injections: Sequence[Injection], reply: Reply) -> Reply:
    """Return the answer with the faults in its body that apply to the call. Only JSON is changed."""
    if JSON not in reply.headers:
        return reply
    body = reply.body
    for injection in injections:
        if injection.rule.kind in BODY_KINDS:
            body = change_body(body, injection.rule.kind, injection.make_chance(), injection.rule.member)
    return reply if body is reply.body else reply._replace(body=body)


def _find_final(injections: Sequence[Injection]) -> FaultRule | None:
    """Return the first rule that replaces or drops the answer, or None."""
    others = (injection.rule for injection in injections if injection.rule.kind not in BODY_KINDS)
    return next((rule for rule in others if rule.kind is not FaultKind.DELAY), None)


def _make_fault_reply(rule: FaultRule) -> Reply:
    if rule.kind is FaultKind.RATE_LIMIT:
        return envelope_reply(ErrorCode.RATE_LIMITED, _SENTENCE, rule.retry_after_seconds)
    if rule.kind is FaultKind.SCANNING:
        return envelope_reply(ErrorCode.PRODUCTS_SHOP_STATE, SCANNING_SENTENCE, None)
    if rule.status < INTERNAL_ERROR.status:
        code = _CODES.get(rule.status, ErrorCode.INVALID_PARAMETER)
        return envelope_reply(code, _SENTENCE, None)._replace(status=rule.status)
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
