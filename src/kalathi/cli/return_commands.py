"""The commands that request or change a return, made from the table of operations and the structs of their bodies."""

from typing import Any, Final
from urllib.parse import quote

import click

from kalathi.cli.completing import complete_codes
from kalathi.cli.generated import Done, make_command
from kalathi.cli.order_lines import replace_line_ids
from kalathi.cli.struct_options import make_options, read_body
from kalathi.cli.tables import paint_state
from kalathi.contract.requests import ReviewRequest
from kalathi.contract.words import ReturnReason, ReviewWord
from kalathi.marketplace.returns.model import NewReturn
from kalathi.marketplace.returns.operations import OPERATIONS, Operation
from kalathi.terminal import in_one_line

_FLAGS: Final = {"line_items": "line", "tracking_ids": "tracking-id"}


def return_commands() -> list[click.Command]:
    """Return the customer's request, the shop's review, and the operations."""
    operations = [_return_command(word, entry) for word, entry in OPERATIONS.items()]
    return [_request_command(), _review_command(), *operations]


def _return_command(word: str, operation: Operation) -> click.Command:
    async def run(operator: Any, given: dict[str, Any]) -> Done:
        return await _post(operator, given["code"], word, read_body(operation.body, given))

    sentence = f"{operation.sentence}\n\nActs as: {operation.actor}."
    return make_command(word, sentence, [_return_code(), *make_options(operation.body, flags=_FLAGS)], run)


def _review_command() -> click.Command:
    async def run(operator: Any, given: dict[str, Any]) -> Done:
        return await _post(operator, given["code"], "as_shop/review", read_body(ReviewRequest, given))

    words = {"option": [word.value for word in ReviewWord]}
    sentence = (
        "Decides on a return request. `kalathi return show CODE` lists the valid options of a return.\n\nActs as: shop."
    )
    return make_command("review", sentence, [_return_code(), *make_options(ReviewRequest, choices=words)], run)


def _request_command() -> click.Command:
    async def run(operator: Any, given: dict[str, Any]) -> Done:
        code = given["code"]
        order = (await operator.order(code))["order"]
        body = read_body(NewReturn, given)
        lines = body.get("line_items") or [
            {"id": line["id"], "quantity": line["quantity"]} for line in order["line_items"]
        ]
        same = {name: given[name] for name in ("reason", "comment") if given[name] is not None}
        body["line_items"] = [same | line for line in replace_line_ids(lines, order)]
        answer = await operator.call("POST", f"/marketplace/orders/{quote(code, safe='')}/returns", body)
        return _done(answer)

    parameters = [
        click.Argument(["code"], shell_complete=complete_codes("orders")),
        *make_options(NewReturn, flags=_FLAGS, optional=("line_items",), defaults={"line_items": "the whole order"}),
        click.Option(
            ["reason", "--reason"],
            type=click.Choice([reason.value for reason in ReturnReason]),
            help="The reason of every line that does not name its own.",
        ),
        click.Option(["comment", "--comment"], help="The customer's comment on every line that does not name its own."),
    ]
    sentence = (
        "Requests a return of pieces of a delivered order. A line is named by its id or shop_uid, and may have its own"
        " reason and comment: `--line MEM-64=1,reason=faulty`.\n\nActs as: customer."
    )
    return make_command("request", sentence, parameters, run)


def _return_code() -> click.Argument:
    return click.Argument(["code"], shell_complete=complete_codes("returns"))


async def _post(operator: Any, code: str, path: str, body: dict[str, Any]) -> Done:
    return _done(await operator.call("POST", f"/marketplace/returns/{quote(code, safe='')}/{path}", body))


def _done(answer: dict[str, Any]) -> Done:
    returned = answer["return"]
    return Done(answer, f"Return {in_one_line(returned['return_code'])}: {paint_state(returned['state'])}")
