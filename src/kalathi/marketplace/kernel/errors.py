"""The closed list of the domain's error codes. `api/reply.py` gives each its HTTP status."""

from collections.abc import Iterable
from enum import Enum, auto


class ErrorCode(Enum):
    """Why a call is refused. The words on the wire and the statuses stand in one table of the api."""

    UNAUTHORIZED = auto()
    NOT_ACCEPTABLE = auto()
    UNREADABLE_BODY = auto()
    BODY_TOO_LARGE = auto()
    COMPRESSED_BODY = auto()
    METHOD_NOT_ALLOWED = auto()
    NOT_FOUND = auto()
    ORDER_NOT_FOUND = auto()
    RETURN_NOT_FOUND = auto()
    SUPPLIER_NOT_FOUND = auto()
    PURCHASE_ORDER_NOT_FOUND = auto()
    PURCHASE_ORDER_OF_ANOTHER = auto()
    PURCHASE_ORDER_STATUS = auto()
    ORDER_STATUS = auto()
    ORDER_NOT_ELIGIBLE = auto()
    INVALID_PARAMETER = auto()
    RETURN_STATUS = auto()
    RETURN_HOOK = auto()
    REVIEW_OPTION = auto()
    REVIEW_COMMENT = auto()
    REVIEW_COMMENT_LENGTH = auto()
    RESCHEDULE_DATE = auto()
    PICKUP_LOCATION = auto()
    INVOICE_MISSING = auto()
    INVOICE_REFUSED = auto()
    CREDIT_INVOICE_MISSING = auto()
    CREDIT_INVOICE_REFUSED = auto()
    IDEMPOTENCY_KEY = auto()
    RATE_LIMITED = auto()
    CONFLICT = auto()
    UNAVAILABLE = auto()


class DomainError(Exception):
    """A refusal with its code and the sentences that a person reads. Raised before anything has been changed."""

    def __init__(
        self, code: ErrorCode, *messages: str, retry_after_seconds: int | None = None, allowed: Iterable[str] = ()
    ) -> None:
        """`allowed` are the methods of the path, for METHOD_NOT_ALLOWED."""
        super().__init__(*messages)
        self.code = code
        self.messages = messages
        self.retry_after_seconds = retry_after_seconds
        self.allowed = tuple(sorted(allowed))


def invalid_parameter(*messages: str) -> DomainError:
    """The most common refusal: a value that is not on offer."""
    return DomainError(ErrorCode.INVALID_PARAMETER, *messages)
