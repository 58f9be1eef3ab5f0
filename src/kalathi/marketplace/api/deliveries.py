"""The operator's calls on the delivery log: list, show, resend."""

from datetime import datetime
from typing import Annotated, Final, get_args

from msgspec import Meta, Struct

from kalathi.contract.codec import encode
from kalathi.contract.orders import ListMeta
from kalathi.marketplace.api.calls import Call, write
from kalathi.marketplace.kernel.actors import OPERATOR
from kalathi.marketplace.kernel.clock import real_millis, to_millis
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Value
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.returns.resending import resend_event, resend_events
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.paging import page_of, pagination, timestamp_of
from kalathi.marketplace.web.reply import Reply
from kalathi.marketplace.web.waiting import count_of, wait_of
from kalathi.marketplace.webhooks import log
from kalathi.marketplace.webhooks.sending import webhook_headers

_STATES: Final[tuple[log.DeliveryFilter, ...]] = get_args(log.DeliveryFilter)
_MOST_RESENT: Final = 10_000


class DeliveryList(Struct, frozen=True, kw_only=True):
    """A page of the log."""

    deliveries: list[log.LoggedDelivery]
    meta: ListMeta


class Resent(Struct, frozen=True, kw_only=True):
    """The number of events that are sent again."""

    resent: int


class ResendFailures(Struct, frozen=True, kw_only=True):
    """The shop of the failed events to send again, and the time of the oldest."""

    shop_id: Annotated[str, Meta(max_length=50)]
    since: Annotated[datetime, Meta(tz=True)]


async def list_deliveries(context: Context, call: Call) -> Reply:
    """List the webhooks of the delivery log, newest first. With `wait`, the answer comes when `count` webhooks match,
    or after these seconds."""
    state = next((state for state in _STATES if state == call.query.get("state")), None)
    if state is None and "state" in call.query:
        given = call.query["state"][:40]
        raise invalid_parameter(f"state: {given} is not valid; valid values: {', '.join(_STATES)}.")
    filters: dict[str, Value] = {
        name: call.query[name] for name in ("shop_id", "subject", "event_type") if name in call.query
    }
    if "since" in call.query:
        filters["since"] = timestamp_of(call.query, "since")
    page, wanted = page_of(call.query), count_of(call.query)
    found, count = await context.waits.wait_until(
        lambda: context.database.read_list(
            lambda view: log.list_deliveries(view, filters, state, page.per, page.offset)
        ),
        lambda read: read[1] >= wanted,
        wait_of(call.query),
        ("webhook_events", "delivery_attempts"),
    )
    return Reply(200, encode(DeliveryList(deliveries=found, meta=pagination(page, count))))


async def show_delivery(context: Context, call: Call) -> Reply:
    """Show one event with its body, its headers and all attempts."""
    headers, now_seconds = webhook_headers(context.terms.settings.user_agent), real_millis() // 1000
    detail = await context.database.read(lambda view: log.delivery_detail(view, call.path["id"], headers, now_seconds))
    return Reply(200, encode(detail))


async def resend_delivery(context: Context, call: Call) -> Reply:
    """Send one event again, with the same bytes. A pending event is sent immediately."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        log.delivery_detail(facts.view, call.path["id"], {}, 0)
        changes = resend_event(call.path["id"], facts)
        return changes, Reply(200, encode(Resent(resent=1)))

    return await write(context, call, command)


async def resend_failures(context: Context, call: Call) -> Reply:
    """Send a shop's failed events since a time again, the oldest first, each once."""
    asked: ResendFailures = call.body
    filters: dict[str, Value] = {"shop_id": asked.shop_id, "since": to_millis(asked.since)}
    found, count = await context.database.read_list(
        lambda view: log.list_deliveries(view, filters, "exhausted", _MOST_RESENT, 0)
    )
    if count > _MOST_RESENT:
        raise invalid_parameter(f"since: that is {count} events; ask for at most {_MOST_RESENT} at once.")
    names = [entry.id for entry in reversed(found)]
    await resend_events(context.commands.acting_as(OPERATOR), names)
    return Reply(200, encode(Resent(resent=len(names))))
