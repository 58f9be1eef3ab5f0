"""The customer's choice of receipt or invoice, and checks of the invoice details (docs/contract.md#section-2)."""

from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from kalathi.contract.orders import InvoiceDetails
from kalathi.contract.words import IDENTITY_DOCUMENTS, InvoiceDocument
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.orders import cart_refusals

_METHODS: Final = ("service", "documents")
_MOST_DOCUMENTS: Final = 20


def invoice_document(details: InvoiceDetails | UnsetType) -> InvoiceDocument:
    """Return the kind of fiscal document: a receipt without invoice details, else an invoice. An invoice without VAT
    follows article 39α if the details contain a proof of the exclusion, else VIES."""
    if details is UNSET:
        return "receipt"
    if not details.vat_exclusion_requested:
        return "invoice"
    return "invoice_39a" if _proves_39a(details) else "invoice_vies"


def check_invoice(details: InvoiceDetails | UnsetType, longest_text: int) -> None:
    """Check the invoice details. Raises INVALID_PARAMETER with one sentence for each fault."""
    if details is UNSET:
        return
    wrong: list[Refusal] = []
    if not details.company.strip() or not details.vat_number.strip():
        wrong.append(cart_refusals.NoCompany())
    texts = [*astuple(details), *astuple(details.address), *(details.vat_exclusion_documents or ())]
    if any(isinstance(text, str) and len(text) > longest_text for text in texts):
        wrong.append(cart_refusals.LongInvoiceText(longest_text))
    if _proves_39a(details) and not details.vat_exclusion_requested:
        wrong.append(cart_refusals.ExclusionNotRequested())
    wrong += _wrong_proof(details)
    if wrong:
        raise refuse(*wrong)


def _proves_39a(details: InvoiceDetails) -> bool:
    proofs = (
        details.vat_exclusion_verification_method,
        details.vat_exclusion_documents,
        details.vat_exclusion_representative,
    )
    return any(proof is not UNSET for proof in proofs)


def _wrong_proof(details: InvoiceDetails) -> list[Refusal]:
    wrong: list[Refusal] = []
    method = details.vat_exclusion_verification_method
    if method is not UNSET and method not in _METHODS:
        wrong.append(cart_refusals.BadProof(tuple(_METHODS)))
    documents = details.vat_exclusion_documents
    named = 0 if documents is UNSET else len(documents)
    if (method == "documents") != (0 < named <= _MOST_DOCUMENTS) or (method != "documents" and named):
        wrong.append(cart_refusals.BadProofDocuments(_MOST_DOCUMENTS))
    representative = details.vat_exclusion_representative
    if representative is not UNSET:
        if representative.id_type not in IDENTITY_DOCUMENTS.values():
            wrong.append(cart_refusals.BadIdentityDocument())
        if not 1 <= len(representative.id_number) <= 5:
            wrong.append(cart_refusals.BadIdentityNumber())
    return wrong
