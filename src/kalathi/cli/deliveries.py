"""`kalathi deliveries`: the delivery log of a running marketplace."""

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from kalathi.cli.completing import complete_shops, complete_subjects
from kalathi.cli.operating import Market, fail, is_time_with_offset, operate, operator_options, page_options, show
from kalathi.cli.tables import render_members, render_page, render_second, render_table
from kalathi.contract.words import OrderEventType, ReturnEventType

_LOG: Final = "/marketplace/deliveries"
_STATES: Final = ("pending", "delivered", "exhausted", "not_sent", "ended")
_EVENTS: Final = [*(event.value for event in OrderEventType), *(event.value for event in ReturnEventType)]
# Shop, subject and sequence.
_PARTS_OF_AN_ID: Final = 3


@click.group()
def deliveries() -> None:
    """Webhooks of a running marketplace: list them, show one with its attempts, send one again.

    \b
    kalathi deliveries list --state exhausted
    kalathi deliveries list 261130-8697740
    kalathi deliveries resend 261130-8697740
    """


@deliveries.command("list")
@click.argument("subject", required=False, metavar="[CODE]", shell_complete=complete_subjects)
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@click.option("--event-type", type=click.Choice(_EVENTS), help="Only of this type.")
@click.option("--state", type=click.Choice(_STATES), help="Only in this state; ended is any but pending.")
@click.option("--since", metavar="TIME", help="Only events at or after this time, such as 2026-12-01T12:00:00+02:00.")
@page_options
@operator_options
def deliveries_list(data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """List webhooks, the newest first; with CODE, only those of this order or return."""
    answer = operate(*Market(data, url, token), lambda operator: operator.call("GET", _LOG, query=query))
    rows = [
        (
            render_second(entry["created_at"]),
            entry["id"],
            entry["event_type"],
            entry["state"],
            entry["attempts"],
            entry["status"],
            entry["explanation"],
        )
        for entry in answer["deliveries"]
    ]
    header = ("at", "delivery", "webhook", "state", "attempts", "status", "explanation")
    show(as_json, answer, render_page(header, rows, answer, "There are no such webhooks."))


@deliveries.command("show")
@click.argument("delivery")
@operator_options
def deliveries_show(delivery: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show one webhook with its headers, its body and each attempt. DELIVERY is its id (kalathi deliveries list)."""
    detail = operate(*Market(data, url, token), lambda operator: operator.delivery(delivery))
    entry = detail["delivery"]
    names = ("id", "event_type", "subject", "shop_id", "created_at", "state", "due_at")
    attempts = [
        (
            attempt["number"],
            render_second(attempt["at"]),
            attempt["url"],
            attempt["status"],
            f"{attempt['duration_millis']} ms",
            attempt["explanation"],
            attempt["answer"],
        )
        for attempt in detail["attempts"]
    ]
    sections = [render_members({name: entry[name] for name in names}), render_members(detail["headers"])]
    if attempts:
        sections.append(render_table(("attempt", "at", "url", "status", "duration", "explanation", "answer"), attempts))
    sections.append(json.dumps(detail["body"], ensure_ascii=False, indent=2))
    show(as_json, detail, "\n\n".join(sections))


@deliveries.command("resend")
@click.argument("subject", required=False, metavar="[DELIVERY|CODE]", shell_complete=complete_subjects)
@click.option("--shop", "shop_id", help="Send all failed webhooks of this shop again.", shell_complete=complete_shops)
@click.option("--since", metavar="TIME", help="With --shop: the time of the oldest one, with its offset.")
@operator_options
def deliveries_resend(
    subject: str | None, shop_id: str | None, since: str | None, data: Path, url: str, token: str, as_json: bool
) -> None:
    """Send webhooks again, with the same bytes: one by its id, the latest of an order or a return by its CODE, or all
    failed ones of a shop since a time.

    \b
    kalathi deliveries resend 261130-8697740
    kalathi deliveries resend --shop YlpD0KROym --since 2026-12-01T00:00:00+02:00
    """
    body = None
    if subject is not None and not shop_id and not since:
        path = _resend_path(subject)
    elif subject is None and shop_id and since:
        path, body = f"{_LOG}/resend", {"shop_id": shop_id, "since": _read_time(since)}
    else:
        raise click.UsageError("Give a delivery, an order or a return; or --shop with --since.")
    answer = operate(*Market(data, url, token), lambda operator: operator.call("POST", path, body))
    count = answer.get("resent", 1)
    show(as_json, answer, f"Resent {count} webhook{'' if count == 1 else 's'}.")


def _resend_path(subject: str) -> str:
    name = quote(subject, safe="")
    if len(subject.split(".")) == _PARTS_OF_AN_ID:
        return f"{_LOG}/{name}/resend"
    return f"/marketplace/{'returns' if subject.startswith('R-') else 'orders'}/{name}/webhook"


def _read_time(text: str) -> str:
    if not is_time_with_offset(text):
        fail(f"--since {text}: give a time with its offset, such as 2026-12-01T00:00:00+02:00.")
    return text
