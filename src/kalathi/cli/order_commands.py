"""The commands that change an order, made from the tables of the shop's actions and of the operations of customers,
support and couriers."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from kalathi.cli.completing import complete_codes
from kalathi.cli.generated import Done, make_command
from kalathi.cli.order_lines import replace_line_ids
from kalathi.cli.rejecting import REJECT_OPTIONS, read_rejection
from kalathi.cli.struct_options import make_options, read_body
from kalathi.cli.tables import paint_state, render_minute
from kalathi.marketplace.orders.operations import OPERATIONS, SHOP_ACTIONS, Operation
from kalathi.terminal import in_one_line

_FLAGS: Final = {"line_items": "line", "tracking_details": "tracking"}
_REJECT: Final = "reject"
# The members that a command without options fills in, with the place of the first one on offer in the order.
_FIRST_ON_OFFER: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "accept": {
        "pickup_location": ("accept_options", "pickup_location", "id"),
        "pickup_window": ("accept_options", "pickup_window", "id"),
    },
    "reschedule_pickup": {"reschedule_date": ("reschedule_options", "date")},
    "relocate_pickup": {"pickup_location": ("relocate_options", "id")},
}
# The operations that place another order.
_PLACING: Final = frozenset({"reject", "replace"})


def order_code() -> click.Argument:
    """Return the argument of an order's code."""
    return click.Argument(["code"], shell_complete=complete_codes("orders"))


def order_commands() -> list[click.Command]:
    """Return the commands of the shop, then those of customers, support and couriers. If both have the same name, the
    latter ends with the actor."""
    shop = [_order_command(word, f"as_shop/{word}", action) for word, action in SHOP_ACTIONS.items()]
    others = [
        _order_command(f"{word}_as_{operation.actor}" if word in SHOP_ACTIONS else word, word, operation)
        for word, operation in OPERATIONS.items()
    ]
    return [*shop, *others]


def _order_command(name: str, path: str, operation: Operation) -> click.Command:
    word = path.removeprefix("as_shop/")
    rejects = path == f"as_shop/{_REJECT}"
    offered = _FIRST_ON_OFFER.get(word, {}) if path != word else {}
    options = REJECT_OPTIONS if rejects else []
    if operation.body is not None and not rejects:
        options = make_options(operation.body, flags=_FLAGS)
    hint = "Without options, it takes the first on offer." if offered else ""
    sentence = f"{operation.sentence} {hint}\n\nActs as: {operation.actor}."

    async def run(operator: Any, given: dict[str, Any]) -> Done:
        code = given["code"]
        body = None if operation.body is None else read_body(operation.body, given)
        if rejects:
            body = read_rejection(given)
        if body is not None and (offered or "line_items" in body):
            order = (await operator.order(code))["order"]
            body = _fill_in(body, order, offered)
            if "line_items" in body:
                body["line_items"] = replace_line_ids(body["line_items"], order)
        answer = await operator.call("POST", f"/marketplace/orders/{quote(code, safe='')}/{path}", body)
        if word in _PLACING:
            answer["new_order"] = await _find_new_order(operator, code, word)
        return Done(answer, _summarize(answer))

    return make_command(name, sentence, [order_code(), *options], run)


def _fill_in(body: dict[str, Any], order: dict[str, Any], offered: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return the body with the first value on offer for each member that is not given. Without an offer, the member is
    left out, and the marketplace says why it refuses."""
    first = {name: _first_at(order, path) for name, path in offered.items() if name not in body}
    return body | {name: value for name, value in first.items() if value is not None}


def _first_at(order: dict[str, Any], path: tuple[str, ...]) -> Any:
    *places, member = path
    found: Any = order
    for place in places:
        found = (found or {}).get(place)
    return found[0][member] if found else None


async def _find_new_order(operator: Any, code: str, word: str) -> str | None:
    """Return the code of the order that follows the rejected or replaced one, or None."""
    detail = await operator.order(code)
    if word == _REJECT:
        successor: str | None = (detail["rejection"] or {}).get("successor")
        return successor
    replacements = detail["order"].get("replacements") or [{"code": None}]
    newest: str | None = replacements[-1]["code"]
    return newest


def _summarize(answer: dict[str, Any]) -> str:
    order = answer["order"]
    line = f"Order {in_one_line(order['code'])}: {paint_state(order['state'])}"
    window = order.get("pickup_window")
    if order["state"] == "accepted" and window:
        line += f", pickup {render_minute(window['from'])} to {window['to'][11:16]}"
    new = answer.get("new_order")
    return f"{line}\nNew order {in_one_line(new)}" if new else line
