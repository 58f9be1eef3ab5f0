"""Checks of the token of the operator, or of a monitoring system."""

import hmac
from typing import Final

from starlette.requests import HTTPConnection

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.shops.model import hash_token
from kalathi.marketplace.web.context import Context

# A key in the ASGI scope of calls on the watch port, which is for monitoring systems only.
WATCH_PORT: Final = "kalathi.watch_port"


def check_operator(request: HTTPConnection, context: Context) -> None:
    """Raise UNAUTHORIZED unless the request carries the operator's token, or RATE_LIMITED after too many wrong ones."""
    if not _carries(request, context.operator_token_hash):
        refusal = DomainError(ErrorCode.UNAUTHORIZED, "The operator's token is missing or not valid.")
        raise context.callers.refuse_token(request.scope, refusal)


def check_monitor(request: HTTPConnection, context: Context) -> None:
    """Raise UNAUTHORIZED for a monitoring system without a token in production, unless it calls a watch port; or
    RATE_LIMITED after too many wrong tokens."""
    settings = context.terms.settings
    if settings.mode == "sandbox" or request.scope.get(WATCH_PORT):
        return
    if not (settings.metrics_token and _carries(request, hash_token(settings.metrics_token))):
        check_operator(request, context)


def _carries(request: HTTPConnection, token_hash: bytes) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(hash_token(token.strip()), token_hash)
