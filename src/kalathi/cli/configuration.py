"""`kalathi.toml`: settings that are given neither by a flag nor by a variable.

Each line sets a variable: `webhook_slots` sets `KALATHI_WEBHOOK_SLOTS`, for every command that reads it. A setting
without a variable goes into the table of its command, under the name of its flag, for example into `[listen]` or
`[shop.add]`. The declared shops and faults of a sandbox (docs/declared-start.md) are read by `kalathi serve` only.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from kalathi.texts import read_text

DEFAULT_FILE = Path("kalathi.toml")
TEXT_VARIABLE = "KALATHI_CONFIG_TEXT"
_PREFIX = "KALATHI_"
_DECLARED = frozenset({"shops", "faults", "fault_seed"})


class Configuration(NamedTuple):
    """A settings file: its name in messages, its text, and its content."""

    name: str
    text: str
    content: dict[str, Any]

    @property
    def declared(self) -> dict[str, Any]:
        """The declared shops and faults. A `faults` that is a table has options of `kalathi faults`."""
        return {
            name: value
            for name, value in self.content.items()
            if name in _DECLARED and not (name == "faults" and isinstance(value, dict))
        }


def read_configuration(path: Path | None, variables: Mapping[str, str]) -> Configuration | None:
    """Return the settings file: the one at `path`, the text of KALATHI_CONFIG_TEXT, or ./kalathi.toml; None if there is
    none. Raises ValueError with a sentence if it cannot be read, or if both a path and a text are given."""
    text = variables.get(TEXT_VARIABLE, "")
    if text.strip():
        if path is not None:
            raise ValueError(f"both {path} and {TEXT_VARIABLE} are given as settings file; leave one of them out")
        return _parse(TEXT_VARIABLE, text)
    path = path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    if path is None:
        return None
    try:
        return _parse(str(path), read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _parse(name: str, text: str) -> Configuration:
    try:
        return Configuration(name, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} cannot be read: {error}") from None


def defaults_of(configuration: Configuration, group: click.Group) -> dict[str, Any]:
    """Return click's default map for the commands of this group.

    Raises ValueError with a sentence that names the file and the unknown setting.
    """
    path, declared = configuration.name, configuration.declared
    content = {name: value for name, value in configuration.content.items() if name not in declared}
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    lines = {name: value for name, value in content.items() if not isinstance(value, dict)}
    # The marketplace's settings may also be in a table `[serve]`.
    lines |= tables.pop("serve", {})
    defaults: dict[str, Any] = {}
    known = set()
    for names, command in _commands(group):
        for parameter in command.params:
            key = str(parameter.envvar or "").removeprefix(_PREFIX).lower()
            known.add(key)
            if key in lines and parameter.name:
                _table_of(defaults, names)[parameter.name] = _convert_value(lines[key], parameter)
    unknown = [key for key in lines if key not in known]
    if unknown:
        raise ValueError(f"{path}: there is no setting {unknown[0]}")
    for name, table in tables.items():
        owner = group.commands.get(name)
        if owner is None:
            raise ValueError(f"{path}: there is no table {name}")
        _take_table(path, name, table, owner, _table_of(defaults, (name,)))
    return defaults


def _commands(group: click.Group, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*names, name))


def _table_of(defaults: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    for name in names:
        defaults = defaults.setdefault(name, {})
    return defaults


def _take_table(path: str, title: str, table: dict[str, Any], command: click.Command, defaults: dict[str, Any]) -> None:
    flags = {
        flag.lstrip("-").replace("-", "_"): parameter
        for parameter in command.params
        for flag in parameter.opts
        if flag.startswith("--")
    }
    for name, value in table.items():
        inner = command.commands.get(name) if isinstance(command, click.Group) else None
        if inner is not None and isinstance(value, dict):
            _take_table(path, f"{title}.{name}", value, inner, defaults.setdefault(name, {}))
        elif name in flags and not isinstance(value, dict):
            defaults[str(flags[name].name)] = _convert_value(value, flags[name])
        else:
            raise ValueError(f"{path}: there is no setting {name} of {title}")


def _convert_value(value: Any, parameter: click.Parameter) -> Any:
    """Return the value as the command line would give it: a list for a flag that may be repeated, else one text (or a
    boolean)."""
    if isinstance(value, list):
        return [str(entry) for entry in value] if parameter.multiple else ",".join(str(entry) for entry in value)
    if parameter.multiple:
        return [str(value)]
    return value if isinstance(value, bool) else str(value)
