"""The refusals of carts, which become orders, and of the invoices that customers ask for."""

from kalathi.marketplace.kernel.errors import Refusal


class UnknownShop(Refusal, frozen=True):
    """A cart names a shop that does not exist."""

    shop: str
    SENTENCE = "items.shop_id: there is no shop {shop}."


class UnknownVariation(Refusal, frozen=True):
    """A cart names no variation, or an unknown one, of a product that is sold by variation."""

    product: str
    variations: tuple[str, ...]
    SENTENCE = "items.variation_id of {product}: name one of {variations}."


class NotOnSale(Refusal, frozen=True):
    """The shop has taken the product or the variation off sale."""

    product: str
    SENTENCE = "items.shop_uid: {product} is not on sale."


class NoCustomerName(Refusal, frozen=True):
    """A customer without any name."""

    SENTENCE = "customer: give a first_name or a last_name."


class NoCollectionPoint(Refusal, frozen=True):
    """The address of a collection point is missing."""

    SENTENCE = "customer.address.collection_point_address: name the collection point."


class NotAUnitPrice(Refusal, frozen=True):
    """A price in a cart is not a valid amount."""

    product: str
    SENTENCE = "items.unit_price of {product} must be an amount in euros, not negative, with at most two decimals."


class NotAShippingCost(Refusal, frozen=True):
    """The shipping cost of a cart is not a valid amount."""

    SENTENCE = "shipping_cost must be an amount in euros, not negative, with at most two decimals."


class NotAFee(Refusal, frozen=True):
    """A fee is zero or not a valid amount."""

    fee: str
    SENTENCE = "fees.{fee} must be an amount in euros above zero, with at most two decimals."


class NotAVatRatio(Refusal, frozen=True):
    """A VAT ratio is not a valid number."""

    product: str
    SENTENCE = "items.vat_ratio of {product} must be a number with at most two decimals."


class NoIslandDiscount(Refusal, frozen=True):
    """The islands' VAT discount needs an invoice with VAT."""

    SENTENCE = "items.island_vat_discount_applied: only for an invoice without a VAT exclusion."


class ExclusionNotRequested(Refusal, frozen=True):
    """A cart has a proof for a VAT exclusion that it does not request."""

    SENTENCE = "invoice_details.vat_exclusion_requested: it must be true when a VAT exclusion is proven."


class BadProof(Refusal, frozen=True):
    """The verification method of a VAT exclusion does not exist."""

    valid: tuple[str, ...]
    SENTENCE = "invoice_details.vat_exclusion_verification_method: valid values: {valid}."


class BadProofDocuments(Refusal, frozen=True):
    """The number of documents does not fit the verification method."""

    most: int
    SENTENCE = (
        "invoice_details.vat_exclusion_documents: give 1 to {most} addresses with the method documents, and none"
        " otherwise."
    )


class BadIdentityDocument(Refusal, frozen=True):
    """The type of the identity document does not exist."""

    SENTENCE = "invoice_details.vat_exclusion_representative.id_type: it is not one of the 25 documents."


class BadIdentityNumber(Refusal, frozen=True):
    """The number has more than the last five characters of an identity document, or none."""

    SENTENCE = "invoice_details.vat_exclusion_representative.id_number: give the last 5 characters."


class ShopNotActive(Refusal, frozen=True):
    """A product of a shop that is suspended or closed."""

    shop_id: str
    SENTENCE = "items: the shop {shop_id} takes no orders."


class UnknownListing(Refusal, frozen=True):
    """A cart names a product that the shop does not sell."""

    shop: str
    product: str
    SENTENCE = "items.shop_uid: shop {shop} has no listing {product}."


class TooFewInStock(Refusal, frozen=True):
    """A cart wants more pieces than the listing has."""

    product: str
    wanted: int
    there: int
    SENTENCE = "items.quantity of {product}: {wanted} are wanted, {there} are available."


class ExpressFromStore(Refusal, frozen=True):
    """A store pickup cannot be express."""

    SENTENCE = "express: an order that the customer collects from the store cannot be express."


class LongCustomer(Refusal, frozen=True):
    """A name or a part of the address is too long."""

    most: int
    SENTENCE = "customer: a name or a part of the address is longer than {most} characters."


class NoCompany(Refusal, frozen=True):
    """An invoice without a company or its VAT number."""

    SENTENCE = "invoice_details: give company and vat_number."


class LongInvoiceText(Refusal, frozen=True):
    """A text of the invoice is too long."""

    most: int
    SENTENCE = "invoice_details: a text is longer than {most} characters."
