"""The timeline of a shop as a text, for a failed test: its calls and webhooks, and curl lines to repeat the calls."""

import shlex
from typing import Any, Final

import niquests

from kalathi.testing.calling import Caller, RefusedCallError
from kalathi.testing.shop import Shop

_MOST_ENTRIES: Final = 40
_LONGEST_ANSWER: Final = 300


def read_report(caller: Caller, shop: Shop) -> str:
    """Return the report of a shop. If the marketplace does not answer, the report says so."""
    query = {"shop_id": shop.id}
    try:
        entries = caller.call("GET", "/marketplace/timeline", query=query)["timeline"]
        requests = caller.call("GET", "/marketplace/requests", query=query)["requests"]
        refused = caller.call("GET", "/marketplace/requests", query={"status": 401, "per": 10})["requests"]
    except (RefusedCallError, niquests.RequestException) as error:
        return f"The marketplace at {caller.url} gives no timeline: {error}"
    return render_report(shop, caller.url, entries, {request["id"]: request for request in requests}, refused)


def render_report(
    shop: Shop,
    url: str,
    entries: list[dict[str, Any]],
    requests: dict[str, dict[str, Any]],
    refused: list[dict[str, Any]],
) -> str:
    """Return the report. `entries` are those of the timeline, `requests` are the shop's calls by their id, and
    `refused` are calls with a token that no shop has."""
    lines = [f"Shop {shop.id} at {url}: calls and webhooks, oldest first."]
    if len(entries) > _MOST_ENTRIES:
        lines.append(f"({len(entries) - _MOST_ENTRIES} earlier entries are left out.)")
    for entry in entries[-_MOST_ENTRIES:]:
        lines.append(_render_entry(entry))
        request = requests.get(entry["id"]) if entry["kind"] == "call" else None
        if request is not None and (request["status"] or 0) >= 400:
            lines.append(f"    {request['answer'][:_LONGEST_ANSWER]}")
        if request is not None:
            lines.append(f"    {render_curl(url, request)}")
    if not entries:
        lines.append("There is no call and no webhook.")
    lines += [f"{_time_of(call)}  call     {call['method']} {call['path']}  401: no such token" for call in refused]
    return "\n".join(lines)


def render_curl(url: str, request: dict[str, Any]) -> str:
    """Return a call of the request log as a shell command. The log has no tokens, so it uses the variable TOKEN."""
    parts = ["curl", "-X", request["method"], shlex.quote(url + request["path"]), '-H "Authorization: Bearer $TOKEN"']
    headers = request["headers"]
    parts += [f"-H {shlex.quote(f'{name}: {headers[name]}')}" for name in ("accept", "content-type") if name in headers]
    if request["body"]:
        parts.append(f"-d {shlex.quote(request['body'])}")
    return " ".join(parts)


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
