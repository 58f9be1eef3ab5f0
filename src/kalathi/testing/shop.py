"""A test's own shop: its creation, and the check of its webhooks."""

import time
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

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
# Time limit for the first attempts of webhooks at the end of a test.
_LAST_WEBHOOKS_SECONDS: Final = 5.0
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


def create_shop(caller: Caller, **members: object) -> Shop:
    """Create a shop. `members` are those of a new shop, such as `webhook_url`."""
    new = {"name": "Test shop", "domain": "shop.example", "locations": [_LOCATION], **members}
    answer = caller.call("POST", "/marketplace/shops", new)
    return Shop(answer["shop"]["id"], answer["api_token"], answer["shop"]["locations"][0]["id"])


def find_failed_webhooks(caller: Caller, shop: Shop) -> list[str]:
    """Return a sentence for each attempt of a webhook that was not answered with 200. Attempts that a fault rule failed
    do not count. Webhooks without a first attempt are waited for."""
    _wait_for_first_attempts(caller, shop)
    entries = caller.call("GET", "/marketplace/traffic", query={"shop_id": shop.id})["traffic"]
    return [_describe(entry) for entry in entries if entry["kind"] == "webhook" and _has_failed(entry)]


def _describe(entry: dict[str, Any]) -> str:
    if entry["status"] is None:
        return f"{entry['name']} of {entry['subject']} was not answered by {entry['target']}: {entry['error']}."
    return (
        f"{entry['name']} of {entry['subject']} was answered with {entry['status']} by {entry['target']}, not with 200."
    )


def _has_failed(entry: dict[str, Any]) -> bool:
    is_attempt = entry["outcome"] not in {"pending", "not_sent"}
    # `held_back` is the fault that delivers an event after the next one.
    is_fault = entry["error"].startswith("injected") or entry["error"] == "held_back"
    return is_attempt and entry["status"] != 200 and not is_fault


def _wait_for_first_attempts(caller: Caller, shop: Shop) -> None:
    until = time.monotonic() + _LAST_WEBHOOKS_SECONDS
    while time.monotonic() < until:
        listed = caller.call("GET", "/marketplace/deliveries", query={"shop_id": shop.id})
        if are_settled(listed["deliveries"]):
            return
        # This call comes back as soon as all have ended. A failed attempt does not end a delivery, so it waits briefly.
        total = listed["meta"]["pagination"]["total_results"]
        ended = {"shop_id": shop.id, "state": "ended", "count": total, "wait": _PAUSE_SECONDS}
        caller.call("GET", "/marketplace/deliveries", query=ended)
