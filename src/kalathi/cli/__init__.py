"""The command line: the group of all `kalathi` commands.

Each command reads its settings and calls one function. It imports its parts only when it runs, so that `kalathi --help`
does not load a web server.
"""

import gc
import os
import platform
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from kalathi import __version__
from kalathi.cli.backup import backup, restore
from kalathi.cli.carts import cart
from kalathi.cli.checkup import checkup
from kalathi.cli.clock import clock
from kalathi.cli.configuration import defaults_of, read_configuration
from kalathi.cli.customers import customer
from kalathi.cli.db import db
from kalathi.cli.deliveries import deliveries
from kalathi.cli.demo import demo
from kalathi.cli.distribute import distribute
from kalathi.cli.faults import faults
from kalathi.cli.listen import listen
from kalathi.cli.listings import listing
from kalathi.cli.logs import logs
from kalathi.cli.mcp import mcp
from kalathi.cli.merchant import merchant
from kalathi.cli.open import open_pages
from kalathi.cli.openapi import openapi
from kalathi.cli.operating import fail
from kalathi.cli.orders import order
from kalathi.cli.output import OUTPUT, echo_json
from kalathi.cli.people import people
from kalathi.cli.purchase_order import purchase_order
from kalathi.cli.recipe import recipe
from kalathi.cli.returns import returns
from kalathi.cli.secret_flags import run_without_secrets
from kalathi.cli.serve import serve, worker
from kalathi.cli.shops import shop
from kalathi.cli.simulate import simulate
from kalathi.cli.trigger import trigger
from kalathi.cli.wait import wait
from kalathi.extras import explain_missing


class _CommandLine(click.Group):
    """The group of all commands. No command fails because its output cannot be printed."""

    _reports_json = False

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run a command line."""
        OUTPUT.take_over()
        run_without_secrets(self, arguments[0] if arguments and arguments[0] is not None else sys.argv[1:])
        return super().main(*arguments, **settings)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of a command line, and note whether it has --json."""
        self._reports_json = "--json" in args
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        """Run the command. Report an error if its result could not be printed completely. With --json, a mistake in the
        command line is reported as JSON too."""
        try:
            result = super().invoke(context)
        except click.UsageError as error:
            if not self._reports_json or _writes_json_file(error.ctx):
                raise
            echo_json({"errors": [{"code": "usage", "messages": [error.format_message()]}]}, err=True)
            context.exit(error.exit_code)
        except ModuleNotFoundError as error:
            explained = explain_missing(error)
            if explained is None:
                raise
            fail(explained)
        if problem := OUTPUT.problem():
            fail(problem)
        return result


def describe_version() -> str:
    """Return the version with the commit of a built package, and the version of Python: all that a bug report needs."""
    commit = files("kalathi") / "commit.txt"
    origin = f"commit {commit.read_text('utf-8').strip()}" if commit.is_file() else "from a checkout"
    return f"kalathi {__version__} ({origin}, Python {platform.python_version()} on {platform.system()})"


def _writes_json_file(context: click.Context | None) -> bool:
    """Whether --json names a file for the command's report, so that messages are for a person."""
    options = context.command.params if context else []
    return any("--json" in option.opts and not getattr(option, "is_flag", False) for option in options)


@click.group(cls=_CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    envvar="KALATHI_CONFIG",
    type=click.Path(path_type=Path),
    help="Settings in TOML; default: the text in the variable KALATHI_CONFIG_TEXT, else ./kalathi.toml.",
)
@click.version_option(message=describe_version())
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """An open Smart Cart: the marketplace that places orders with shops, and the merchant's side that answers.

    A flag wins over a KALATHI_* variable, and that over a line of kalathi.toml.

    \b
    kalathi demo --once        play both use cases with real processes
    kalathi serve              a marketplace of your own on http://127.0.0.1:8090
    kalathi open               its pages in a browser, signed in as the operator
    kalathi shop add --help    how a shop joins it
    kalathi order --help       how to accept, reject and deliver an order
    kalathi trigger --list     scenarios that can be played
    kalathi logs --follow      the calls of your client, with their answers
    """
    # Imported modules are never garbage. Collecting them took a sixth of a command's start.
    gc.set_threshold(20_000, 20, 20)
    try:
        context.obj = read_configuration(config, os.environ)
        context.default_map = defaults_of(context.obj, main) if context.obj else None
    except ValueError as error:
        fail(f"{error}.")


for _command in (
    serve,
    worker,
    merchant,
    backup,
    restore,
    db,
    distribute,
    purchase_order,
    demo,
    shop,
    people,
    customer,
    listing,
    cart,
    order,
    recipe,
    returns,
    deliveries,
    logs,
    wait,
    checkup,
    clock,
    trigger,
    faults,
    listen,
    open_pages,
    simulate,
    openapi,
    mcp,
):
    main.add_command(_command)
