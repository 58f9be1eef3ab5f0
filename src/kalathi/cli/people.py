"""`kalathi people`: the people who sign in to the pages, and the operator's token."""

from collections.abc import Iterable
from pathlib import Path

import click

from kalathi.cli.lazy_commands import LazyCommands
from kalathi.cli.operating import data_option, fail, operate, operator_options, show
from kalathi.cli.tables import render_table


@click.command("invite")
@click.option("--shop", "shop_id", default=None, help="The shop that the person joins; default: the operator.")
@click.option(
    "--role",
    type=click.Choice(["owner", "staff", "read_only"]),
    default="owner",
    show_default=True,
    help="owner also manages people, tokens and secrets; read_only changes nothing.",
)
@click.option("--new-password", "name", default=None, help="The name of a person who gets a new password instead.")
@operator_options
def people_invite(
    shop_id: str | None, role: str, name: str | None, data: Path, url: str, token: str, as_json: bool
) -> None:
    """Make a link with which a person joins a shop or the operator. It works once, for seven days.

    \b
    kalathi people invite
    kalathi people invite --shop YlpD0KROym --role staff
    kalathi people invite --new-password "Maria"
    """
    body = {"shop_id": shop_id, "role": role, "name": name}
    answer = operate(data, url, token, lambda operator: operator.call("POST", "/marketplace/invitations", body))
    show(as_json, answer, f"{answer['link']}\nIt works once, until {answer['expires_at'][:16].replace('T', ' ')}.")


@click.command("list")
@click.option("--shop", "shop_id", default=None, help="The people of this shop; default: those of the operator.")
@operator_options
def people_list(shop_id: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """List people: name, role, and the day on which they joined."""
    query = {"shop_id": shop_id} if shop_id else None
    answer = operate(data, url, token, lambda operator: operator.call("GET", "/marketplace/people", query=query))
    rows = [(entry["name"], entry["role"], entry["created_at"][:10]) for entry in answer["people"]]
    table = render_table(("name", "role", "since"), rows)
    show(as_json, answer, table if rows else "No people yet: kalathi people invite --help")


@click.command("history")
@click.option("--shop", "shop_id", default=None, help="The history of this shop; default: that of the operator.")
@operator_options
def people_history(shop_id: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show the latest actions of people and of the operator's API."""
    query = {"shop_id": shop_id} if shop_id else None
    answer = operate(data, url, token, lambda operator: operator.call("GET", "/marketplace/history", query=query))
    rows = [
        (entry["at"][:19].replace("T", " "), entry["actor"], entry["action"], entry["subject"])
        for entry in answer["history"]
    ]
    table = render_table(("time", "who", "action", "of"), rows)
    show(as_json, answer, table if rows else "Nothing happened yet.")


@click.command("new-operator-token")
@data_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def new_operator_token(data: Path, yes: bool) -> None:
    """Replace the operator's token in the data folder. The old token, its sessions and its sign-in links end within a
    second, in every process that uses this folder. Scripts with the old token need the new one.

    \b
    kalathi people new-operator-token --data kalathi-data
    """
    from kalathi.marketplace.kernel.operator_token_file import OPERATOR_TOKEN_FILE, write_operator_token

    path = data / OPERATOR_TOKEN_FILE
    if not path.is_file():
        fail(
            f"there is no token in {path}. If the marketplace gets its token from KALATHI_OPERATOR_TOKEN or from its"
            " settings file, change it there and restart the marketplace; else name its folder with --data."
        )
    if not yes:
        click.confirm(f"Replace the operator's token in {path}?", abort=True)
    write_operator_token(data)
    click.echo(f"New operator's token in {path}")


def _load_commands() -> Iterable[click.Command]:
    return [people_invite, people_list, people_history, new_operator_token]


people = click.Group(
    "people",
    commands=LazyCommands(_load_commands),
    short_help="People of the pages: invite, list, history, new operator's token.",
    help="The people who sign in to the pages: invite, list, history; and a new operator's token.",
)
