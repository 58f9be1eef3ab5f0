"""The refusals of orders (docs/contract.md#section-3), and the contract's sentence for each."""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.errors import ErrorCode, Refusal
from kalathi.marketplace.kernel.refusals import quote_value

_MOST_SHOWN: Final = 10


class OrderNotFound(Refusal, frozen=True):
    """No order has this code, or it is another shop's."""

    CODE = ErrorCode.ORDER_NOT_FOUND
    SENTENCE = "Order not found"


class OrderAlready(Refusal, frozen=True):
    """The order's state does not allow the action any more."""

    state: OrderState
    CODE = ErrorCode.ORDER_STATUS

    def on_the_wire(self) -> str:
        """Return, for example, `Order already partially returned.`"""
        return f"Order already {str(self.state).replace('_', ' ')}."


class _Status(Refusal, frozen=True):
    CODE = ErrorCode.ORDER_STATUS


class OrderNotAccepted(_Status, frozen=True):
    """The shop has not answered yet."""

    SENTENCE = "Order is not accepted yet."


class OrderStillOpen(_Status, frozen=True):
    """The shop still has time to answer."""

    SENTENCE = "Order is still open."


class OrderIsExpress(_Status, frozen=True):
    """The marketplace answers express orders itself."""

    SENTENCE = "Order is express"


class NotAStorePickup(_Status, frozen=True):
    """Only store pickups are collected."""

    SENTENCE = "Order is not a store pickup."


class CollectedFromStore(_Status, frozen=True):
    """No courier collects a store pickup."""

    SENTENCE = "The customer collects this order from the store."


class NoPickupToMove(_Status, frozen=True):
    """The order has no pickup window."""

    SENTENCE = "Order has no pickup that could be moved."


class NoPickupToMiss(_Status, frozen=True):
    """The order has no pickup window that a courier could miss."""

    SENTENCE = "Order has no pickup that could be missed."


class NoVoucherYet(_Status, frozen=True):
    """The courier needs the voucher first."""

    SENTENCE = "Order has no voucher yet."


class HasVoucher(_Status, frozen=True):
    """The order already has a voucher that is up to date."""

    SENTENCE = "Order already has a voucher."


class NeedsNoVoucher(_Status, frozen=True):
    """The marketplace makes no voucher for this order."""

    SENTENCE = "Order travels without a voucher of the marketplace."


class VoucherOutdated(_Status, frozen=True):
    """The order has changed since its voucher was issued, and the new voucher is not ready."""

    SENTENCE = "Order has moved: its voucher is being made again."


class NotReady(_Status, frozen=True):
    """An enrolled shop has not marked the parcel as ready."""

    SENTENCE = "Order is not ready for dispatch: the courier skips it."


class NoDeliveryNote(_Status, frozen=True):
    """The order already has its delivery note, or never gets one."""

    SENTENCE = "Order has no delivery note to come."


class NotOnItsWayBack(_Status, frozen=True):
    """Only a parcel on its way back can arrive at the shop."""

    SENTENCE = "Order is not on its way back."


class NotRescheduled(_Status, frozen=True):
    """The pickup of this kind of order cannot be moved to another day."""

    kind: str
    SENTENCE = "Order rescheduling is not supported for {kind} orders."


class NotRelocated(_Status, frozen=True):
    """The pickup cannot be moved to another location."""

    SENTENCE = "Pickup relocation is not supported for this order."


class HasParcels(_Status, frozen=True):
    """The order has this number of parcels already."""

    number: int
    SENTENCE = "Order already has {number} parcels."


class HasCourier(_Status, frozen=True):
    """The order goes with this courier already."""

    courier: str
    SENTENCE = "Order already goes with {courier}."


class BadRescheduleDate(Refusal, frozen=True):
    """The day is missing, malformed or not on offer."""

    CODE = ErrorCode.RESCHEDULE_DATE
    SENTENCE = "Invalid reschedule date"


class BadPickupLocation(Refusal, frozen=True):
    """The location is missing, not one of the shop's, or already the pickup location."""

    CODE = ErrorCode.PICKUP_LOCATION
    SENTENCE = "Invalid pickup location"


class _NotEligible(Refusal, frozen=True):
    CODE = ErrorCode.ORDER_NOT_ELIGIBLE


class CannotBeReady(_NotEligible, frozen=True):
    """The order cannot be marked as ready."""

    SENTENCE = "Order is not eligible to be marked as ready"


class CannotBeUndone(_NotEligible, frozen=True):
    """The mark "ready" cannot be undone."""

    SENTENCE = "Order is not eligible for undo"


class NoVoucherToRequest(_NotEligible, frozen=True):
    """Only an accepted preorder without a voucher can request one."""

    SENTENCE = "Cannot request voucher: order is not an accepted preorder without a voucher."


class NotSentByShop(_NotEligible, frozen=True):
    """Tracking details are for orders that the shop sends itself."""

    SENTENCE = "Tracking details are taken for orders that the merchant fulfills only."


class InvoiceTooEarly(Refusal, frozen=True):
    """An invoice needs an accepted order."""

    CODE = ErrorCode.INVOICE_REFUSED
    SENTENCE = "Failed to upload invoice. Order must be accepted first."


class CreditInvoiceTooEarly(Refusal, frozen=True):
    """A credit invoice needs an order that was accepted."""

    CODE = ErrorCode.CREDIT_INVOICE_REFUSED
    SENTENCE = "Failed to upload credit invoice. Order must be accepted first."


class TwoFormsOfRejection(Refusal, frozen=True):
    """Lines and a free text were given."""

    SENTENCE = "Give line_items or rejection_reason_other, not both."


class NoRejection(Refusal, frozen=True):
    """Neither lines nor a free text were given."""

    valid: tuple[object, ...]
    SENTENCE = (
        "Give line_items, each with id and reason_id (valid reasons: {valid}), or give rejection_reason_other with a"
        " text."
    )


class LongReason(Refusal, frozen=True):
    """The free text is too long."""

    most: int
    SENTENCE = "rejection_reason_other is too long (maximum is {most} characters)."


class TooManyLines(Refusal, frozen=True):
    """More lines are named than the order has."""

    named: int
    there: int
    SENTENCE = "line_items: {named} lines are named, the order has {there}."


class LineNamedTwice(Refusal, frozen=True):
    """A line is rejected twice."""

    line: str
    SENTENCE = "line_items.id: {line} is named twice; name each line once."


class NeedsAvailablePieces(Refusal, frozen=True):
    """A rejection for limited stock needs the number of available pieces."""

    reason: int
    line: str
    most: int
    given: object

    def on_the_wire(self) -> str:
        """Return the sentence with the valid numbers."""
        return (
            f"line_items.available_quantity: reason {self.reason} needs how many pieces of line {self.line} are"
            f" available, from 0 to {self.most}; {quote_value(self.given)}."
        )


class WrongPieces(Refusal, frozen=True):
    """An operation does not allow these lines and quantities. `rule` is its rule; `pieces` are the allowed quantities
    by line id."""

    rule: str
    pieces: Mapping[str, int]

    def on_the_wire(self) -> str:
        """Return the rule with the pieces of the first lines."""
        shown = ", ".join(f"{line} ({count})" for line, count in islice(self.pieces.items(), _MOST_SHOWN))
        return f"line_items: {self.rule}{shown or 'none'}."


class UnknownWindow(Refusal, frozen=True):
    """A pickup window that is not on offer."""

    window: str
    valid: tuple[object, ...]
    SENTENCE = "pickup_window: {window} is not on offer; valid values: {valid}."


class BadTracking(Refusal, frozen=True):
    """The tracking details have no entries, or too many."""

    most: int
    SENTENCE = "tracking_details: give 1 to {most} entries, each a courier and its code."


class BadTrackingCode(Refusal, frozen=True):
    """A tracking code that is missing or too long."""

    most: int
    SENTENCE = "tracking_details.tracking_code: give 1 to {most} characters."


class BadTrackingCourier(Refusal, frozen=True):
    """The courier is not in the contract's list for tracking details."""

    courier: str
    valid: tuple[str, ...]
    SENTENCE = "tracking_details.courier: {courier} is not valid; valid values: {valid}."


class TooFewToReplace(Refusal, frozen=True):
    """A replacement needs more pieces than the listing has."""

    product: str
    wanted: int
    there: int
    SENTENCE = "line_items: {wanted} of {product} are needed, {there} are available."


# The rules of WrongPieces.
DELIVERED_PIECES: Final = "name each line of the order at most once, with a quantity from 1 to the ordered one; lines: "
REPLACEABLE_PIECES: Final = (
    "name lines of the order, each once, with at most the pieces that were delivered and not replaced yet: "
)
RETURNABLE_PIECES: Final = (
    "name lines of the order, each once, with at most the pieces that were delivered and are in no other return: "
)
