"""Answers, and the only table that maps errors to status codes and error words on the wire (docs/decisions/0012)."""

from typing import Any, Final, NamedTuple

import structlog
from starlette.types import Receive, Scope, Send

from kalathi.contract.codec import encode
from kalathi.contract.errors import ErrorEntry, ErrorEnvelope
from kalathi.contract.orders import Success
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.request_log.log import REQUEST_ID

_log = structlog.get_logger("kalathi.api")

JSON: Final = (b"content-type", b"application/json; charset=utf-8")


# Headers of files behind secret links: no cache stores them, and no browser interprets them as a page.
SECRET_FILE: Final = (
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
PDF_HEADERS: Final = (
    (b"content-type", b"application/pdf"),
    (b"content-disposition", b'inline; filename="voucher.pdf"'),
    # Browsers show a PDF as an object in a page that they create, with an inline style.
    (b"content-security-policy", b"default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"),
    *SECRET_FILE,
)


class ErrorAnswer(NamedTuple):
    """An error on the wire: its status and its word."""

    status: int
    word: str


ERRORS: Final[dict[ErrorCode, ErrorAnswer]] = {
    ErrorCode.UNREADABLE_BODY: ErrorAnswer(400, "unreadable_body"),
    ErrorCode.UNAUTHORIZED: ErrorAnswer(401, "unauthorized"),
    ErrorCode.NOT_FOUND: ErrorAnswer(404, "not_found"),
    ErrorCode.ORDER_NOT_FOUND: ErrorAnswer(404, "order_error"),
    ErrorCode.RETURN_NOT_FOUND: ErrorAnswer(404, "not_found"),
    ErrorCode.SUPPLIER_NOT_FOUND: ErrorAnswer(404, "supplier_error"),
    ErrorCode.PURCHASE_ORDER_NOT_FOUND: ErrorAnswer(404, "purchase_order_error"),
    ErrorCode.PURCHASE_ORDER_OF_ANOTHER: ErrorAnswer(401, "purchase_order_error"),
    ErrorCode.PURCHASE_ORDER_STATUS: ErrorAnswer(422, "purchase_order_status"),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorAnswer(405, "method_not_allowed"),
    ErrorCode.NOT_ACCEPTABLE: ErrorAnswer(406, "not_acceptable"),
    ErrorCode.CONFLICT: ErrorAnswer(409, "conflict"),
    ErrorCode.BODY_TOO_LARGE: ErrorAnswer(413, "body_too_large"),
    ErrorCode.COMPRESSED_BODY: ErrorAnswer(415, "unsupported_media_type"),
    ErrorCode.INVALID_PARAMETER: ErrorAnswer(422, "invalid_parameter"),
    ErrorCode.ORDER_STATUS: ErrorAnswer(422, "order_status"),
    ErrorCode.ORDER_NOT_ELIGIBLE: ErrorAnswer(422, "order_error"),
    ErrorCode.RETURN_STATUS: ErrorAnswer(422, "return_status"),
    ErrorCode.RETURN_HOOK: ErrorAnswer(422, "return_webhook"),
    ErrorCode.REVIEW_OPTION: ErrorAnswer(422, "option"),
    ErrorCode.REVIEW_COMMENT: ErrorAnswer(422, "comment"),
    ErrorCode.REVIEW_COMMENT_LENGTH: ErrorAnswer(422, "rejection_comment_sanitized"),
    ErrorCode.RESCHEDULE_DATE: ErrorAnswer(422, "reschedule_date"),
    ErrorCode.PICKUP_LOCATION: ErrorAnswer(422, "pickup_location"),
    ErrorCode.INVOICE_MISSING: ErrorAnswer(400, "invoice_file"),
    ErrorCode.INVOICE_REFUSED: ErrorAnswer(422, "invoice_file"),
    ErrorCode.CREDIT_INVOICE_MISSING: ErrorAnswer(400, "credit_invoice_file"),
    ErrorCode.CREDIT_INVOICE_REFUSED: ErrorAnswer(422, "credit_invoice_file"),
    ErrorCode.PRODUCTS_FORMAT: ErrorAnswer(400, "invalid_format"),
    ErrorCode.PRODUCTS_BATCH_SIZE: ErrorAnswer(400, "invalid_batch_size"),
    ErrorCode.PRODUCTS_SHOP_STATE: ErrorAnswer(422, "invalid_shop_state"),
    ErrorCode.IDEMPOTENCY_KEY: ErrorAnswer(422, "idempotency_key"),
    ErrorCode.RATE_LIMITED: ErrorAnswer(429, "rate_limited"),
    ErrorCode.UNAVAILABLE: ErrorAnswer(503, "unavailable"),
}
INTERNAL_ERROR: Final = ErrorAnswer(500, "internal_error")
_UNAVAILABLE_SECONDS: Final = 5
_INTERNAL_SENTENCE: Final = "Something went wrong on our side. Nothing was changed by this call."
_STORAGE_SENTENCE: Final = "The marketplace cannot write at the moment. Nothing was changed; try again."


class Reply(NamedTuple):
    """A complete answer, which is also an ASGI application."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        request_id = scope.get(REQUEST_ID)
        if request_id is not None:
            headers.append((b"request-id", request_id))
        start: dict[str, Any] = {"type": "http.response.start", "status": self.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


SUCCESS: Final = Reply(200, encode(Success()))


def error_reply(error: Exception) -> Reply:
    """Return the answer to an error. A refusal is answered with its sentences. Any other error is logged, and its text
    is not sent."""
    if isinstance(error, DomainError):
        answer = ERRORS[error.code]
        reply = _envelope(answer, error.messages, error.retry_after_seconds)
        if error.allowed:
            reply = reply._replace(headers=(*reply.headers, (b"allow", ", ".join(error.allowed).encode())))
        return reply
    if isinstance(error, StorageError):
        _log.error("storage_error", error=str(error))
        return _envelope(ERRORS[ErrorCode.UNAVAILABLE], (_STORAGE_SENTENCE,))
    _log.error("internal_error", exc_info=error)
    return _envelope(INTERNAL_ERROR, (_INTERNAL_SENTENCE,))


def envelope_reply(code: ErrorCode | None, sentence: str, retry_after_seconds: int | None) -> Reply:
    """Return the answer of an injected fault: the code's error, or an internal error without a code."""
    return _envelope(INTERNAL_ERROR if code is None else ERRORS[code], (sentence,), retry_after_seconds)


def _envelope(answer: ErrorAnswer, messages: tuple[str, ...], retry_after_seconds: int | None = None) -> Reply:
    headers: list[tuple[bytes, bytes]] = [JSON]
    if answer is ERRORS[ErrorCode.UNAUTHORIZED]:
        headers.append((b"www-authenticate", b"Bearer"))
    if answer.status == 503 and retry_after_seconds is None:
        retry_after_seconds = _UNAVAILABLE_SECONDS
    if retry_after_seconds is not None:
        headers.append((b"retry-after", str(retry_after_seconds).encode()))
    body = encode(ErrorEnvelope(errors=[ErrorEntry(code=answer.word, messages=list(messages))]))
    return Reply(answer.status, body, tuple(headers))
