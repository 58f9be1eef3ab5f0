"""A test's own shop: its creation, and the check of its webhooks."""

import time
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from kalathi.operator_calls import are_settled
from kalathi.testing.calling import Caller
from kalathi.testing.receivers import Receiver

_LOCATION: Final = {
    "street_name": "Σταδίου",
    "street_number": "1",
    "zip": "10562",
    "city": "Αθήνα",
    "region": "Αττική",
}
# A customer for carts whose customer does not matter.
CUSTOMER: Final[dict[str, Any]] = {
    "first_name": "Ελένη",
    "last_name": "Παπαδοπούλου",
    "address": {
        "street_name": "Ερμού",
        "street_number": "12",
        "zip": "10563",
        "city": "Αθήνα",
        "region": "Αττική",
        "country_code": "GR",
    },
}
# Time limit for the first attempts of webhooks at the end of a test: a little more than that of one delivery.
_LIMIT_SECONDS: Final = 12.0
_PAUSE_SECONDS: Final = 0.05


class Shop(NamedTuple):
    """A shop with its API token and the id of its pickup location."""

    id: str
    token: str
    location_id: str


@dataclass
class State:
    """The state that `Kalathi` and `AsyncKalathi` of one test share."""

    caller: Caller
    shop: Shop
    receivers: list[Receiver] = field(default_factory=list)
    # The shop's fault rules.
    rules: list[dict[str, Any]] = field(default_factory=list)
    expects_failures: bool = False
    # Sentences about webhooks that failed before a reset.
    failed: list[str] = field(default_factory=list)


def create_shop(caller: Caller, **members: object) -> Shop:
    """Create a shop. `members` are those of a new shop, such as `webhook_url`."""
    new = {"name": "Test shop", "domain": "shop.example", "locations": [_LOCATION], **members}
    answer = caller.call("POST", "/marketplace/shops", new)
    return Shop(answer["shop"]["id"], answer["api_token"], answer["shop"]["locations"][0]["id"])


def find_failed_webhooks(caller: Caller, shop: Shop) -> list[str]:
    """Return a sentence for each attempt of a webhook that was not answered with 200, and for each webhook without an
    answer after twelve seconds. Attempts that a fault rule failed do not count."""
    failed = []
    for entry in _read_settled(caller, shop):
        if entry["state"] == "pending" and not entry["attempts"]:
            failed.append(f"{entry['event_type']} of {entry['subject']} has no answer after {_LIMIT_SECONDS:g} s.")
        elif entry["attempts"] > (1 if entry["state"] == "delivered" else 0) or entry["status"] not in {None, 200}:
            detail = caller.call("GET", f"/marketplace/deliveries/{quote(entry['id'], safe='')}")
            failed += [_describe(entry, attempt) for attempt in detail["attempts"] if _has_failed(attempt)]
    return failed


def _describe(entry: dict[str, Any], attempt: dict[str, Any]) -> str:
    what, url = f"{entry['event_type']} of {entry['subject']}", attempt["url"]
    if attempt["status"] is None:
        return f"{what} was not answered by {url}: {attempt['error']}."
    return f"{what} was answered with {attempt['status']} by {url}, not with 200."


def _has_failed(attempt: dict[str, Any]) -> bool:
    # `held_back` is the fault that delivers an event after the next one.
    is_fault = attempt["error"].startswith("injected") or attempt["error"] == "held_back"
    return attempt["status"] != 200 and not is_fault


def _read_settled(caller: Caller, shop: Shop) -> list[dict[str, Any]]:
    """Return all webhooks of the shop, once each had its first attempt, or after the time limit."""
    until = time.monotonic() + _LIMIT_SECONDS
    while True:
        entries = _read_deliveries(caller, shop)
        if are_settled(entries) or time.monotonic() > until:
            return entries
        # This call comes back as soon as all have ended. A failed attempt does not end a delivery, so it waits briefly.
        ended = {"shop_id": shop.id, "state": "ended", "count": len(entries), "wait": _PAUSE_SECONDS}
        caller.call("GET", "/marketplace/deliveries", query=ended)


def _read_deliveries(caller: Caller, shop: Shop) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    page, pages = 1, 1
    while page <= pages:
        listed = caller.call("GET", "/marketplace/deliveries", query={"shop_id": shop.id, "page": page, "per": 100})
        entries |= {entry["id"]: entry for entry in listed["deliveries"]}
        page, pages = page + 1, listed["meta"]["pagination"]["total_pages"]
    return list(entries.values())[::-1]
