"""The webhooks and calls that a finding shows: request, answer, and the line that repeats each."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kalathi.checkup.stage import Stage
from kalathi.curl import render_curl, render_webhook_curl
from kalathi.marketplace.sandbox.checkup_report import Exchange

_MOST: Final = 6
_LONGEST_CHARACTERS: Final = 6000


async def show_exchanges(
    stage: Stage, webhooks: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]
) -> tuple[Exchange, ...]:
    """Return the last attempt of each webhook and each call, oldest first, the latest six."""
    shown = [await _show_webhook(stage, webhook) for webhook in webhooks if webhook["attempts"]]
    shown += [_show_call(stage, call) for call in calls]
    return tuple(sorted(shown, key=lambda exchange: exchange.at)[-_MOST:])


async def _show_webhook(stage: Stage, webhook: Mapping[str, Any]) -> Exchange:
    attempt = webhook["attempts"][-1]
    content = (await stage.operator.delivery(webhook["id"]))["body"]
    body = msgspec.json.encode(content).decode()
    state = (content.get("order") or content.get("return") or {}).get("state", "")
    outcome = f" ({attempt['explanation']})" if attempt["explanation"] else ""
    return Exchange(
        kind="webhook",
        at=attempt["at"],
        line=f"{webhook['event_type']} ({state}) → {attempt['url']}{outcome}",
        request=body[:_LONGEST_CHARACTERS],
        status=attempt["status"],
        answer=attempt["answer"],
        curl=render_webhook_curl(attempt["url"], body),
    )


def _show_call(stage: Stage, call: Mapping[str, Any]) -> Exchange:
    is_whole = len(call["body"].encode()) >= call["body_bytes"]
    url = stage.operator.url + call["path"]
    return Exchange(
        kind="call",
        at=call["at"],
        line=f"{call['method']} {call['path']}",
        request=call["body"][:_LONGEST_CHARACTERS],
        status=call["status"],
        answer=call["answer"][:_LONGEST_CHARACTERS],
        curl=render_curl(url, call["method"], call["headers"], call["body"], is_whole=is_whole),
    )
