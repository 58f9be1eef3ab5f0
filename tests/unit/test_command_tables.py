"""The commands of orders and returns are those of the tables of operations, with every member of their bodies."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import click
import pytest

from kalathi.cli import main
from kalathi.cli.order_commands import order_commands
from kalathi.cli.orders import order
from kalathi.cli.return_commands import return_commands
from kalathi.marketplace.orders.operations import OPERATIONS, SHOP_ACTIONS
from kalathi.marketplace.returns.operations import OPERATIONS as RETURN_OPERATIONS


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


def _members(command: click.Command) -> set[str]:
    of_every_command = {"code", "data", "url", "token", "as_json"}
    return {str(parameter.name) for parameter in command.params} - of_every_command


def test_every_operation_on_an_order_is_a_command() -> None:
    commands = {command.name: command for command in order_commands()}
    for word in OPERATIONS.keys() | SHOP_ACTIONS.keys():
        assert word.replace("_", "-") in commands
    assert len(commands) == len(OPERATIONS) + len(SHOP_ACTIONS)
    for word, operation in (OPERATIONS | SHOP_ACTIONS).items():
        if word != "reject":
            body = getattr(operation.body, "__struct_fields__", ())
            assert _members(commands[word.replace("_", "-")]) == set(body), word
    assert _members(commands["reject-as-support"]) == {"reason"}
    assert _members(commands["reject"]) == {"limited", "lines", "reason"}


def test_every_operation_on_a_return_is_a_command() -> None:
    commands = {command.name: command for command in return_commands()}
    for word, operation in RETURN_OPERATIONS.items():
        assert _members(commands[word.replace("_", "-")]) == set(operation.body.__struct_fields__), word
    assert _members(commands["review"]) == {"option", "comment", "proposed_part_url"}


def test_a_command_may_be_written_with_underscores() -> None:
    assert order.commands["hand_over"] is order.commands["hand-over"]


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*entry, id="-".join(entry[0])) for entry in _commands(main)]
)
def test_every_option_of_a_command_has_a_sentence(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help or command.short_help, path
    made_by_hand = {"simulate", "faults", "demo", "listen", "shop"}
    if made_by_hand.isdisjoint(path):
        with click.Context(command) as context:
            options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
        assert [option.name for option in options if not option.help] == []


def _documented_commands() -> list[str]:
    """Return the commands in the code blocks of the pages about the sandbox and the command line."""
    found = []
    for page in ("docs/command-line.md", "docs/sandbox.md", "docs/listening.md", "README.md"):
        text = (Path(__file__).parents[2] / page).read_text("utf-8")
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found += re.findall(r"^(?:\$ |CODE=\$\()?(kalathi .*?)(?:\)?  .*| > .*| >> .*)?$", block, re.MULTILINE)
    return found


@pytest.mark.parametrize("line", _documented_commands())
def test_a_documented_command_is_accepted(line: str) -> None:
    command, words = cast(click.Command, main), shlex.split(line, comments=True)[1:]
    context = None
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        context = click.Context(command, parent=context)
        command, words = command.commands[words[0]], words[1:]
    with command.make_context(str(command.name), words, parent=context):
        pass


def test_the_pages_document_commands() -> None:
    assert len(_documented_commands()) > 50
