"""The operator's calls on the request log: list, show."""

import re
from typing import Final

from msgspec import Struct

from kalathi.contract.codec import encode
from kalathi.contract.orders import ListMeta
from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.api.merchant_routes import API_CALLS
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter
from kalathi.marketplace.orders.store import shop_of_code
from kalathi.marketplace.request_log.log import RequestLog
from kalathi.marketplace.request_log.model import CallFilter, LoggedCall
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.paging import page_of, pagination, timestamp_of
from kalathi.marketplace.web.reply import Reply
from kalathi.marketplace.web.traffic import TrafficEntry, TrafficScope, read_traffic
from kalathi.marketplace.web.waiting import count_of, wait_of

_STATUS: Final = re.compile(r"[1-5][0-9]{2}|[1-5]xx|0")


class RequestList(Struct, frozen=True, kw_only=True):
    """A page of the request log."""

    requests: list[LoggedCall]
    meta: ListMeta


class RequestShown(Struct, frozen=True, kw_only=True):
    """One call of the request log."""

    request: LoggedCall


async def list_requests(context: Context, call: Call) -> Reply:
    """List the calls of the merchants' API, newest first. With `wait`, the answer comes when `count` calls match, or
    after these seconds."""
    log = _log_of(context)
    wanted = _filter_of(call.query)
    page, seconds, count = page_of(call.query), wait_of(call.query), count_of(call.query)
    with log.follow(wanted) as arrived:
        found = await context.waits.wait_until(
            lambda: log.read(wanted, page.per, page.offset),
            lambda read: read.total >= count,
            seconds,
            signal=arrived,
            # Calls of other processes do not wake this one.
            polls=context.database.is_shared,
        )
    return Reply(200, encode(RequestList(requests=found.calls, meta=pagination(page, found.total))))


class TrafficList(Struct, frozen=True, kw_only=True):
    """Calls and webhooks, oldest first."""

    traffic: list[TrafficEntry]


async def show_traffic(context: Context, call: Call) -> Reply:
    """List the latest calls and webhooks of a shop (`shop_id`) or of an order or return (`subject`), oldest first."""
    shop_id, subject = call.query.get("shop_id", ""), call.query.get("subject", "")
    if subject and not shop_id:
        shop_id = await context.database.read_point(lambda view: shop_of_code(view, subject) or "")
    if not shop_id:
        raise invalid_parameter("Give shop_id, or the code of an order or a return as subject.")
    found = await read_traffic(context.database, context.request_log, TrafficScope(shop_id, subject))
    return Reply(200, encode(TrafficList(traffic=found)))


async def show_request(context: Context, call: Call) -> Reply:
    """Show one call by its `Request-Id`."""
    found = await _log_of(context).find(call.path["id"])
    if found is None:
        raise DomainError(ErrorCode.NOT_FOUND, "The request log has no such call. It keeps the latest calls only.")
    return Reply(200, encode(RequestShown(request=found)))


def _log_of(context: Context) -> RequestLog:
    if context.request_log is None:
        raise DomainError(ErrorCode.NOT_FOUND, "The request log is off. Start the marketplace with --request-log on.")
    return context.request_log


def _filter_of(query: dict[str, str]) -> CallFilter:
    name, status = query.get("call", ""), query.get("status", "").lower()
    if name and name not in API_CALLS:
        raise invalid_parameter(f"call: there is no {name[:40]}; there are {', '.join(API_CALLS)}.")
    if status and not _STATUS.fullmatch(status):
        raise invalid_parameter("status: give a status such as 404, or a class such as 4xx; 0 is a cut connection.")
    return CallFilter(
        shop_id=query.get("shop_id", ""),
        subject=query.get("subject", ""),
        call=name,
        method=query.get("method", "").upper(),
        status=status,
        error=query.get("error", ""),
        since_millis=timestamp_of(query, "since"),
        after=query.get("after", ""),
    )
