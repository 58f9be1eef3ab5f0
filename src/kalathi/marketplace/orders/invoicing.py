"""The fiscal document that a customer asks for, and checks of its details (docs/contract.md#section-2)."""

from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from kalathi.contract.orders import InvoiceDetails
from kalathi.contract.words import IDENTITY_DOCUMENTS, InvoiceDocument
from kalathi.marketplace.kernel.errors import invalid_parameter

_METHODS: Final = ("service", "documents")
_MOST_DOCUMENTS: Final = 20


def invoice_document(details: InvoiceDetails | UnsetType) -> InvoiceDocument:
    """A receipt unless a company asks; without VAT by article 39α when it says how that is proven, else by VIES."""
    if details is UNSET:
        return "receipt"
    if not details.vat_exclusion_requested:
        return "invoice"
    return "invoice_39a" if _proves_39a(details) else "invoice_vies"


def check_invoice(details: InvoiceDetails | UnsetType, longest_text: int) -> None:
    """Raises INVALID_PARAMETER, one sentence for each fault."""
    if details is UNSET:
        return
    wrong = []
    if not details.company.strip() or not details.vat_number.strip():
        wrong.append("invoice_details: give company and vat_number.")
    texts = [*astuple(details), *astuple(details.address), *(details.vat_exclusion_documents or ())]
    if any(isinstance(text, str) and len(text) > longest_text for text in texts):
        wrong.append(f"invoice_details: a text is longer than {longest_text} characters.")
    if _proves_39a(details) and not details.vat_exclusion_requested:
        wrong.append("invoice_details.vat_exclusion_requested: it must be true when a VAT exclusion is proven.")
    wrong += _wrong_proof(details)
    if wrong:
        raise invalid_parameter(*wrong)


def _proves_39a(details: InvoiceDetails) -> bool:
    proofs = (
        details.vat_exclusion_verification_method,
        details.vat_exclusion_documents,
        details.vat_exclusion_representative,
    )
    return any(proof is not UNSET for proof in proofs)


def _wrong_proof(details: InvoiceDetails) -> list[str]:
    wrong = []
    method = details.vat_exclusion_verification_method
    if method is not UNSET and method not in _METHODS:
        wrong.append(f"invoice_details.vat_exclusion_verification_method: valid values: {', '.join(_METHODS)}.")
    documents = details.vat_exclusion_documents
    named = 0 if documents is UNSET else len(documents)
    if (method == "documents") != (0 < named <= _MOST_DOCUMENTS) or (method != "documents" and named):
        wrong.append(
            f"invoice_details.vat_exclusion_documents: give 1 to {_MOST_DOCUMENTS} addresses"
            " with the method documents, and none otherwise."
        )
    representative = details.vat_exclusion_representative
    if representative is not UNSET:
        if representative.id_type not in IDENTITY_DOCUMENTS.values():
            wrong.append("invoice_details.vat_exclusion_representative.id_type: it is not one of the 25 documents.")
        if not 1 <= len(representative.id_number) <= 5:
            wrong.append("invoice_details.vat_exclusion_representative.id_number: give the last 5 characters.")
    return wrong
