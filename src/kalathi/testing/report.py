"""The traffic of a shop as a text, for a failed test: its calls and webhooks, and curl lines to repeat the calls."""

from typing import Any, Final

from kalathi.curl import render_curl
from kalathi.operator_calls import OperatorError
from kalathi.terminal import escape_controls, in_one_line
from kalathi.testing.calling import Caller
from kalathi.testing.shop import Shop

_MOST_ENTRIES: Final = 40
_LONGEST_ANSWER: Final = 300
_NO_SHOP: Final = {"no_token": "no token", "unknown_token": "unknown token"}


def read_report(caller: Caller, shop: Shop) -> str:
    """Return the report of a shop. If the marketplace does not answer, the report says so."""
    query = {"shop_id": shop.id}
    try:
        entries = caller.call("GET", "/marketplace/traffic", query=query)["traffic"]
        requests = caller.call("GET", "/marketplace/requests", query=query)["requests"]
        refused = caller.call("GET", "/marketplace/requests", query={"status": 401, "per": 10})["requests"]
    except OperatorError as error:
        return f"The calls and webhooks of shop {shop.id} cannot be shown. {error}"
    return render_report(shop, caller.url, entries, {request["id"]: request for request in requests}, refused)


def render_report(
    shop: Shop,
    url: str,
    entries: list[dict[str, Any]],
    requests: dict[str, dict[str, Any]],
    refused: list[dict[str, Any]],
) -> str:
    """Return the report. `entries` are the shop's traffic, `requests` its calls by their id, and `refused` the latest
    calls of the marketplace without a valid token, because the log cannot say whose they are."""
    lines = [f"Shop {shop.id} at {url}: calls and webhooks, oldest first."]
    if len(entries) > _MOST_ENTRIES:
        lines.append(f"({len(entries) - _MOST_ENTRIES} earlier entries are left out.)")
    for entry in entries[-_MOST_ENTRIES:]:
        lines.append(_render_entry(entry))
        request = requests.get(entry["id"]) if entry["kind"] == "call" else None
        if request is not None and (request["status"] or 0) >= 400:
            lines.append(f"    {in_one_line(request['answer'][:_LONGEST_ANSWER])}")
        if request is not None:
            lines.append(f"    {escape_controls(_render_curl(url, request))}")
    if not entries:
        lines.append("There is no call and no webhook.")
    if refused:
        lines.append("Latest calls without a valid token, of any shop:")
    lines += [
        f"{_time_of(call)}  call     {call['method']} {call['path']}  401 {_NO_SHOP.get(call['no_shop'], '')}".rstrip()
        for call in refused
    ]
    return "\n".join(lines)


def _render_curl(url: str, request: dict[str, Any]) -> str:
    body = request["body"]
    is_whole = len(body.encode()) >= request["body_bytes"]
    return render_curl(url + request["path"], request["method"], request["headers"], body, is_whole=is_whole)


def _render_entry(entry: dict[str, Any]) -> str:
    at, status = _time_of(entry), entry["status"] or entry["outcome"] or "no answer"
    what = f"{entry['method']} {entry['name'] or entry['target']}" if entry["kind"] == "call" else entry["name"]
    error = f" {entry['error']}" if entry["error"] else ""
    target = f" → {entry['target']}" if entry["kind"] == "webhook" and entry["target"] else ""
    took = f"{entry['duration_millis']:.0f} ms"
    return f"{at}  {entry['kind']:7}  {what}  {entry['subject']}{target}  {status}{error}  {took}"


def _time_of(entry: dict[str, Any]) -> str:
    """Return the day and the time of an entry, without the year and the offset."""
    return str(entry["at"])[5:19].replace("T", " ")
