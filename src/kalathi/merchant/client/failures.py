"""The failures of a call: one class for each code of the marketplace, one for no answer, one for a redirect."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from kalathi.contract.errors import ErrorEntry
from kalathi.merchant.client.redirects import Refused, origin_of

# Statuses that may pass: a person can correct a wrong token or vendor word; lost races and rate limits pass by
# themselves.
_COME_BACK: Final = frozenset({401, 403, 406, 409, 429})


class CallError(Exception):
    """Any failure of a call."""

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed later without a change to the call."""
        return True


class UnreachableError(CallError):
    """There is no readable answer, so it is unknown whether the marketplace processed the call."""


class UnreadableAnswerError(UnreachableError):
    """An answer with a success status and a body that does not follow the contract. A retry would get the same body, so
    it does not help. `body` is the body."""

    def __init__(self, sentence: str, body: bytes = b"") -> None:
        super().__init__(sentence)
        self.body = body

    @property
    def may_pass(self) -> bool:
        """Return False: an unknown shape stays until this client supports it."""
        return False


class RedirectedError(CallError):
    """The address redirects, and the client does not repeat the call at the new address. Configure the new address.

    `refused` has both addresses without their queries. `is_marketplace`: the call was to the marketplace, not to a
    link. In that case `new_base_url` is the marketplace's new address, if the redirect changes only the server.
    """

    def __init__(self, refused: Refused, *, base_url: str = "", new_base_url: str = "") -> None:
        """`base_url` is the marketplace's address, for a call to it."""
        if base_url and new_base_url:
            sentence = (
                f"the marketplace's address {base_url} redirects to {new_base_url} ({refused.status}): "
                "give that address with --url"
            )
        elif base_url:
            sentence = f"{refused.sentence()}; is the marketplace's address (--url) right?"
        else:
            sentence = refused.sentence()
        super().__init__(sentence)
        self.refused = refused
        self.is_marketplace = bool(base_url)
        self.new_base_url = new_base_url

    @property
    def may_pass(self) -> bool:
        """Return False: the redirect stays until the configured address or the server changes."""
        return False

    @property
    def move(self) -> tuple[object, object]:
        """The old and the new server. All calls that one change of address affects have the same value."""
        return origin_of(self.refused.address), origin_of(self.refused.new_address)


class MarketplaceError(CallError):
    """The marketplace refused the call. `entries` are its codes and sentences; `status` is the HTTP status."""

    def __init__(self, status: int, entries: Sequence[ErrorEntry], retry_after_seconds: float | None = None) -> None:
        sentences = "; ".join(message for entry in entries for message in entry.messages)
        super().__init__(f"{status}: {sentences or 'no message'}")
        self.status = status
        self.entries = list(entries)
        self.retry_after_seconds = retry_after_seconds

    @property
    def messages(self) -> list[str]:
        """The marketplace's own sentences."""
        return [message for entry in self.entries for message in entry.messages]

    @property
    def may_pass(self) -> bool:
        """Whether the reason is a wrong set-up, a lost race, a rate limit, or a failure of the marketplace."""
        return self.status in _COME_BACK or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    def has_code(self, code: str) -> bool:
        """Whether one of the entries has this code, such as `order_status`."""
        return any(entry.code == code for entry in self.entries)


class UnauthorizedError(MarketplaceError):
    """401 (`unauthorized`) or 403: the token is missing, is not the current one, or lacks the permission."""


class NotAcceptableError(MarketplaceError):
    """406, `not_acceptable`: the vendor word is wrong."""


class NotFoundError(MarketplaceError):
    """404, `not_found`: no such path, or no such return."""


class OrderError(MarketplaceError):
    """`order_error`: no such order (404), or it is not eligible (422)."""


class OrderStatusError(MarketplaceError):
    """`order_status`: the order's state does not allow this action, or no longer allows it."""


class InvalidParameterError(MarketplaceError):
    """`invalid_parameter`: a value is not on offer, is missing or cannot be read."""


class RescheduleDateError(MarketplaceError):
    """`reschedule_date`: the date is not offered."""


class PickupLocationError(MarketplaceError):
    """`pickup_location`: the pickup cannot be moved to this location."""


class InvoiceFileError(MarketplaceError):
    """`invoice_file`: the file is missing or refused, or the order was never accepted."""


class CreditInvoiceFileError(MarketplaceError):
    """`credit_invoice_file`: the file of the credit invoice is missing or refused, or the order was never accepted."""


class ReturnStatusError(MarketplaceError):
    """`return_status`: the return is no longer waiting for a review."""


class ReviewOptionError(MarketplaceError):
    """`option`: the option is not one of the return's review_options."""


class ReviewCommentError(MarketplaceError):
    """`comment`: the option requires a comment."""


class ReviewCommentLengthError(MarketplaceError):
    """`rejection_comment_sanitized`: the comment is too long."""


class PurchaseOrderError(MarketplaceError):
    """`purchase_order_error`: no such purchase order (404), or another shop's (401)."""

    @property
    def may_pass(self) -> bool:
        """Whether the marketplace failed. A 401 does not pass: it is about the purchase order, not about the token."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class SupplierError(MarketplaceError):
    """`supplier_error`: no such supplier."""


class ProductFormatError(MarketplaceError):
    """400, `invalid_format`: a member of a batch of products is missing or has a wrong type. Each message names the
    product or the variation."""


class BatchSizeError(MarketplaceError):
    """400, `invalid_batch_size`: a batch has more than 500 products."""


class ShopStateError(MarketplaceError):
    """422, `invalid_shop_state`: the shop cannot take product updates, or its XML feed is being scanned."""

    @property
    def is_scanning(self) -> bool:
        """Whether the marketplace is scanning the shop's XML feed, so that the batch can be sent again later."""
        return any("scanning" in message.lower() for message in self.messages)


class ConflictError(MarketplaceError):
    """409, `conflict`: another call changed the same thing at the same time."""


class RateLimitedError(MarketplaceError):
    """429, `rate_limited`: too many calls; retry after `retry_after_seconds`."""


class UnavailableError(MarketplaceError):
    """503, `unavailable`: the marketplace cannot write at the moment."""


ERRORS_BY_CODE: Final[dict[str, type[MarketplaceError]]] = {
    "unauthorized": UnauthorizedError,
    "not_acceptable": NotAcceptableError,
    "not_found": NotFoundError,
    "order_error": OrderError,
    "order_status": OrderStatusError,
    "invalid_parameter": InvalidParameterError,
    "reschedule_date": RescheduleDateError,
    "pickup_location": PickupLocationError,
    "invoice_file": InvoiceFileError,
    "credit_invoice_file": CreditInvoiceFileError,
    "return_status": ReturnStatusError,
    "option": ReviewOptionError,
    "comment": ReviewCommentError,
    "rejection_comment_sanitized": ReviewCommentLengthError,
    "purchase_order_error": PurchaseOrderError,
    "supplier_error": SupplierError,
    "invalid_format": ProductFormatError,
    "invalid_batch_size": BatchSizeError,
    "invalid_shop_state": ShopStateError,
    "conflict": ConflictError,
    "rate_limited": RateLimitedError,
    "unavailable": UnavailableError,
}

_CLASSES_BY_STATUS: Final[Mapping[int, type[MarketplaceError]]] = {
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.FORBIDDEN: UnauthorizedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.NOT_ACCEPTABLE: NotAcceptableError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
    HTTPStatus.SERVICE_UNAVAILABLE: UnavailableError,
}
_ABOUT_THE_REQUEST: Final = frozenset(ERRORS_BY_CODE.values()) - frozenset(_CLASSES_BY_STATUS.values())
# For these statuses the code is more exact. For example, a 401 may be about a purchase order
# (docs/contract.md#section-9).
_CLASSES_OF_WORDS: Final[Mapping[int, frozenset[type[MarketplaceError]]]] = {
    HTTPStatus.BAD_REQUEST: _ABOUT_THE_REQUEST,
    HTTPStatus.UNAUTHORIZED: frozenset({PurchaseOrderError}),
    HTTPStatus.NOT_FOUND: frozenset({OrderError, PurchaseOrderError, SupplierError}),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _ABOUT_THE_REQUEST,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: _ABOUT_THE_REQUEST,
    HTTPStatus.UNPROCESSABLE_ENTITY: _ABOUT_THE_REQUEST,
}


def marketplace_error(
    status: int, entries: Sequence[ErrorEntry], retry_after_seconds: float | None
) -> MarketplaceError:
    """Return the exception for the status. The first code that fits the status can choose a more exact class. A code
    never overrules the status, because some marketplaces use codes of their own."""
    fitting = _CLASSES_OF_WORDS.get(status, frozenset())
    named = (ERRORS_BY_CODE.get(entry.code) for entry in entries)
    usual = _CLASSES_BY_STATUS.get(status, MarketplaceError)
    return next((kind for kind in named if kind in fitting and kind is not None), usual)(
        status, entries, retry_after_seconds
    )
