"""`kalathi logs`: the request log of a running marketplace."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kalathi.cli.completing import complete_shops, complete_subjects
from kalathi.cli.operating import Market, address_and_token, fail_with, is_proxy_wanted, operate, operator_options
from kalathi.cli.output import OUTPUT, echo_json
from kalathi.cli.tables import render_second
from kalathi.terminal import in_one_line, style

if TYPE_CHECKING:
    from kalathi.simulation.operator import OperatorClient

_LOG: Final = "/marketplace/requests"
_MOST_AT_ONCE: Final = 100
_WAIT_SECONDS: Final = 30
_RETRY_SECONDS: Final = 1.0
_OVERLAP: Final = timedelta(seconds=2)
_LONGEST_ANSWER: Final = 300
_NO_SHOP: Final = {
    "no_token": "no token",
    "unknown_token": "unknown token",
    "not_checked": "no such call",
}


@click.command()
@click.argument("subject", required=False, metavar="[CODE]", shell_complete=complete_subjects)
@click.option("--follow", "-f", is_flag=True, help="Print new calls as they come, until Ctrl-C.")
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@click.option("--call", help="Only this call, such as accept, show or list.")
@click.option("--status", help="Only with this status, such as 404, or class, such as 4xx.")
@click.option("--error", help="Only refused with this code, such as order_status.")
@click.option("--since", metavar="TIME", help="Only at or after this time, such as 2026-12-01T12:00:00+02:00.")
@click.option("--number", "-n", type=click.IntRange(1, _MOST_AT_ONCE), default=20, show_default=True, help="Calls.")
@click.option("--bodies", is_flag=True, help="Print the bodies of calls and answers too.")
@operator_options
def logs(
    follow: bool, number: int, bodies: bool, data: Path, url: str, token: str, as_json: bool, **query: Any
) -> None:
    """Print the latest calls of shops with their answers, including refused calls, oldest first. With CODE, only those
    on this order or return. With --json, each call is one object in a line.

    \b
    kalathi logs
    kalathi logs --follow --status 4xx
    kalathi logs 261130-8697740 --bodies
    kalathi logs --shop YlpD0KROym --json | jq .path
    """

    def show(call: dict[str, Any]) -> None:
        if as_json:
            echo_json(call)
        else:
            click.echo(_render_call(call, with_bodies=bodies))

    if not follow:
        market = Market(data, url, token)
        answer = operate(*market, lambda operator: operator.call("GET", _LOG, query={**query, "per": number}))
        for call in reversed(answer["requests"]):
            show(call)
        return
    from kalathi.operator_calls import OperatorError
    from kalathi.serving import run_loop, until_signal

    found_url, found_token = address_and_token(data, url, token)
    OUTPUT.stay(until_reader_leaves=True)
    try:
        run_loop(until_signal(_follow(found_url, found_token, query, number, show)))
    except OperatorError as error:
        fail_with(error)


async def _follow(url: str, token: str, query: dict[str, Any], number: int, show: Any) -> None:
    from kalathi.operator_calls import OperatorError
    from kalathi.simulation.operator import OperatorClient

    printed = _Printed()
    per = number
    async with OperatorClient(url, token, uses_proxy=is_proxy_wanted()) as operator:
        while True:
            after, known = printed.find_cursor()
            wanted = {**query, "after": after, "count": known + 1, "wait": _WAIT_SECONDS}
            try:
                calls = await _read_new(operator, wanted, per)
            except OperatorError as error:
                if not error.is_unreachable:
                    raise
                click.echo(f"{error} Trying again.", err=True)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for call in printed.select_new(calls):
                show(call)
            per = _MOST_AT_ONCE


class _Printed:
    """The latest printed calls. Several processes write their logs a moment apart, so a call can appear before one that
    is printed already. So each reading begins some seconds earlier than the last call."""

    def __init__(self) -> None:
        self._real_times: dict[str, datetime] = {}

    def find_cursor(self) -> tuple[str | None, int]:
        """Return the call after which to read, and the number of printed calls after it."""
        names = list(self._real_times)
        if not names:
            return None, 0
        newest = max(self._real_times.values())
        is_early = [newest - at > _OVERLAP for at in self._real_times.values()]
        place = max((at for at, early in enumerate(is_early) if early), default=0)
        for name in names[:place]:
            del self._real_times[name]
        return names[place], len(names) - place - 1

    def select_new(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the calls that were not printed yet, and remember them as printed."""
        new = [call for call in calls if call["id"] not in self._real_times]
        self._real_times |= {call["id"]: datetime.fromisoformat(call["real_at"]) for call in new}
        return new


async def _read_new(operator: "OperatorClient", query: dict[str, Any], per: int) -> list[dict[str, Any]]:
    """Return the calls of all pages, oldest first. The first reading, without a cursor, has only the latest `per`
    calls. A page that shifts while calls arrive has some of them twice."""
    found: dict[str, dict[str, Any]] = {}
    page, pages = 1, 1
    while page <= pages:
        wait = query if page == 1 else {**query, "wait": None, "count": None}
        answer = await operator.call("GET", _LOG, query={**wait, "per": per, "page": page})
        found |= {call["id"]: call for call in answer["requests"]}
        pages = answer["meta"]["pagination"]["total_pages"] if query["after"] else 1
        page += 1
    return list(found.values())[::-1]


def _render_call(call: dict[str, Any], *, with_bodies: bool) -> str:
    """Render a call in one line. A refused call has its answer below, because it says why."""
    status = call["status"]
    is_refused = status is None or status >= 400
    answer = f"{status} {call['error']}".rstrip() if status is not None else "no answer"
    shop = call["shop_id"] or _NO_SHOP.get(call["no_shop"], call["no_shop"])
    line = "  ".join(
        (
            render_second(call["at"]),
            f"{shop:13}",
            f"{call['method']:5} {call['path']}",
            style(in_one_line(answer), fg="red" if is_refused else "green"),
            f"{call['duration_millis']:.1f} ms",
        )
    )
    lines = [line]
    if with_bodies and call["body"]:
        lines.append(f"    > {in_one_line(call['body'])}")
    if with_bodies and call["answer"]:
        lines.append(f"    < {in_one_line(call['answer'])}")
    elif is_refused and call["answer"]:
        lines.append(f"    {in_one_line(call['answer'][:_LONGEST_ANSWER])}")
    return "\n".join(lines)
