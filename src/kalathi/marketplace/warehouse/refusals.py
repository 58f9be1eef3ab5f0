"""The refusals of the warehouse (docs/contract.md#section-9), one for each wrong field.

`member` is the field's name. For a field of a line, `place` is the line's index from 0; on the wire the field is named
as in `line_items[0].product_uid`.
"""

from datetime import date

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class SupplierNotFound(Refusal, frozen=True):
    """The shop has no supplier with this id."""

    CODE = ErrorCode.SUPPLIER_NOT_FOUND
    SENTENCE = "Supplier not found"


class PurchaseOrderNotFound(Refusal, frozen=True):
    """No purchase order has this code."""

    CODE = ErrorCode.PURCHASE_ORDER_NOT_FOUND
    SENTENCE = "Invalid purchase order"


class PurchaseOrderOfAnother(Refusal, frozen=True):
    """The purchase order is another shop's."""

    CODE = ErrorCode.PURCHASE_ORDER_OF_ANOTHER
    SENTENCE = "Invalid purchase order"


class AlreadyReceived(Refusal, frozen=True):
    """Goods are received once."""

    CODE = ErrorCode.PURCHASE_ORDER_STATUS
    SENTENCE = "Purchase order already received."


class FieldMissing(Refusal, frozen=True):
    """A required field is missing."""

    member: str
    SENTENCE = "{member}: it is missing."


class FieldBlank(Refusal, frozen=True):
    """A required text is blank."""

    member: str
    SENTENCE = "{member}: give a text that is not blank."


class FieldTooLong(Refusal, frozen=True):
    """A text is too long."""

    member: str
    most: int
    SENTENCE = "{member}: it is longer than {most} characters."


class NotAText(Refusal, frozen=True):
    """A value is not a text."""

    member: str
    SENTENCE = "{member}: give a text."


class BadId(Refusal, frozen=True):
    """An id with other characters, or with too many."""

    most: int
    SENTENCE = "id: give 1 to {most} letters and digits, or leave it out."


class IdTaken(Refusal, frozen=True):
    """Another supplier has this id."""

    id: str
    SENTENCE = "id: another supplier has {id}."


class CodeTaken(Refusal, frozen=True):
    """Another supplier of the shop has this code."""

    code: str
    SENTENCE = "code: another supplier of the shop has the code {code}."


class NoDate(Refusal, frozen=True):
    """The expected date is missing or malformed; `day` is an example."""

    day: str
    SENTENCE = "expected_date: give a date such as {day}."


class PastDate(Refusal, frozen=True):
    """The expected date is in the past."""

    day: date
    SENTENCE = "expected_date: {day} is in the past."


class NoLines(Refusal, frozen=True):
    """A purchase order needs at least one line."""

    SENTENCE = "line_items: give a list of at least one line."


class TooManyLines(Refusal, frozen=True):
    """A purchase order with too many lines."""

    most: int
    SENTENCE = "line_items: give at most {most} lines."


class NotAnnounced(Refusal, frozen=True):
    """A received product that the purchase order does not have."""

    product: str
    SENTENCE = "line_items.product_uid: {product} is not of this purchase order."


class ReceivedTwice(Refusal, frozen=True):
    """A received product that is named twice."""

    SENTENCE = "line_items.product_uid: name each product once."


class LineRefusal(Refusal, frozen=True):
    """A refusal of one line of a purchase order."""

    place: int


class NoProduct(LineRefusal, frozen=True):
    """A line without a product."""

    SENTENCE = "line_items[{place}].product_uid: it is missing."


class UnknownProduct(LineRefusal, frozen=True):
    """A product that the shop does not sell."""

    product: str
    SENTENCE = "line_items[{place}].product_uid: the shop has no product {product}."


class ProductTwice(LineRefusal, frozen=True):
    """A product that an earlier line already has."""

    product: str
    SENTENCE = "line_items[{place}].product_uid: {product} is named twice; name each product once."


class BadQuantity(LineRefusal, frozen=True):
    """A quantity is not a whole number in the allowed range."""

    most: int
    SENTENCE = "line_items[{place}].expected_quantity: give a whole number from 1 to {most}."


class BadStorage(LineRefusal, frozen=True):
    """Storage conditions that are not in the list."""

    valid: tuple[str, ...]
    SENTENCE = "line_items[{place}].storage_conditions: valid values: {valid}."


class BadSwitch(LineRefusal, frozen=True):
    """A switch that is neither true nor false."""

    member: str
    SENTENCE = "line_items[{place}].{member}: give true or false."


class NotALine(LineRefusal, frozen=True):
    """A line is not a JSON object."""

    SENTENCE = "line_items[{place}]: give an object."
