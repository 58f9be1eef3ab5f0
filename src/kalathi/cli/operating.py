"""How commands reach a running marketplace, and how they tell what came of it."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

T = TypeVar("T", bound=Callable[..., Any])

_data_option = click.option(
    "--data",
    envvar="KALATHI_DATA",
    type=click.Path(path_type=Path),
    default=Path("kalathi-data"),
    show_default=True,
    help="The data folder of the marketplace.",
)


def fail(message: str) -> NoReturn:
    """Says what is wrong and what to do, and ends with status 1."""
    click.echo(f"kalathi: {message}", err=True)
    sys.exit(1)


def operator_options(command: T) -> T:
    """How a command finds the running marketplace: by address and token, else by the data folder."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option("--token", envvar="KALATHI_OPERATOR_TOKEN", default="", help="The operator's token."),
        click.option("--url", envvar="KALATHI_URL", default="", help="The marketplace's address."),
        _data_option,
    ):
        command = option(command)
    return command


def address_and_token(data: Path, url: str, token: str) -> tuple[str, str]:
    """Where the marketplace is and the operator's token: as told, else from the data folder."""
    try:
        found_url = url or (data / "address").read_text("utf-8").strip()
        found_token = token or (data / "operator-token").read_text("utf-8").strip()
    except OSError:
        fail(f"no running marketplace is known in {data}. Start `kalathi serve`, or give --url and --token.")
    return found_url, found_token


def operate(data: Path, url: str, token: str, call: Callable[[Any], Any]) -> Any:
    """Runs one call of the operator's API and gives its answer."""
    from kalathi.simulation.operator import OperatorClient, OperatorError

    async def run(found_url: str, found_token: str) -> Any:
        async with OperatorClient(found_url, found_token) as operator:
            return await call(operator)

    found_url, found_token = address_and_token(data, url, token)
    try:
        return asyncio.run(run(found_url, found_token))
    except OperatorError as error:
        fail(str(error))


def show(as_json: bool, value: object, text: str) -> None:
    """The answer for a person, or as JSON for a machine."""
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else text)
