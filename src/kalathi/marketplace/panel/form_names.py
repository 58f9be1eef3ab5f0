"""The names of forms in the history of a place. The catalogues translate them; a test finds a form without a name."""

from collections.abc import Mapping
from typing import Final

from kalathi.marketplace.panel import wording

FORMS: Final[Mapping[str, str]] = {
    "/sign-in": "Signed in",
    "/invitation": "Joined",
    "people": "Person invited",
    "people/password": "Password changed",
    "people/sessions/{session}": "Session ended",
    "people/invitations/{invitation}": "Invitation removed",
    "people/{person_id}/role": "Role changed",
    "people/{person_id}/remove": "Person removed",
    "people/{person_id}/new-password": "Link for a new password",
    "views": "View saved",
    "views/remove": "View removed",
    "vouchers.pdf": "Vouchers printed",
    "vouchers-on-a4.pdf": "Vouchers printed",
    "picking-list": "Picking list printed",
    "packing-slips": "Packing slips printed",
    "bulk/accept": "Orders accepted",
    "bulk/ready": "Orders marked as ready",
    "orders/{code}/webhook": "Webhook sent again",
    "orders/{code}/invoice": "Invoice uploaded",
    "orders/{code}/note": "Note added",
    "orders/{code}/credit_invoice": "Credit invoice uploaded",
    "orders/{code}/return": "Return requested",
    "returns/{code}/review": "Decision on a return",
    "returns/{code}/webhook": "Webhook sent again",
    "warehouse/purchase-orders": "Goods announced",
    "warehouse/suppliers": "Supplier added",
    "warehouse/suppliers/{id}": "Supplier changed",
    "listings/import": "Products imported",
    "listing": "Product changed",
    "settings": "Settings changed",
    "settings/try": "Test webhook sent",
    "settings/api_token": "New API token",
    "settings/extra_tokens": "API token added",
    "settings/extra_tokens/remove": "API token removed",
    "settings/products_token": "New token for stock and prices",
    "settings/signing_secret": "New signing secret",
    "settings/signing_secret/end": "Signing turned off",
    "settings/locations": "Location added",
    "settings/locations/{location_id}": "Location changed",
    "settings/locations/{location_id}/remove": "Location removed",
    "shops": "Shop added",
    "shops/{shop_id}": "Settings changed",
    "shops/{shop_id}/checkup": "Checkup started",
    "shops/{shop_id}/api_token": "New API token",
    "shops/{shop_id}/products_token": "New token for stock and prices",
    "shops/{shop_id}/signing_secret": "New signing secret",
    "shops/{shop_id}/signing_secret/end": "Signing turned off",
    "shops/{shop_id}/locations": "Location added",
    "shops/{shop_id}/listings": "Product changed",
    "shops/{shop_id}/owner": "Person invited",
    "shops/{shop_id}/status": "Shop suspended, closed or opened",
    "shops/{shop_id}/erase": "Shop erased",
    "customers": "Personal data removed",
    "shops/{shop_id}/open": "Signed in as this shop",
    "cart": "Cart placed",
    "purchase-orders/{code}/receive": "Goods received",
    "deliveries": "Failed webhooks sent again",
    "deliveries/{id}/edited": "Edited webhook sent",
    "deliveries/{id}/resend": "Webhook sent again",
    "sandbox/clock": "Clock moved",
    "sandbox/faults": "Faults changed",
    "sandbox/scenario": "Scenario played",
    "sandbox/trigger": "Demo webhook sent",
}
# The words of actions and operations that a timeline names differently.
WORDS: Final[Mapping[str, str]] = {
    "anonymise": "Personal data removed",
    "reschedule_pickup": "Pickup rescheduled",
    "relocate_pickup": "Pickup moved to another location",
    "tracking_details": "Tracking details added",
    "inspect": "Inspected",
}


def name_form(action: str) -> str:
    """Return the English name of a form: of its address in the page table, with the word of its action, such as
    `/shop/orders/{code}/accept`. Calls of the operator's API have no other name than their route."""
    root = next((root for root in ("/shop/", "/operator/") if action.startswith(root)), "")
    found = FORMS.get(action.removeprefix(root))
    if found is not None:
        return found
    word = action.rpartition("/")[2]
    kinds = (WORDS, wording.KINDS["order_action"], wording.KINDS["return_action"])
    return next((kind[word] for kind in kinds if word in kind), action)
