"""How commands call a running marketplace and report the result."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar

import click

from kalathi.cli.output import echo_json
from kalathi.texts import read_text

if TYPE_CHECKING:
    from kalathi.operator_calls import OperatorError

T = TypeVar("T", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    envvar="KALATHI_DATA",
    type=click.Path(path_type=Path),
    default=Path("kalathi-data"),
    show_default=True,
    help="The data folder of the marketplace.",
)


# The code of an error that is not the marketplace's.
_OWN_ERROR: Final = "command_failed"


class Market(NamedTuple):
    """The options that find the running marketplace: its data folder, or its address and the operator's token."""

    data: Path
    url: str
    token: str


def fail(message: str, *, code: str = _OWN_ERROR, errors: Sequence[Mapping[str, Any]] = ()) -> NoReturn:
    """Report an error and the next step on standard error, and end with status 1. With --json, the report is an error
    envelope of the given entries, or of one entry with this code."""
    report_errors(message, errors or [{"code": code, "messages": [message]}])
    sys.exit(1)


def fail_with(error: "OperatorError") -> NoReturn:
    """Report an error of a call of the operator's API, and end with status 1."""
    fail(str(error), errors=[{"code": entry.code, "messages": entry.messages} for entry in error.errors])


def report_errors(message: str, errors: Sequence[Mapping[str, Any]]) -> None:
    """Print the message on standard error, or with --json the error envelope."""
    context = click.get_current_context(silent=True)
    if context is not None and context.params.get("as_json"):
        echo_json({"errors": list(errors)}, err=True)
    else:
        click.echo(f"kalathi: {message}", err=True)


def token_of(given: str, file: Path | None) -> str:
    """Return the shop's API token, from the file if one is given. End with a message if it is unusable."""
    token, where = given.strip(), "the token of --token or KALATHI_TOKEN"
    if file is not None:
        where = f"the token file {file}"
        try:
            token = read_text(file).strip()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"cannot read the token from {file}: {error}.")
        if not token:
            fail(f"{where} is empty. Write the shop's API token into it, and nothing else.")
    if not token:
        fail("give the shop's token with --token-file, --token or KALATHI_TOKEN.")
    if not all("!" <= character <= "~" for character in token):
        fail(f"{where} holds more than a token: a space, a second line, or a character that no token has.")
    return token


def operator_options(command: T) -> T:
    """Add the options that find the running marketplace, and --json."""
    return market_options(click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command))


def market_options(command: T) -> T:
    """Add the options that find the running marketplace, by address and token or by the data folder."""
    for option in (
        click.option("--token", envvar="KALATHI_OPERATOR_TOKEN", default="", help="The operator's token."),
        click.option("--url", envvar="KALATHI_URL", default="", help="The marketplace's address."),
        data_option,
    ):
        command = option(command)
    return command


def page_options(command: T) -> T:
    """Add the options of a page of a list."""
    per = click.option("--per", type=click.IntRange(1, 100), help="Entries per page; by default 100.")
    return click.option("--page", type=click.IntRange(min=1), help="The page, from 1.")(per(command))


def address_and_token(data: Path, url: str, token: str) -> tuple[str, str]:
    """Return the marketplace's address and the operator's token: the given ones, else those of the data folder."""
    check_address(url)
    found = find_market(data, url, token)
    if found is None:
        fail(
            f"no running marketplace is known in {data}. Start `kalathi serve`, or give --url and --token.",
            code="no_marketplace",
        )
    return found


def find_market(data: Path, url: str, token: str) -> tuple[str, str] | None:
    """Return the marketplace's address and the operator's token: the given ones, else those of the data folder. None if
    the folder has none."""
    try:
        return url or read_text(data / "address").strip(), token or read_text(data / "operator-token").strip()
    except (OSError, UnicodeDecodeError):
        return None


def check_address(url: str) -> None:
    """End with a message if the address is not valid. An empty one counts as not given."""
    from kalathi.marketplace.kernel.targets import BadUrl, mask_url, parse_target

    target = parse_target(url) if url else None
    if isinstance(target, BadUrl):
        fail(f"--url {mask_url(url)}: it {target}.")


def is_proxy_wanted() -> bool:
    """Whether KALATHI_USE_PROXY sends calls to other machines through the proxy of the environment."""
    return os.environ.get("KALATHI_USE_PROXY", "").strip().lower() in {"1", "true", "yes", "on"}


def operate(data: Path, url: str, token: str, call: Callable[[Any], Any]) -> Any:
    """Run one call of the operator's API and return its answer. End with a message if it fails."""
    from kalathi.operator_calls import OperatorError
    from kalathi.simulation.operator import OperatorClient

    async def run(found_url: str, found_token: str) -> Any:
        async with OperatorClient(found_url, found_token, uses_proxy=is_proxy_wanted()) as operator:
            return await call(operator)

    found_url, found_token = address_and_token(data, url, token)
    try:
        return asyncio.run(run(found_url, found_token))
    except OperatorError as error:
        fail_with(error)


def is_time_with_offset(text: str) -> bool:
    """Whether the text is a time with its offset, such as 2026-12-01T12:00:00+02:00."""
    try:
        return datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        return False


def show(as_json: bool, value: object, text: str) -> None:
    """Print the answer as a text, or as JSON with `as_json`."""
    if as_json:
        echo_json(value)
    else:
        click.echo(text)
