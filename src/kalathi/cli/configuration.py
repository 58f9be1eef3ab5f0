"""`kalathi.toml`: what flags and variables do not say.

Keys have the names of the settings, such as `webhook_slots`; the other commands' own stand in a table of their name,
such as `[merchant]`.
"""

import tomllib
from pathlib import Path
from typing import Any

import click

DEFAULT_FILE = Path("kalathi.toml")


def defaults_of(path: Path, group: click.Group) -> dict[str, Any]:
    """Click's default map for the commands of this group.

    Raises ValueError that names the file and what is wrong in it: it cannot be read, or it sets what there is not.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    tables["serve"] = {name: value for name, value in content.items() if not isinstance(value, dict)}
    for name, values in tables.items():
        command = group.commands.get(name)
        known = set() if command is None else {parameter.name for parameter in command.params}
        unknown = [key for key in values if key not in known]
        if command is None:
            raise ValueError(f"{path}: there is no table {name}")
        if unknown:
            raise ValueError(f"{path}: there is no setting {unknown[0]} of {name}")
    return {name: {key: str(value) for key, value in values.items()} for name, values in tables.items()}
