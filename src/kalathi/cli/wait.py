"""`kalathi wait`: wait until a running marketplace is in a state, instead of polling it in a loop."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from kalathi.cli.completing import complete_codes, complete_shops
from kalathi.cli.operating import Market, fail, find_market, is_proxy_wanted, operator_options, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from kalathi.simulation.operator import OperatorClient

T = TypeVar("T", bound="Callable[..., Any]")

# The marketplace's own limit is 60 seconds. A longer wait is several calls.
_LONGEST_CALL_SECONDS: Final = 50.0
_RETRY_SECONDS: Final = 0.1


class _Wait(NamedTuple):
    """What is waited for: a call with its query, and the number of results in its answer. `what` names it in messages.
    Without `member`, the answer is one object, whose state is compared."""

    path: str
    query: dict[str, Any]
    what: str
    member: str = ""
    least: int = 1
    states: tuple[str, ...] = ()


@click.group()
def wait() -> None:
    """Wait for a state of the marketplace. The exit status is 1 if it does not come in time.

    \b
    kalathi wait ready
    kalathi wait order 261130-8697740 --state accepted
    kalathi wait deliveries 261130-8697740 --count 2
    kalathi wait call accept --order 261130-8697740
    """


def _seconds_option(command: T) -> T:
    return click.option(
        "--seconds", type=click.FloatRange(0, 3600), default=30.0, show_default=True, help="Longest time to wait."
    )(command)


@wait.command("ready")
@_seconds_option
@operator_options
def wait_ready(seconds: float, data: Path, url: str, token: str, as_json: bool) -> None:
    """Wait until the marketplace answers and all its parts are ready, also if it has not been started yet."""
    wanted = _Wait("/readyz", {}, "the marketplace is not ready")
    answer = _run(Market(data, url, token), wanted, seconds)
    show(as_json, answer, "The marketplace is ready.")


@wait.command("order")
@click.argument("code", shell_complete=complete_codes("orders"))
@click.option("--state", required=True, help="The state, or several with commas between them.")
@_seconds_option
@operator_options
def wait_order(code: str, state: str, seconds: float, data: Path, url: str, token: str, as_json: bool) -> None:
    """Wait until an order is in a state."""
    wanted = _Wait(f"/marketplace/orders/{code}", {"state": state}, f"order {code}", states=_split(state))
    answer = _run(Market(data, url, token), wanted, seconds)
    show(as_json, answer, f"Order {code}: {answer['order']['state']}")


@wait.command("return")
@click.argument("code", shell_complete=complete_codes("returns"))
@click.option("--state", required=True, help="The state, or several with commas between them.")
@_seconds_option
@operator_options
def wait_return(code: str, state: str, seconds: float, data: Path, url: str, token: str, as_json: bool) -> None:
    """Wait until a return is in a state."""
    wanted = _Wait(f"/marketplace/returns/{code}", {"state": state}, f"return {code}", states=_split(state))
    answer = _run(Market(data, url, token), wanted, seconds)
    show(as_json, answer, f"Return {code}: {answer['return']['state']}")


@wait.command("orders")
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@click.option("--state", help="Only in this state.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of orders.")
@_seconds_option
@operator_options
def wait_orders(count: int, seconds: float, data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """Wait until there are so many orders, and print their codes, newest first."""
    answer = _run(Market(data, url, token), _Wait("/marketplace/orders", query, "orders", "orders", count), seconds)
    show(as_json, answer, "\n".join(entry["code"] for entry in answer["orders"]))


@wait.command("deliveries")
@click.argument("subject", required=False, metavar="[CODE]", shell_complete=complete_codes("orders"))
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@click.option("--event-type", help="Only of this type, such as new_order.")
@click.option("--state", default="ended", show_default=True, help="Only in this state; ended is any but pending.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of webhooks.")
@_seconds_option
@operator_options
def wait_deliveries(count: int, seconds: float, data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """Wait until so many webhooks have ended; with CODE, of this order or return."""
    wanted = _Wait("/marketplace/deliveries", query, "webhooks", "deliveries", count)
    answer = _run(Market(data, url, token), wanted, seconds)
    lines = [f"{entry['event_type']}  {entry['subject']}  {entry['state']}" for entry in answer["deliveries"]]
    show(as_json, answer, "\n".join(reversed(lines)))


@wait.command("call")
@click.argument("call", required=False, metavar="[NAME]")
@click.option("--order", "subject", help="Only on this order.", shell_complete=complete_codes("orders"))
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@click.option("--status", help="Only with this status, such as 200, or class, such as 2xx.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of calls.")
@_seconds_option
@operator_options
def wait_call(count: int, seconds: float, data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """Wait until a shop has made so many calls. NAME is accept, reject, show, list, ..."""
    wanted = _Wait("/marketplace/requests", query, f"calls to {query['call'] or 'the API'}", "requests", count)
    answer = _run(Market(data, url, token), wanted, seconds)
    lines = [f"{entry['method']} {entry['path']}  {entry['status'] or 'no answer'}" for entry in answer["requests"]]
    show(as_json, answer, "\n".join(reversed(lines)))


def _split(states: str) -> tuple[str, ...]:
    return tuple(state.strip() for state in states.split(","))


def _run(market: Market, wanted: _Wait, seconds: float) -> dict[str, Any]:
    """Return the answer when it has enough results. End with a message if they do not come in time, or if the
    marketplace refuses the call."""
    from kalathi.simulation.operator import OperatorError

    try:
        answer, problem = asyncio.run(_wait_until(market, wanted, seconds))
    except OperatorError as error:
        fail(str(error), errors=[{"code": entry.code, "messages": entry.messages} for entry in error.errors])
    if problem:
        fail(f"after {seconds:g} s {problem}.", code="not_in_time")
    return answer


async def _wait_until(market: Market, wanted: _Wait, seconds: float) -> tuple[dict[str, Any], str]:
    """Return the answer, and why it is not enough; empty if it is. A marketplace that is not running yet is waited
    for. Raises OperatorError."""
    from kalathi.simulation.operator import OperatorClient

    until = time.monotonic() + seconds
    answer: dict[str, Any] = {}
    problem = f"no running marketplace is known in {market.data}"
    while True:
        left = max(0.0, until - time.monotonic())
        found = find_market(*market)
        if found is not None:
            async with OperatorClient(*found, uses_proxy=is_proxy_wanted()) as operator:
                answer, problem = await _ask(operator, wanted, min(left, _LONGEST_CALL_SECONDS))
        if not problem or not left:
            return answer, problem
        # A marketplace that starts refuses connections. One that runs has used the time in its own call.
        await asyncio.sleep(min(_RETRY_SECONDS, left))


async def _ask(operator: "OperatorClient", wanted: _Wait, seconds: float) -> tuple[dict[str, Any], str]:
    from kalathi.simulation.operator import OperatorError

    query = {**wanted.query, "wait": round(seconds, 3)}
    if wanted.member:
        query["count"] = wanted.least
    try:
        answer = await operator.call("GET", wanted.path, query=query)
    except OperatorError as error:
        if error.is_unreachable or any(entry.code == "unavailable" for entry in error.errors):
            return {}, str(error).rstrip(".")
        raise
    if wanted.member:
        total = answer["meta"]["pagination"]["total_results"]
        return answer, "" if total >= wanted.least else f"there are {total} {wanted.what}, not {wanted.least}"
    if wanted.states:
        state = (answer.get("order") or answer.get("return") or {}).get("state", "")
        expected = " or ".join(wanted.states)
        return answer, "" if state in wanted.states else f"{wanted.what} is {state}, not {expected}"
    return answer, ""
