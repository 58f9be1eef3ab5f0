"""Hide secrets on the command line: keep them out of the process list and out of messages.

Other users of a machine can read the command line of every process, but not its variables. So a long-running command,
such as `kalathi serve`, executes itself again (same process) with variables in place of the flags that hold a secret.
The first command line is readable for some tenths of a second; only a variable or a file hides a secret completely.
On Windows only administrators can read it, so the command keeps it.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

import click

from kalathi.system.abilities import REPLACES_ITSELF

# By command: the flags of secrets, and of addresses that may hold a password.
_SECRETS: Final[Mapping[str, frozenset[str]]] = {
    "serve": frozenset({"--operator-token", "--metrics-token"}),
    "worker": frozenset({"--operator-token", "--metrics-token"}),
    "merchant": frozenset({"--token", "--products-token", "--secrets", "--hand-over-secret"}),
    "listen": frozenset({"--token"}),
    "mcp": frozenset({"--token"}),
    "checkup": frozenset({"--token", "--shop-token"}),
    "recipe": frozenset({"--token"}),
}
_ADDRESSES: Final = frozenset({"--database", "--webhook-proxy", "--stock", "--probe", "--webhook-url", "--returns-url"})
_USER_INFO: Final = re.compile(r"://[^:/@]*:(.*)@")
_SHORTEST_PIECE: Final = 3
_PARAMETER: Final = re.compile(r"[?&\s](?:ssl)?password=([^&\s]*)")


class Hidden(NamedTuple):
    """A command line without secrets, and the variables that hold them."""

    arguments: list[str]
    variables: dict[str, str]


def run_without_secrets(group: click.Group, arguments: Sequence[str]) -> None:
    """Run this process again without secrets in its command line. Return if there are none, or if the command line is
    not our own, as in a test."""
    given = list(arguments)
    whole = sys.orig_argv
    if not REPLACES_ITSELF or not given or whole[-len(given) :] != given:
        return
    hidden = hide_secrets(group, given)
    if hidden is not None:
        sys.stdout.flush()
        command = [*whole[: -len(given)], *hidden.arguments]
        os.execve(sys.executable, command, {**os.environ, **hidden.variables})  # noqa: S606  (our own command line)


def hide_secrets(group: click.Group, arguments: Sequence[str]) -> Hidden | None:
    """Return the same command with variables in place of secret flags, or None if there are no secrets."""
    name = next((argument for argument in arguments if argument in _SECRETS), "")
    command = group.commands.get(name)
    if command is None:
        return None
    variables = {flag: option.envvar for option in command.params for flag in option.opts if option.envvar}
    kept: list[str] = []
    hidden: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, is_joined, value = argument.partition("=")
        if flag in _ADDRESSES | _SECRETS[name] and isinstance(variables.get(flag), str):
            value = value if is_joined else next(rest, "")
            if flag in _SECRETS[name] or find_passwords(value):
                hidden[str(variables[flag])] = value
                continue
            kept += [f"{flag}={value}"] if is_joined else [flag, value]
        else:
            kept.append(argument)
    return Hidden(kept, hidden) if hidden else None


def find_passwords(url: str) -> list[str]:
    """Return the passwords in an address: of its user, and of its parameters. They may be percent-encoded."""
    return [password for pattern in (_USER_INFO, _PARAMETER) for password in pattern.findall(url) if password]


def mask_passwords(text: str, url: str) -> str:
    """Return a text about an address without the passwords in it, such as an error message of a database driver."""
    for password in find_passwords(url):
        # A driver treats everything after the first @ as the host.
        pieces = [piece for piece in password.split("@") if len(piece) >= _SHORTEST_PIECE]
        for form in (password, unquote(password), *pieces):
            text = text.replace(form, "***")
    return text
