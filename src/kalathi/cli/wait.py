"""`kalathi wait`: wait until a running marketplace is in a state, instead of polling it in a loop."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

import click

from kalathi.cli.completing import complete_codes, complete_shops, complete_subjects
from kalathi.cli.operating import Market, fail, fail_with, find_market, is_proxy_wanted, operator_options, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from kalathi.simulation.operator import OperatorClient

T = TypeVar("T", bound="Callable[..., Any]")

# A longer wait is several calls. Each is shorter than the marketplace's own limit of 60 seconds, because many proxies
# end a call at this time.
_MARGIN_SECONDS: Final = 10
_RETRY_SECONDS: Final = 0.1


class _Condition(NamedTuple):
    """A condition: the call to repeat, and the number of results or the states that end the wait.

    `subject` names the results in messages. `member` is the list of the answer that has the results. Without it, the
    answer is one object, whose state is compared."""

    path: str
    query: dict[str, Any]
    subject: str
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
    """Wait until the marketplace answers and all its parts are ready, even if it has not started yet."""
    condition = _Condition("/readyz", {}, "the marketplace is not ready")
    answer = _run(Market(data, url, token), condition, seconds)
    show(as_json, answer, "The marketplace is ready.")


@wait.command("order")
@click.argument("code", shell_complete=complete_codes("orders"))
@click.option("--state", required=True, help="The state, or several with commas between them.")
@_seconds_option
@operator_options
def wait_order(code: str, state: str, seconds: float, data: Path, url: str, token: str, as_json: bool) -> None:
    """Wait until an order is in a state."""
    answer = _wait_for_state(Market(data, url, token), "order", code, state, seconds)
    show(as_json, answer, f"Order {code}: {answer['order']['state']}")


@wait.command("return")
@click.argument("code", shell_complete=complete_codes("returns"))
@click.option("--state", required=True, help="The state, or several with commas between them.")
@_seconds_option
@operator_options
def wait_return(code: str, state: str, seconds: float, data: Path, url: str, token: str, as_json: bool) -> None:
    """Wait until a return is in a state."""
    answer = _wait_for_state(Market(data, url, token), "return", code, state, seconds)
    show(as_json, answer, f"Return {code}: {answer['return']['state']}")


def _wait_for_state(market: Market, kind: str, code: str, state: str, seconds: float) -> dict[str, Any]:
    condition = _Condition(f"/marketplace/{kind}s/{code}", {"state": state}, f"{kind} {code}", states=_split(state))
    return _run(market, condition, seconds)


@wait.command("orders")
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@click.option("--state", help="Only in this state.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of orders.")
@_seconds_option
@operator_options
def wait_orders(count: int, seconds: float, data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """Wait until --count orders match, and print their codes, newest first."""
    condition = _Condition("/marketplace/orders", query, "orders", "orders", count)
    answer = _run(Market(data, url, token), condition, seconds)
    show(as_json, answer, "\n".join(entry["code"] for entry in answer["orders"]))


@wait.command("deliveries")
@click.argument("subject", required=False, metavar="[CODE]", shell_complete=complete_subjects)
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@click.option("--event-type", help="Only of this type, such as new_order.")
@click.option("--state", default="ended", show_default=True, help="Only in this state; ended is any but pending.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of webhooks.")
@_seconds_option
@operator_options
def wait_deliveries(count: int, seconds: float, data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """Wait until --count webhooks have ended. With CODE, only those of this order or return count."""
    condition = _Condition("/marketplace/deliveries", query, "webhooks", "deliveries", count)
    answer = _run(Market(data, url, token), condition, seconds)
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
    """Wait until a shop has made --count calls. NAME is accept, reject, show, list, ..."""
    condition = _Condition("/marketplace/requests", query, f"calls to {query['call'] or 'the API'}", "requests", count)
    answer = _run(Market(data, url, token), condition, seconds)
    lines = [f"{entry['method']} {entry['path']}  {entry['status'] or 'no answer'}" for entry in answer["requests"]]
    show(as_json, answer, "\n".join(reversed(lines)))


def _split(states: str) -> tuple[str, ...]:
    return tuple(state.strip() for state in states.split(","))


def _run(market: Market, condition: _Condition, seconds: float) -> dict[str, Any]:
    """Return the answer when the condition holds. End with a message if it does not hold in time, or if the marketplace
    refuses the call."""
    from kalathi.operator_calls import OperatorError

    try:
        answer, problem = asyncio.run(_wait_until(market, condition, seconds))
    except OperatorError as error:
        fail_with(error)
    if problem:
        fail(f"after {seconds:g} s {problem}.", code="not_in_time")
    return answer


async def _wait_until(market: Market, condition: _Condition, seconds: float) -> tuple[dict[str, Any], str]:
    """Return the answer, and the reason why the condition does not hold yet, or an empty text. Keep trying while no
    marketplace runs. Raises OperatorError."""
    from kalathi.marketplace.web.waiting import LONGEST_WAIT_SECONDS
    from kalathi.simulation.operator import OperatorClient

    longest_seconds = LONGEST_WAIT_SECONDS - _MARGIN_SECONDS
    until = time.monotonic() + seconds
    answer: dict[str, Any] = {}
    problem = f"no running marketplace is known in {market.data}"
    while True:
        left = max(0.0, until - time.monotonic())
        found = find_market(*market)
        if found is not None:
            async with OperatorClient(*found, uses_proxy=is_proxy_wanted()) as operator:
                answer, problem = await _call_once(operator, condition, min(left, longest_seconds))
        if not problem or not left:
            return answer, problem
        # A marketplace that starts refuses connections. One that runs has used the time in its own call.
        await asyncio.sleep(min(_RETRY_SECONDS, left))


async def _call_once(operator: "OperatorClient", condition: _Condition, seconds: float) -> tuple[dict[str, Any], str]:
    """Return the answer, and the reason why the condition does not hold yet. Raises OperatorError, also for a shop that
    does not exist: its list would stay empty until the end of the wait."""
    from kalathi.operator_calls import OperatorError

    query = {**condition.query, "wait": round(seconds, 3)}
    if condition.member:
        query["count"] = condition.least
    shop_id = condition.query.get("shop_id")
    try:
        if shop_id is not None:
            await operator.call("GET", f"/marketplace/shops/{quote(shop_id, safe='')}")
        answer = await operator.call("GET", condition.path, query=query)
    except OperatorError as error:
        if error.is_unreachable or any(entry.code == "unavailable" for entry in error.errors):
            return {}, str(error).rstrip(".")
        raise
    if condition.member:
        total = answer["meta"]["pagination"]["total_results"]
        if total >= condition.least:
            return answer, ""
        return answer, f"there are {total} {condition.subject}, not {condition.least}"
    if condition.states:
        state = (answer.get("order") or answer.get("return") or {}).get("state", "")
        expected = " or ".join(condition.states)
        return answer, "" if state in condition.states else f"{condition.subject} is {state}, not {expected}"
    return answer, ""
