"""The delivery log: every event with its body, its attempts, and the difference to the event before."""

import shlex
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.datastructures import QueryParams

from kalathi.contract.signatures import sign_headers
from kalathi.contract.words import OrderEventType, ReturnEventType
from kalathi.marketplace.kernel.clock import ATHENS, real_millis, to_millis
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.panel import json_view, wording
from kalathi.marketplace.panel.lists import locate_page, read_page
from kalathi.marketplace.panel.operator.overview import mark_place
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoAddressToTry, NoSuchState, NotATime, NotJson, TooManyToResend
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.returns.resending import resend_event, resend_events
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import log
from kalathi.marketplace.webhooks.log import DeliveryState
from kalathi.marketplace.webhooks.sending import webhook_headers

_EVENTS: Final = (*(event.value for event in OrderEventType), *(event.value for event in ReturnEventType))
_MOST_RESENT: Final = 10_000
# Marks an event that the operator has edited.
EDITED_HEADER: Final = "kalathi-edited"
_FILTERS: Final = ("shop_id", "subject", "event_type")


async def list_deliveries(visit: Visit) -> Answer:
    """`?shop_id=&subject=&event_type=&state=&since=&page=`, the newest first."""
    query, page, mark = visit.query, read_page(visit.query), mark_place(visit, "deliveries")
    state, filters, problems = _read_filter(query)

    def read(view: View) -> dict[str, Any]:
        found, count = log.list_deliveries(view, filters, state, page.per, page.offset)
        named = {shop.id: shop.name for shop in shops.shops(view)}
        return {"deliveries": found, "position": locate_page(page, count), "shops": named}

    content = await visit.context.database.read_list(read)
    more = {
        "events": _EVENTS,
        "states": tuple(wording.DELIVERY_STATES),
        "wanted": {name: query.get(name, "") for name in (*_FILTERS, "state", "since")},
        "seen": mark,
        "problems": (*visit.problems, *problems),
        "most_resent": _MOST_RESENT,
    }
    return Shown("operator/deliveries.html", content | more, 422 if problems else 200)


async def resend_failures(visit: Visit) -> Answer:
    """Send the failed webhooks of the list's filter again, the oldest first. Raises INVALID_PARAMETER for too many."""
    _, filters, problems = _read_filter(visit.query)
    if problems:
        return await list_deliveries(visit)
    found, count = await visit.context.database.read_list(
        lambda view: log.list_deliveries(view, filters, "exhausted", _MOST_RESENT, 0)
    )
    if count > _MOST_RESENT:
        raise refuse(TooManyToResend(_MOST_RESENT))
    await resend_events(visit.commands, [entry.id for entry in reversed(found)])
    return See(f"/operator/deliveries?{visit.query}", done="failures_resent")


def _read_filter(query: QueryParams) -> tuple[DeliveryState | None, dict[str, Value], tuple[Refusal | str, ...]]:
    """Return the state, the other filters, and the reasons why one of them cannot be read. Raises INVALID_PARAMETER for
    an unknown state."""
    state = next((state for state in wording.DELIVERY_STATES if state == query.get("state")), None)
    if state is None and query.get("state"):
        raise refuse(NoSuchState())
    filters: dict[str, Value] = {name: query[name].strip() for name in _FILTERS if query.get(name, "").strip()}
    if query.get("since"):
        since = _since(query["since"])
        if isinstance(since, Refusal):
            return state, filters, (since,)
        filters["since"] = since
    return state, filters, ()


async def show_delivery(visit: Visit) -> Answer:
    """Show one event: its body, the differences from the previous body, headers, attempts, and a curl command."""
    name, mark = visit.parts["id"], mark_place(visit, "deliveries")
    headers, now_seconds = webhook_headers(visit.context.terms.settings.user_agent), real_millis() // 1000

    def read(view: View) -> tuple[log.DeliveryDetail, bytes | None, str]:
        detail = log.delivery_detail(view, name, headers, now_seconds)
        shop = shop_commands.find_shop(view, detail.delivery.shop_id)
        url = shop.url_for(detail.delivery.event_type) or ""
        return detail, log.body_before(view, name), detail.attempts[-1].url if detail.attempts else url

    detail, before, url = await visit.context.database.read(read)
    body = bytes(detail.body)
    value = json_view.read(body)
    content = {
        "detail": detail,
        "delivery": detail.delivery,
        "body": json_view.colour_json(value),
        "differences": None if before is None else json_view.differences(json_view.read(before), value),
        "curl": _as_curl(url or "http://127.0.0.1:9000/", detail.headers, body),
        "seen": mark,
        "problems": visit.problems,
        "edited": visit.form.values.get("body") or msgspec.json.format(body, indent=2).decode("utf-8", "replace"),
        "answer": None,
    }
    return Shown("operator/delivery.html", content)


async def resend(visit: Visit) -> Answer:
    """Send the event again, with the same bytes. A pending event is sent immediately. Raises RETURN_HOOK."""
    name = visit.parts["id"]

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        log.delivery_detail(facts.view, name, {}, 0)
        return resend_event(name, facts), None

    await visit.commands.run(command)
    return See(f"/operator/deliveries/{name}", done="resent")


async def send_edited(visit: Visit) -> Answer:
    """`body=`: send an edited event to the shop's URL, once, and show the answer. It is signed anew, and the header
    `kalathi-edited` marks it. The log keeps the original. Raises INVALID_PARAMETER for a text that is not JSON, and
    without a URL."""
    name, text = visit.parts["id"], visit.form.values.get("body", "")
    try:
        body = msgspec.json.format(text.encode(), indent=0)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise refuse(NotJson()) from None

    def read(view: View) -> tuple[str | None, list[str]]:
        event = log.delivery_detail(view, name, {}, 0).delivery
        shop = shop_commands.find_shop(view, event.shop_id)
        return shop.url_for(event.event_type), list(shops.signing_secrets(view, shop.id).values())

    url, secrets = await visit.context.database.read(read)
    if url is None:
        raise refuse(NoAddressToTry())
    signed = sign_headers(secrets, f"edited-{opaque_id()}", real_millis() // 1000, body)
    answer = await visit.context.sender.post(url, body, {**signed, EDITED_HEADER: "1"})
    shown = await show_delivery(visit)
    return shown._replace(content={**shown.content, "answer": answer}) if isinstance(shown, Shown) else shown


def _since(text: str) -> int | Refusal:
    """Return milliseconds since 1970 for a time as browsers write it, in Athens, or for one with its offset."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return max(0, to_millis(moment.replace(tzinfo=ATHENS) if moment.tzinfo is None else moment))
    except (ValueError, OverflowError):
        return NotATime()


def _as_curl(url: str, headers: dict[str, str], body: bytes) -> str:
    """Return the request as a shell command."""
    parts = ["curl -i -X POST", shlex.quote(url)]
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    parts.append(f"--data-raw {shlex.quote(body.decode())}")
    return " \\\n  ".join(parts)
