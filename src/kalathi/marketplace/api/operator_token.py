"""The operator's token on a request."""

import hmac

from starlette.requests import HTTPConnection

from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.shops.model import hash_token


def check_operator(request: HTTPConnection, desk: Desk) -> None:
    """Raise UNAUTHORIZED unless the request carries the operator's token, or RATE_LIMITED after too many wrong ones."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    valid = hmac.compare_digest(hash_token(token.strip()), desk.operator_token_hash)
    if scheme.lower() != "bearer" or not valid:
        refusal = DomainError(ErrorCode.UNAUTHORIZED, "The operator's token is missing or not valid.")
        raise desk.callers.refuse_token(request.scope, refusal)
