"""The request log: the shops' calls with their answers, and a curl command for each."""

from typing import Any, Final

from markupsafe import Markup

from kalathi.contract.errors import read_sentences
from kalathi.curl import render_curl
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.panel import json_view
from kalathi.marketplace.panel.lists import locate_page, read_page
from kalathi.marketplace.panel.pages import Answer, Shown
from kalathi.marketplace.panel.refusals import NoSuchPage
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.request_log.log import RequestLog
from kalathi.marketplace.request_log.model import CallFilter
from kalathi.marketplace.shops import store as shops

# The choices of the filter by status.
_STATUSES: Final = ("2xx", "4xx", "5xx")
_FILTERS: Final = ("shop_id", "subject", "status")


async def list_requests(visit: Visit) -> Answer:
    """`?shop_id=&subject=&status=&page=`, the newest first."""
    log, page = visit.context.request_log, read_page(visit.query)
    wanted = {name: visit.query.get(name, "").strip()[:60] for name in _FILTERS}
    named = {shop.id: shop.name for shop in await visit.context.database.read_list(shops.shops)}
    content: dict[str, Any] = {"wanted": wanted, "statuses": _STATUSES, "shops": named, "is_on": log is not None}
    if log is None:
        return Shown("operator/requests.html", content | {"calls": [], "position": locate_page(page, 0)})
    found = await log.read(
        CallFilter(wanted["shop_id"], wanted["subject"], status=wanted["status"]), page.per, page.offset
    )
    return Shown("operator/requests.html", content | {"calls": found.calls, "position": locate_page(page, found.total)})


async def show_request(visit: Visit) -> Answer:
    """Show one call: its headers, body and answer, and a curl command."""
    call = await _log_of(visit).find(visit.parts["request_id"])
    if call is None:
        raise DomainError(ErrorCode.NOT_FOUND, NoSuchPage())
    content = {
        "call": call,
        "body": _show_body(call.body),
        "answer": _show_body(call.answer),
        # A refusal's sentences. In the coloured JSON they are folded.
        "sentences": read_sentences(call.answer.encode()) if call.error else "",
        "curl": render_curl(
            visit.context.terms.public_url + call.path,
            call.method,
            call.headers,
            call.body,
            separator=" \\\n  ",
            is_whole=len(call.body.encode()) >= call.body_bytes,
        ),
    }
    return Shown("operator/request.html", content)


def _log_of(visit: Visit) -> RequestLog:
    if visit.context.request_log is None:
        raise DomainError(ErrorCode.NOT_FOUND, NoSuchPage())
    return visit.context.request_log


def _show_body(text: str) -> Markup:
    """Return a body as coloured JSON, or as it is if it is not JSON (for example because it is cut off)."""
    if not text:
        return Markup()
    try:
        return Markup('<div class="json">{}</div>').format(json_view.colour_json(json_view.read(text.encode())))
    except (ValueError, RecursionError):
        return Markup("<pre>{}</pre>").format(text)
