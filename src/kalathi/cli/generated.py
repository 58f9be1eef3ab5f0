"""The frame of commands that are made from a table: their options, and the call of the operator's API that they run."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from kalathi.cli.operating import Market, operate, operator_options, show


class Done(NamedTuple):
    """The result of a command: the answer for --json, and its text for a person."""

    answer: Any
    text: str


Run = Callable[[Any, dict[str, Any]], Awaitable[Done]]


def make_command(name: str, sentence: str, parameters: Sequence[click.Parameter], run: Run) -> click.Command:
    """Return a command with these parameters and those that find the marketplace. `run` gets the operator's client and
    the values of the parameters."""

    def callback(data: Path, url: str, token: str, as_json: bool, **given: Any) -> None:
        done = operate(*Market(data, url, token), lambda operator: run(operator, given))
        show(as_json, done.answer, done.text)

    command = click.command(name.replace("_", "-"), help=sentence)(operator_options(callback))
    command.params[:0] = parameters
    return command
