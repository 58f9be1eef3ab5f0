"""The English names of fixed values on pages. The catalogues translate them."""

from collections.abc import Mapping
from typing import Final

from kalathi.contract.words import (
    REJECTION_REASONS,
    FulfillmentMode,
    OrderEventType,
    OrderState,
    PaymentMethod,
    ReturnEventType,
    ReturnReason,
    ReturnState,
    ReviewWord,
)
from kalathi.marketplace.kernel.actors import ActorKind
from kalathi.marketplace.kernel.due import DueKind
from kalathi.marketplace.orders.machine import Action
from kalathi.marketplace.orders.search.listing import Sort
from kalathi.marketplace.orders.search.words import OrderKind
from kalathi.marketplace.panel.refusals import NotSignedIn
from kalathi.marketplace.people.model import Role
from kalathi.marketplace.request_log.model import NoShop
from kalathi.marketplace.returns.machine import Action as ReturnAction
from kalathi.marketplace.sandbox.checks import Severity
from kalathi.marketplace.sandbox.checkup_report import NoticeKind, Verdict
from kalathi.marketplace.sandbox.return_triggers import ReturnTriggerKind
from kalathi.marketplace.sandbox.triggers import TriggerKind
from kalathi.marketplace.shops.model import ListingSource, ShopStatus
from kalathi.marketplace.webhooks.answer import SENTENCES
from kalathi.marketplace.webhooks.log import DeliveryState

_ORDER_STATES: Final[Mapping[str, str]] = {
    OrderState.OPEN: "Open",
    OrderState.ACCEPTED: "Accepted",
    OrderState.REJECTED: "Rejected",
    OrderState.CANCELLED: "Cancelled",
    OrderState.EXPIRED: "Expired",
    OrderState.DISPATCHED: "Dispatched",
    OrderState.DELIVERED: "Delivered",
    OrderState.PARTIALLY_DELIVERED: "Partially delivered",
    OrderState.FOR_RETURN: "Being returned",
    OrderState.PARTIALLY_RETURNED: "Partially returned",
    OrderState.RETURNED: "Returned",
}
_RETURN_STATES: Final[Mapping[str, str]] = {
    ReturnState.PENDING_MERCHANT_REVIEW: "Waiting for the shop's review",
    ReturnState.RETURNING: "On its way back",
    ReturnState.PENDING_PHYSICAL_REVIEW: "Waiting for inspection",
    ReturnState.RETURNED: "Returned",
    ReturnState.REJECTED: "Rejected",
    ReturnState.EXPIRED: "Review expired",
    ReturnState.CANCELLED: "Cancelled",
}
_ORDER_ACTIONS: Final[Mapping[str, str]] = {
    Action.PLACE: "Order placed",
    Action.PLACE_FROM_WAREHOUSE: "Order placed; sent by the warehouse",
    Action.ACCEPT: "Accepted",
    Action.REJECT: "Rejected",
    Action.EXPIRE: "No answer in time",
    Action.CANCEL: "Cancelled",
    Action.EXTEND: "More time to answer",
    Action.ISSUE_VOUCHER: "Voucher created",
    Action.REQUEST_VOUCHER: "Voucher requested",
    Action.RESCHEDULE: "Pickup rescheduled",
    Action.RELOCATE: "Pickup moved to another location",
    Action.SET_AS_READY: "Ready for the courier",
    Action.SET_AS_NOT_READY: 'Undo "ready"',
    Action.TRACK: "Tracking details added",
    Action.HAND_OVER: "Handed over to the courier",
    Action.COLLECT: "Collected by the customer",
    Action.DELIVER: "Delivered",
    Action.DELIVER_PARTLY: "Partially delivered",
    Action.FAIL_DELIVERY: "Delivery failed",
    Action.BRING_BACK: "The parcel is back at the shop",
    Action.CHANGE_PARCELS: "Number of parcels changed",
    Action.CHANGE_COURIER: "Courier changed",
    Action.MISS_PICKUP: "Pickup missed by the courier",
    Action.REPLACE: "Replaced by another order",
    Action.ISSUE_DELIVERY_NOTE: "Delivery note created",
    Action.ASK_RETURN: "Return requested by the customer",
    Action.SHIP_RETURN: "Return on its way",
    Action.DROP_RETURN: "Return ended",
    Action.TAKE_BACK_PARTLY: "Some pieces returned",
    Action.TAKE_BACK: "All pieces returned",
    Action.ATTACH_INVOICE: "Invoice uploaded",
}
_RETURN_ACTIONS: Final[Mapping[str, str]] = {
    ReturnAction.REQUEST: "Return requested",
    ReturnAction.REQUEST_WITHOUT_REVIEW: "Sent back by the customer",
    ReturnAction.APPROVE: "Approved",
    ReturnAction.REFUSE: "Declined",
    ReturnAction.SEND_PART: "The shop sends the missing part",
    ReturnAction.EXPIRE: "Not reviewed in time",
    ReturnAction.CANCEL: "Cancelled",
    ReturnAction.HAND_OVER: "Handed over to the courier",
    ReturnAction.REASSIGN: "Given to another courier",
    ReturnAction.ARRIVE: "Arrived",
    ReturnAction.TAKE_BACK: "Received",
    ReturnAction.TURN_DOWN: "Declined after the inspection",
    ReturnAction.ANNOUNCE: "Sent again",
}
_PAYMENTS: Final[Mapping[str, str]] = {
    PaymentMethod.CARD: "Card",
    PaymentMethod.CASH_ON_DELIVERY: "Cash on delivery",
    PaymentMethod.LOAN: "Loan",
    PaymentMethod.BANK_TRANSFER: "Bank transfer",
    PaymentMethod.IRIS: "IRIS",
    PaymentMethod.WALLET: "Wallet",
    PaymentMethod.EDENRED: "Edenred",
    PaymentMethod.REVOLUT: "Revolut",
}
_RETURN_REASONS: Final[Mapping[str, str]] = {
    ReturnReason.FAULTY: "Faulty",
    ReturnReason.WRONG_PRODUCT: "Wrong product",
    ReturnReason.WITHDRAWAL: "Withdrawal",
    ReturnReason.DAMAGED_PRODUCT: "Damaged product",
    ReturnReason.EXPIRED_PRODUCT: "Expired product",
    ReturnReason.AUTHENTICITY_DOUBT: "Doubt about authenticity",
    ReturnReason.DELIVERY_ISSUES: "Delivery problem",
    ReturnReason.OTHER: "Another reason",
    ReturnReason.MISSING_PART: "A part is missing",
}
_REVIEWS: Final[Mapping[str, str]] = {
    ReviewWord.APPROVE: "Approve the return",
    ReviewWord.SEND_MISSING_PART: "Send the missing part",
    ReviewWord.CONTACT_MANUFACTURER: "Reject: customer should contact the manufacturer",
    ReviewWord.RESOLVED_VIA_CUSTOMER_COMMUNICATION: "Reject: settled with the customer",
    ReviewWord.USABILITY_SUGGESTIONS: "Reject: user guidance given",
    ReviewWord.NOT_FAULTY: "Reject: not faulty",
    ReviewWord.PART_NOT_INCLUDED: "Reject: part not included",
    ReviewWord.INCORRECT_SKROUTZ_CONTENT: "Reject: wrong description on the marketplace",
    ReviewWord.OUT_OF_POLICY_WITHDRAWAL: "Reject: withdrawal too late",
}
# The labels on the wire are Greek. These are for readers of English.
_REJECTIONS: Final[Mapping[str, str]] = dict(
    zip(
        (reason.word for reason in REJECTION_REASONS),
        ("Out of stock", "Wrong price", "Limited pieces", "Discontinued", "Wrong classification"),
        strict=True,
    )
)
_EVENTS: Final[Mapping[str, str]] = {
    OrderEventType.NEW_ORDER: "New order",
    OrderEventType.ORDER_UPDATED: "Order updated",
    ReturnEventType.CREATED: "Return created",
    ReturnEventType.UPDATED: "Return updated",
}
DELIVERY_STATES: Final[Mapping[DeliveryState, str]] = {
    "pending": "Pending",
    "delivered": "Delivered",
    "exhausted": "Failed",
    "not_sent": "Not sent",
}
_NO_SHOP: Final[Mapping[NoShop, str]] = {
    "no_token": "No token",
    "unknown_token": "Unknown token",
    "not_checked": "No such call",
}
_OUTCOMES: Final[Mapping[str, str]] = {"delivered": "Delivered", "retry": "Will retry", "exhausted": "Failed"}
_DUE: Final[Mapping[str, str]] = {
    DueKind.DELIVERY: "A webhook is sent",
    DueKind.EXPIRY: "The order expires unless it is answered",
    DueKind.EXPRESS: "The marketplace accepts the express order",
    DueKind.VOUCHER: "Voucher created",
    DueKind.DELIVERY_NOTE: "Delivery note created",
    DueKind.REVIEW: "The return expires unless it is reviewed",
    DueKind.OPENED: "The later events of a return are sent",
    DueKind.FORGET: "An Idempotency-Key is forgotten",
}
_MODES: Final[Mapping[str, str]] = {
    FulfillmentMode.CORE: "The marketplace's couriers",
    FulfillmentMode.MERCHANT: "The merchant",
}
_STORAGE: Final[Mapping[str, str]] = {"0": "Dry", "1": "Air conditioned", "2": "Refrigerated", "3": "Frozen"}
_DOCUMENTS: Final[Mapping[str, str]] = {
    "receipt": "Receipt",
    "invoice": "Invoice",
    "invoice_39a": "Invoice without VAT, article 39α",
    "invoice_vies": "Invoice without VAT, VIES",
}

_REPLACEMENTS: Final[Mapping[str, str]] = {
    "from_service": "The same pieces, from the service",
    "as_is_return": "The same pieces, as they are",
}
_TRIGGERS: Final[Mapping[str, str]] = {
    TriggerKind.CREATION: "New order",
    TriggerKind.VOUCHER_UPDATE: "Voucher",
    TriggerKind.EXTENSION: "Extension",
    TriggerKind.CANCELLATION: "Cancellation",
}
_RETURN_TRIGGERS: Final[Mapping[str, str]] = {
    ReturnTriggerKind.CREATION: "New return",
    ReturnTriggerKind.SHIPMENT: "Shipment",
    ReturnTriggerKind.TRACKING: "Tracking",
    ReturnTriggerKind.COURIER: "Courier",
    ReturnTriggerKind.STATE: "State",
}

# States behind a number, such as "13 open". Greek has a plural of them.
COUNTED: Final[Mapping[str, Mapping[str, str]]] = {
    "order_state": {state: name.lower() for state, name in _ORDER_STATES.items()},
    "delivery_state": {state: name.lower() for state, name in DELIVERY_STATES.items()},
}
_VERDICTS: Final[Mapping[str, str]] = {
    Verdict.PASSED: "Passed",
    Verdict.FAILED: "Did not pass",
    Verdict.WARNED: "Passed with a warning",
    Verdict.NOT_CLAIMED: "Not claimed",
    Verdict.NOT_SEEN: "Not seen",
    Verdict.NOT_TRIED: "Not tried",
}
_SEVERITIES: Final[Mapping[str, str]] = {
    Severity.LOSES_ORDERS: "Loses orders",
    Severity.COSTS_MONEY: "Costs money",
    Severity.ANNOYS: "Annoys",
}
_NOTICES: Final[Mapping[str, str]] = {
    NoticeKind.OK: "OK",
    NoticeKind.WARNING: "Warning",
    NoticeKind.WRONG: "Wrong",
}
_SHOP_STATUS: Final[Mapping[str, str]] = {
    ShopStatus.ACTIVE: "Active",
    ShopStatus.SUSPENDED: "Suspended: no new orders",
    ShopStatus.CLOSED: "Closed: no access, no webhooks",
}
_SWITCH_GROUPS: Final[Mapping[str, str]] = {
    "api": "Calls of the shop",
    "webhooks": "Webhooks",
    "bodies": "Contents of answers and webhooks",
}
_SCENARIO_GROUPS: Final[Mapping[str, str]] = {
    "orders": "Kinds of orders",
    "answers": "Accept and reject",
    "delivery": "Pickup and delivery",
    "documents": "Invoices",
    "returns": "Returns",
    "products": "Stock and prices",
    "webhooks": "Faults of webhooks",
    "bodies": "Unexpected contents",
}
_ROLES: Final[Mapping[str, str]] = {
    Role.OWNER: "Owner",
    Role.STAFF: "Staff",
    Role.READ_ONLY: "Read only",
}
_ROLES_EXPLAINED: Final[Mapping[str, str]] = {
    Role.OWNER: "Owner: everything, also people, tokens and secrets",
    Role.STAFF: "Staff: daily work",
    Role.READ_ONLY: "Read only: sees everything, changes nothing",
}
_ACTORS: Final[Mapping[str, str]] = {
    ActorKind.API: "by API",
    ActorKind.SHOP: "shop",
    ActorKind.OPERATOR: "support",
    ActorKind.CLOCK: "automatic",
    ActorKind.SCENARIO: "scenario",
}
KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "actor": _ACTORS,
    "switch_group": _SWITCH_GROUPS,
    "scenario_group": _SCENARIO_GROUPS,
    "role": _ROLES,
    "shop_status": _SHOP_STATUS,
    "role_explained": _ROLES_EXPLAINED,
    "order_state": _ORDER_STATES,
    "return_state": _RETURN_STATES,
    "order_action": _ORDER_ACTIONS,
    "order_kind": {
        OrderKind.EXPRESS: "Express",
        OrderKind.STORE_PICKUP: "Store pickup",
        OrderKind.INVOICE: "With invoice",
        OrderKind.FBS: "Sent by the warehouse",
    },
    "order_sort": {
        Sort.CHANGE: "Latest change",
        Sort.DEADLINE: "Deadline",
        Sort.DATE: "Date placed",
        Sort.TOTAL: "Total",
    },
    "return_action": _RETURN_ACTIONS,
    "payment": _PAYMENTS,
    "return_reason": _RETURN_REASONS,
    "review": _REVIEWS,
    "rejection": _REJECTIONS,
    "rejection_reason": {**_REJECTIONS, "other": "Another reason"},
    "event": _EVENTS,
    "delivery_state": {str(state): name for state, name in DELIVERY_STATES.items()},
    "no_shop": {str(reason): name for reason, name in _NO_SHOP.items()},
    "listing_source": {
        ListingSource.OPERATOR: "operator",
        ListingSource.PRODUCTS_API: "your system",
        ListingSource.PAGE: "by hand",
        ListingSource.CSV: "CSV file",
    },
    "traffic": {"call": "Call of the shop", "webhook": "Webhook"},
    "outcome": _OUTCOMES,
    "send_error": SENTENCES,
    "rejection_actor": {"merchant": "The shop", "skroutz": "Support"},
    "due": _DUE,
    "mode": _MODES,
    "storage": _STORAGE,
    "document": _DOCUMENTS,
    "replacement": _REPLACEMENTS,
    "trigger": _TRIGGERS,
    "return_trigger": _RETURN_TRIGGERS,
    "verdict": _VERDICTS,
    "severity": _SEVERITIES,
    "notice": _NOTICES,
}

# The sentence after a completed action, by the word in the page's URL.
DONE: Final[Mapping[str, str]] = {
    "accept": "The order is accepted. The voucher is on its way.",
    "accept_without_voucher": "The order is accepted.",
    "reject": "The order is rejected. What is available may come back as a new order.",
    "reschedule_pickup": "The pickup is moved.",
    "relocate_pickup": "The pickup is moved.",
    "set_as_ready": "The order is ready for the courier.",
    "set_as_not_ready": "The order is no longer marked as ready.",
    "request_voucher": "The voucher is requested. It is on its way.",
    "tracking_details": "The tracking details are saved.",
    "note": "The note is saved.",
    "view": "The view is saved.",
    "view_removed": "The view is removed.",
    "invoice": "The invoice is saved.",
    "credit_invoice": "The credit invoice is saved.",
    "webhook": "The latest webhook is sent again.",
    "review": "Your decision is saved.",
    "supplier": "The supplier is saved.",
    "purchase_order": "The goods are announced to the warehouse.",
    "settings": "The settings are saved.",
    "location": "The location is saved.",
    "location_removed": "The location is removed.",
    "signing_ended": "Webhooks are not signed any more.",
    "order": "Done.",
    "failures_resent": "The failed webhooks of this list are sent again.",
    "resent": "The webhook is sent again.",
    "signed_out": "You have signed out.",
    "not_signed_in": NotSignedIn.SENTENCE,
    "clock": "The clock was moved.",
    "faults": "The faults are applied.",
    "trigger": "The webhook comes in a few seconds.",
    "received": "The goods are in the warehouse.",
    "listing": "The listing is saved.",
    "listings": "The products of the file are saved.",
    "checkup": "The checkup has started.",
    "anonymised": "The customer's data is removed.",
    "erased": "The shop and all of its data are erased.",
    "status": "The shop's status is saved.",
    "joined": "Welcome. From now on, sign in with your name and password.",
    "token_removed": "The token is removed. It no longer works.",
    "role": "The role is saved.",
    "person_removed": "The person is removed.",
    "invitation_removed": "The invitation is removed.",
    "session_ended": "The session has ended.",
    "password": "The password is saved.",
}
