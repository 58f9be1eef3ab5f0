"""The refusals of shops and listings."""

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal
from kalathi.marketplace.kernel.targets import BadUrl


class ShopNotFound(Refusal, frozen=True):
    """No shop has this id."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "Shop not found"


class TooManyLocations(Refusal, frozen=True):
    """The shop has the largest number of locations already."""

    most: int
    SENTENCE = "The shop has {most} locations; that is as many as there may be."


class NoSuchLocation(Refusal, frozen=True):
    """A location that the shop does not have."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "Location not found"


class LastLocation(Refusal, frozen=True):
    """The only location of a shop. Without one, it could accept no order."""

    SENTENCE = "A shop needs a pickup location. Add another one first."


class ShopClosed(Refusal, frozen=True):
    """A closed shop gets no access."""

    CODE = ErrorCode.CONFLICT
    SENTENCE = "The shop is closed. Open it again first."


class NoTokenName(Refusal, frozen=True):
    """An additional token without a name, or with a name that is too long."""

    most: int
    SENTENCE = "Give the token a name of at most {most} characters."


class TokenNameTaken(Refusal, frozen=True):
    """The shop has a token with this name."""

    SENTENCE = "There is a token with this name already."


class TooManyTokens(Refusal, frozen=True):
    """The shop has the largest number of additional tokens."""

    most: int
    SENTENCE = "There are {most} additional tokens already. Remove one first."


class NoSuchToken(Refusal, frozen=True):
    """No additional token of the shop has this name."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "There is no such token."


class ListedTwice(Refusal, frozen=True):
    """A product is listed twice in one call."""

    SENTENCE = "A shop_uid is listed twice."


class VariationListedTwice(Refusal, frozen=True):
    """A variation is listed twice for one product."""

    product: str
    SENTENCE = "{product} lists a variation_id twice."


class NotAPrice(Refusal, frozen=True):
    """A price that is no amount in euros."""

    product: str
    SENTENCE = "unit_price of {product} must be an amount in euros, not negative, with at most two decimals."


class NotACommission(Refusal, frozen=True):
    """A commission that is no percentage."""

    product: str
    SENTENCE = "commission_rate of {product} must be a percentage from 0 to 100 with at most two decimals."


class NotAVatRate(Refusal, frozen=True):
    """A VAT rate that is no percentage."""

    product: str
    SENTENCE = "vat_rate of {product} must be a percentage from 0 to 100 with at most two decimals."


class BadAddress(Refusal, frozen=True):
    """An address to which nothing can be sent, and its fault."""

    member: str
    fault: BadUrl
    SENTENCE = "{member} {fault}."


class ForeignDomain(Refusal, frozen=True):
    """An address outside of the shop's own domain."""

    member: str
    domain: str
    SENTENCE = "{member} must be https on the shop's domain {domain} or a subdomain of it."
