"""The refusals of returns (docs/contract.md#section-6 and #section-7), and the contract's sentence for each."""

from kalathi.contract.words import ReturnState
from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class ReturnNotFound(Refusal, frozen=True):
    """No return has this code, or it is another shop's."""

    CODE = ErrorCode.RETURN_NOT_FOUND
    SENTENCE = "Return not found"


class _Status(Refusal, frozen=True):
    CODE = ErrorCode.RETURN_STATUS


class ReturnIs(_Status, frozen=True):
    """The return's state does not allow the action; `is_final` if it never will again."""

    state: ReturnState | None
    is_final: bool

    def on_the_wire(self) -> str:
        """Return, for example, `Return already rejected.` or `Return is returning.`"""
        return f"Return {'already' if self.is_final else 'is'} {str(self.state).replace('_', ' ')}."


class NotInReview(_Status, frozen=True):
    """The return is not, or no longer, waiting for the shop's review."""

    SENTENCE = "Return is not pending merchant review."


class StillInReview(_Status, frozen=True):
    """The shop still has time for its review."""

    SENTENCE = "Return is still under review."


class NoShipment(_Status, frozen=True):
    """A virtual return has no shipment."""

    SENTENCE = "A virtual return has no shipment."


class BadOption(Refusal, frozen=True):
    """The option is missing, unknown, or not one of this return's."""

    CODE = ErrorCode.REVIEW_OPTION
    SENTENCE = "Invalid or missing option."


class NoComment(Refusal, frozen=True):
    """This option needs a comment."""

    CODE = ErrorCode.REVIEW_COMMENT
    SENTENCE = "Comment is required."


class LongComment(Refusal, frozen=True):
    """The comment is too long."""

    most: int
    CODE = ErrorCode.REVIEW_COMMENT_LENGTH
    SENTENCE = "Comment is too long (maximum is {most} characters)."


class NoReturnHook(Refusal, frozen=True):
    """The shop gets no webhooks of returns."""

    CODE = ErrorCode.RETURN_HOOK
    SENTENCE = "The shop has no returns_webhook_url, or returns_webhook_enabled is off."


class BadPhotos(Refusal, frozen=True):
    """The address of a photo is not a complete URL."""

    SENTENCE = "line_items.photos: give whole http or https addresses."


class CustomerRemoved(Refusal, frozen=True):
    """A return of an order whose customer's data was removed. It would store new data of that customer."""

    CODE = ErrorCode.ORDER_STATUS
    SENTENCE = "The customer's data was removed from this order, so it cannot be returned."
