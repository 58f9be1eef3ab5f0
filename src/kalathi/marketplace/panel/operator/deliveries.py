"""The delivery log: every event with its body, its attempts, and the difference to the event before."""

import shlex
from datetime import datetime
from typing import Any, Final

from kalathi.contract.words import OrderEventType, ReturnEventType
from kalathi.marketplace.kernel.clock import ATHENS, real_millis, to_millis
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.panel import json_view, wording
from kalathi.marketplace.panel.lists import locate_page, read_page
from kalathi.marketplace.panel.operator.overview import mark_place
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoSuchState, NotATime
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.returns.resending import resend_event
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import log
from kalathi.marketplace.webhooks.sending import webhook_headers

_EVENTS: Final = (*(event.value for event in OrderEventType), *(event.value for event in ReturnEventType))
_FILTERS: Final = ("shop_id", "subject", "event_type")


async def list_deliveries(visit: Visit) -> Answer:
    """`?shop_id=&subject=&event_type=&state=&since=&page=`, the newest first."""
    query, page, mark = visit.query, read_page(visit.query), mark_place(visit, "deliveries")
    state = next((state for state in wording.DELIVERY_STATES if state == query.get("state")), None)
    if state is None and query.get("state"):
        raise refuse(NoSuchState())
    filters: dict[str, Value] = {name: query[name].strip() for name in _FILTERS if query.get(name, "").strip()}
    problems: tuple[Refusal | str, ...] = ()
    if query.get("since"):
        since = _since(query["since"])
        if isinstance(since, Refusal):
            problems = (since,)
        else:
            filters["since"] = since

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
        "problems": problems,
    }
    return Shown("operator/deliveries.html", content | more, 422 if problems else 200)


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
