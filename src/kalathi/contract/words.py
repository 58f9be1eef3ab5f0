"""The closed word lists of the wire (docs/contract.md#section-2 and #section-3)."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple, get_args

from msgspec import Meta

# The first part of every path of the merchants' API (docs/contract.md#section-1).
BASE_PATH: Final = "/merchants/ecommerce"


class OrderState(StrEnum):
    """Every state that an order can show (section 2)."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DISPATCHED = "dispatched"
    DELIVERED = "delivered"
    PARTIALLY_DELIVERED = "partially_delivered"
    FOR_RETURN = "for_return"
    PARTIALLY_RETURNED = "partially_returned"
    RETURNED = "returned"


class PaymentMethod(StrEnum):
    """The payment method (section 2). Readers ignore the case, because one recording contains `Card`."""

    CARD = "card"
    CASH_ON_DELIVERY = "cash_on_delivery"
    LOAN = "loan"
    BANK_TRANSFER = "bank_transfer"
    IRIS = "iris"
    WALLET = "wallet"
    EDENRED = "edenred"
    REVOLUT = "revolut"


class OrderEventType(StrEnum):
    """The event types of the order webhook (docs/contract.md#section-4)."""

    NEW_ORDER = "new_order"
    ORDER_UPDATED = "order_updated"


class ReturnEventType(StrEnum):
    """The event types of the return webhook (docs/contract.md#section-8)."""

    CREATED = "merchant_return_created"
    UPDATED = "merchant_return_updated"


class ReturnState(StrEnum):
    """Every state that a return can show (section 6)."""

    PENDING_MERCHANT_REVIEW = "pending_merchant_review"
    RETURNING = "returning"
    PENDING_PHYSICAL_REVIEW = "pending_physical_review"
    RETURNED = "returned"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ReturnReason(StrEnum):
    """The customer's reason for the return of a line (section 6). Readers also accept any other text."""

    FAULTY = "faulty"
    WRONG_PRODUCT = "wrong_product"
    WITHDRAWAL = "withdrawal"
    DAMAGED_PRODUCT = "damaged_product"
    EXPIRED_PRODUCT = "expired_product"
    AUTHENTICITY_DOUBT = "authenticity_doubt"
    DELIVERY_ISSUES = "delivery_issues"
    OTHER = "other"
    MISSING_PART = "missing_part"


class ReviewWord(StrEnum):
    """The options of a return's review (docs/contract.md#section-7)."""

    APPROVE = "approve"
    SEND_MISSING_PART = "send_missing_part"
    CONTACT_MANUFACTURER = "contact_manufacturer"
    RESOLVED_VIA_CUSTOMER_COMMUNICATION = "resolved_via_customer_communication"
    USABILITY_SUGGESTIONS = "usability_suggestions"
    NOT_FAULTY = "not_faulty"
    PART_NOT_INCLUDED = "part_not_included"
    INCORRECT_SKROUTZ_CONTENT = "incorrect_skroutz_content"
    OUT_OF_POLICY_WITHDRAWAL = "out_of_policy_withdrawal"


class Courier(StrEnum):
    """The documented couriers (section 2). Readers also accept any other text."""

    SKROUTZ_LAST_MILE = "Skroutz Last Mile"
    ACS = "ACS"
    SPEEDEX = "Speedex"
    ELTA = "Elta"
    EASY_MAIL = "EasyMail"
    DHL = "DHL"
    DPD = "Dpd"
    DIAKINISIS = "Diakinisis"
    DELATOLAS = "Delatolas"
    OB_STREEM = "OB Streem"
    GENIKI_TAXYDROMIKI = "Geniki Taxydromiki"


# The courier words of tracking_details (section 3), each with the name that the order then shows.
TRACKING_COURIERS: Final = {
    "acs": Courier.ACS.value,
    "dhl": Courier.DHL.value,
    "geniki_taxydromiki": Courier.GENIKI_TAXYDROMIKI.value,
    "dpd": Courier.DPD.value,
    "gls": "GLS",
}


class FulfillmentMode(StrEnum):
    """The party that sends a shop's orders: the marketplace's couriers, or the merchant (FBM)."""

    CORE = "core"
    MERCHANT = "fbm"


# The types of a replacement (docs/contract.md#section-2, `replacements`); no type means a standard one.
ReplacementType = Literal["from_service", "as_is_return"]
GIFT_WRAP_CUSTOM: Final = "[GIFT-WRAP]"
REPLACEMENT_CUSTOMS: Final[dict[str, str]] = {
    "from_service": "[RETURN-FROM-SERVICE]",
    "as_is_return": "[RETURN-AS-IS]",
}

InvoiceDocument = Literal["receipt", "invoice", "invoice_39a", "invoice_vies"]
LineRejectionReason = Literal["limited_stock", "no_stock", "discontinuation", "wrong_price", "content_mistake"]
LineTag = Literal["plus_deal", "coupon_deal", "two_plus_deal", "coupons", "price_optimizer", "cc_installments"]
LineReturnReason = Literal["faulty", "wrong_product", "withdrawal", "wrong_size"]
# The return reason of the order's line, by the reason in the return (docs/contract.md#section-6). For other reasons the
# order's line has none.
LINE_RETURN_REASONS: Final[dict[str, LineReturnReason]] = {
    ReturnReason.FAULTY: "faulty",
    ReturnReason.DAMAGED_PRODUCT: "faulty",
    ReturnReason.EXPIRED_PRODUCT: "faulty",
    ReturnReason.MISSING_PART: "faulty",
    ReturnReason.WRONG_PRODUCT: "wrong_product",
    ReturnReason.AUTHENTICITY_DOUBT: "wrong_product",
    ReturnReason.WITHDRAWAL: "withdrawal",
}
# The storage conditions of a purchase order's goods (section 9), by the number on the wire.
STORAGE_CONDITIONS: Final = {0: "dry", 1: "air conditioned", 2: "refrigerated", 3: "frozen"}
RejectionActor = Literal["merchant", "skroutz"]


class RejectionReason(NamedTuple):
    """One row of the rejection reasons (section 2, reject_options)."""

    id: int
    label: str
    requires_available_quantity: bool
    word: LineRejectionReason


LIMITED_STOCK_REASON_ID: Final = 4
NO_STOCK_REASON_ID: Final = 1

REJECTION_REASONS: Final = (
    RejectionReason(NO_STOCK_REASON_ID, "Εκτός αποθέματος στο κατάστημα ή στον προμηθευτή", False, "no_stock"),
    RejectionReason(2, "Λάθος καταχωρημένη τιμή(ες)", False, "wrong_price"),
    RejectionReason(LIMITED_STOCK_REASON_ID, "Περιορισμένα τεμάχια", True, "limited_stock"),
    # The first word of this label is two Latin letters, as the real marketplace sends it.
    RejectionReason(5, "To προϊόν καταργήθηκε", False, "discontinuation"),
    RejectionReason(6, "Λάθος ταξινόμηση προϊόντος", False, "content_mistake"),
)

# The identity documents, by the tax authority's number, which is not sent on the wire. There is no 10 and no 21.
IDENTITY_DOCUMENTS: Final = {
    1: "ΑΤ Αστυνομική Ταυτότητα",
    2: "ΕΣ Ελληνικός Στρατός",
    3: "ΠΝ Πολεμικό Ναυτικό",
    4: "ΠΑ Πολεμική Αεροπορία",
    5: "ΕΑ Ελληνική Αστυνομία",
    6: "ΛΣ Λιμενικό Σώμα",
    7: "ΠΣ Πυροσβεστικό Σώμα",
    8: "Διαβατήριο",
    9: "ΚΑ Κέντρο Αλλοδαπών",
    11: "Εντολέας ΦΠ",
    12: "ΚΠ Κάρτα Παραμονής Περιορισμένης Χρονικής Διάρκειας",
    13: "Ταυτότητα Ευρωπαϊκής Ένωσης",
    14: "Ταυτότητα Ανιθαγενή (Ν.139/1975)",
    15: "Ταυτότητα Ομογενούς",
    16: "Αριθμός Κοινωνικής Ασφάλισης Η.Π.Α.",
    17: "ΕΔΤ Πολιτικού Πρόσφυγα Υπό Αναγνώριση",
    18: "Ειδικό Δελτίο Πολιτικού Φυγάδα",
    19: "Άδεια Παραμονής Πρόσφυγα Ατελώς",
    20: "Ειδικό Δελτίο Πρόσφυγα Ανθρωπιστικού Καθεστώτος",
    22: "Πιστοποιητικό γέννησης αλλοδαπού",
    23: "Ταυτότητα Χώρας Εκτός Ευωπαϊκής Ένωσης",
    24: "ΑΓ Ελληνική Αγροφυλακή",
    25: "Δελτίο Αιτούντος Διεθνή Προστασία",
    26: "Άδεια Διαμονής Υπηκόου Τρίτης Χώρας Χωρίς Διαβατήριο",
    27: "Άδεια Διαμονής/Δικαιούχος Διεθνούς Προστασίας",
}


def one_of(words: Iterable[str]) -> Meta:
    """Return the schema of a text that is one of these words."""
    return Meta(extra_json_schema={"enum": [str(word) for word in words]})


# Members with a closed list of words. The writer sends no other word. The reader keeps any other text unchanged
# (docs/contract.md#section-11), so that a new word does not make the rest unreadable.
OrderStateText = Annotated[str, one_of(OrderState)]
InvoiceDocumentText = Annotated[str, one_of(get_args(InvoiceDocument))]
LineRejectionReasonText = Annotated[str, one_of(get_args(LineRejectionReason))]
LineReturnReasonText = Annotated[str, one_of(get_args(LineReturnReason))]
RejectionActorText = Annotated[str, one_of(get_args(RejectionActor))]
