"""The closed list of the domain's error codes, and refusals as data: one frozen struct for each reason.

A refusal becomes a sentence at two edges. `on_the_wire` gives the contract's sentence. Pages have their own texts
(`panel/refusal_texts.py`), in the reader's language and with the names of their fields. `web/reply.py` gives each code
its HTTP status.
"""

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import ClassVar

from msgspec import Struct


class ErrorCode(Enum):
    """The code of a refused call. `web/reply.py` has the word on the wire and the HTTP status of each code."""

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
    PRODUCTS_FORMAT = auto()
    PRODUCTS_BATCH_SIZE = auto()
    PRODUCTS_SHOP_STATE = auto()
    IDEMPOTENCY_KEY = auto()
    RATE_LIMITED = auto()
    CONFLICT = auto()
    UNAVAILABLE = auto()


class Refusal(Struct, frozen=True):
    """A reason for a refusal. `CODE` is its error code, `SENTENCE` the wire's sentence with its fields in braces.

    Each slice has its own in its `refusals.py`; those that several use are in `kernel/refusals.py`.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.INVALID_PARAMETER
    SENTENCE: ClassVar[str] = ""

    def on_the_wire(self) -> str:
        """Return the sentence of the error envelope (docs/contract.md#section-1)."""
        return self.SENTENCE.format(**{name: show_value(getattr(self, name)) for name in self.__struct_fields__})

    def __str__(self) -> str:
        return self.on_the_wire()


class DomainError(Exception):
    """A refused call, with its code and its reasons. It is raised before any change is made.

    A reason is a `Refusal`, or a plain sentence if no page words it differently.
    """

    def __init__(
        self,
        code: ErrorCode,
        *reasons: Refusal | str,
        retry_after_seconds: int | None = None,
        allowed: Iterable[str] = (),
    ) -> None:
        """`allowed` are the methods of the path, for METHOD_NOT_ALLOWED."""
        super().__init__(*reasons)
        self.code = code
        self.reasons = reasons
        self.retry_after_seconds = retry_after_seconds
        self.allowed = tuple(sorted(allowed))

    @property
    def messages(self) -> tuple[str, ...]:
        """The reasons as the wire's sentences."""
        return tuple(str(reason) for reason in self.reasons)


def refuse(*refusals: Refusal, retry_after_seconds: int | None = None) -> DomainError:
    """Return the error of one or several refusals, which have the same code."""
    return DomainError(refusals[0].CODE, *refusals, retry_after_seconds=retry_after_seconds)


def invalid_parameter(*sentences: str) -> DomainError:
    """Return an INVALID_PARAMETER error with sentences that only the wire shows."""
    return DomainError(ErrorCode.INVALID_PARAMETER, *sentences)


def show_value(value: object) -> str:
    """Return a refusal's field as the wire's sentences show it: several values with commas between them."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(show_value, value)) or "none"
    return str(value)
