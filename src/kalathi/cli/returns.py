"""`kalathi return`: returns of a running marketplace, as the customer, the shop and the courier act on them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from kalathi.cli.completing import complete_codes, complete_shops
from kalathi.cli.lazy_commands import LazyCommands
from kalathi.cli.operating import Market, operate, operator_options, page_options, show
from kalathi.cli.tables import render_history, render_members, render_minute, render_page, render_table
from kalathi.contract.words import ReturnState


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in ReturnState]), help="Only returns in this state.")
@click.option("--order", "order_code", help="Only of this order.", shell_complete=complete_codes("orders"))
@click.option("--shop", "shop_id", help="Only of this shop.", shell_complete=complete_shops)
@page_options
@operator_options
def return_list(data: Path, url: str, token: str, as_json: bool, **query: Any) -> None:
    """List returns, the newest first.

    \b
    kalathi return list --state pending_merchant_review
    """
    market = Market(data, url, token)
    answer = operate(*market, lambda operator: operator.call("GET", "/marketplace/returns", query=query))
    rows = [(entry["code"], entry["order_code"], entry["shop_id"], entry["state"]) for entry in answer["returns"]]
    empty = "There are no such returns. Request one: kalathi return request --help"
    show(as_json, answer, render_page(("code", "order", "shop", "state"), rows, answer, empty))


@click.command("show")
@click.argument("code", shell_complete=complete_codes("returns"))
@operator_options
def return_show(code: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show a return with its lines, the options of its review, its timeline and its webhooks."""
    detail = operate(*Market(data, url, token), lambda operator: operator.show_return(code))
    show(as_json, detail, "\n\n".join(_sections(detail)))


def _sections(detail: dict[str, Any]) -> Iterable[str]:
    returned, decision = detail["return"], detail["decision"] or {}
    yield render_members(
        {
            "return": returned["return_code"],
            "state": returned["state"],
            "order": returned["order_code"],
            "shop": detail["shop_id"],
            "review until": detail["review_until"] and render_minute(detail["review_until"]),
            "decision": decision.get("option"),
            "comment": decision.get("comment"),
            "courier": returned.get("courier"),
            "tracking": returned.get("courier_tracking_ids"),
        }
    )
    yield render_table(
        ("line", "product", "quantity", "reason", "comment"),
        [
            (
                line["id"],
                line["product_name"],
                line["returning_quantity"],
                line.get("return_reason"),
                line.get("user_comment"),
            )
            for line in returned["return_line_items"]
        ],
    )
    if returned.get("review_options"):
        yield render_table(
            ("review option", "needs a comment"),
            [(option["option"], bool(option.get("comment_required"))) for option in returned["review_options"]],
        )
    yield from render_history(detail)


def _commands() -> list[click.Command]:
    from kalathi.cli.return_commands import return_commands

    return [return_list, return_show, *return_commands()]


returns = click.Group(
    "return",
    commands=LazyCommands(_commands),
    short_help="Returns: list, show, request, review, take back, ...",
    help="""Returns of a running marketplace: list them, show one, and act as the customer, the shop or the courier. The
    shop's review needs a sandbox.

    \b
    kalathi return request 261130-8697740 --line MEM-64=1 --reason faulty
    kalathi return review R-261130-1234567 --option approve
    kalathi return hand-over R-261130-1234567
    """,
)
