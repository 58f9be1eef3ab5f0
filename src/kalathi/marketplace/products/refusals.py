"""The refusals of batches of products (docs/contract.md#section-10)."""

from kalathi.contract.products import MOST_PRODUCTS, SCANNING_SENTENCE
from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class InvalidFormat(Refusal, frozen=True):
    """A member of a batch is missing or has a wrong type. `owner` names its product or variation; empty if it has no
    readable id, or for the batch itself."""

    owner: str
    member: str
    is_missing: bool
    CODE = ErrorCode.PRODUCTS_FORMAT

    def on_the_wire(self) -> str:
        """Return `Product ABC: Missing required field 'price'`, or `Product ABC: Field 'price' has invalid type`."""
        fault = f"Missing required field '{self.member}'" if self.is_missing else ""
        sentence = fault or f"Field '{self.member}' has invalid type"
        return f"{self.owner}: {sentence}" if self.owner else sentence


class TooManyProducts(Refusal, frozen=True):
    """A batch has more products than allowed."""

    most: int = MOST_PRODUCTS
    CODE = ErrorCode.PRODUCTS_BATCH_SIZE
    SENTENCE = "A batch has at most {most} products."


class FeedScanning(Refusal, frozen=True):
    """The marketplace is reading the shop's XML feed."""

    CODE = ErrorCode.PRODUCTS_SHOP_STATE
    SENTENCE = SCANNING_SENTENCE


class UpdatesOff(Refusal, frozen=True):
    """The shop's products cannot be changed by batches at present."""

    CODE = ErrorCode.PRODUCTS_SHOP_STATE
    SENTENCE = "The shop is not in a state to take product updates."


class BatchNotFound(Refusal, frozen=True):
    """No batch of this shop has this id, or it is older than its status is kept."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "Batch not found."


class BadListingsFile(Refusal, frozen=True):
    """A file of listings that is not CSV in UTF-8 with the needed columns."""

    SENTENCE = "The file must be CSV in UTF-8 with the columns shop_uid, price and quantity."


class BadListingLine(Refusal, frozen=True):
    """A line of such a file that cannot be read."""

    line: int
    SENTENCE = "Line {line}: shop_uid, price (such as 10,40), quantity (a whole number) or enabled (1 or 0) is wrong."


class ListingFailed(Refusal, frozen=True):
    """A product that could not be changed, and the reason."""

    product: str
    reason: str
    SENTENCE = "{product}: {reason}"
