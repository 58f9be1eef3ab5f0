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
# Far more than any setting needs. Code that reads nested content by recursion stays within Python's limit.
_MOST_LEVELS = 100


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

    def locate(self, *path: str) -> str:
        """Return the place of a key or a table as messages name it: `kalathi.toml line 14`."""
        from kalathi.toml_lines import find_line, lines_by_path

        return f"{self.name} line {find_line(lines_by_path(self.text), path)}"


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
        content = tomllib.loads(text)
    except ValueError as error:  # Also of a number with thousands of digits, which is not a TOMLDecodeError.
        raise ValueError(f"{name} cannot be read: {error}") from None
    except RecursionError:
        content = None
    if content is None or _is_too_deep(content):
        raise ValueError(f"{name} cannot be read: its lists and tables are nested more than {_MOST_LEVELS} levels deep")
    return Configuration(name, text, content)


def _is_too_deep(content: dict[str, Any]) -> bool:
    level: list[Any] = [content]
    for _ in range(_MOST_LEVELS):
        entries = (entry for inner in level for entry in (inner.values() if isinstance(inner, dict) else inner))
        level = [entry for entry in entries if isinstance(entry, dict | list)]
    return bool(level)


def defaults_of(configuration: Configuration, group: click.Group) -> dict[str, Any]:
    """Return click's default map for the commands of this group.

    Raises ValueError with a sentence that names the file, the line and the unknown setting.
    """
    declared = configuration.declared
    content = {name: value for name, value in configuration.content.items() if name not in declared}
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    lines = {name: value for name, value in content.items() if not isinstance(value, dict)}
    # The marketplace's settings may also be in a table `[serve]`.
    of_serve = tables.pop("serve", {})
    lines |= of_serve
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
        place = ("serve", unknown[0]) if unknown[0] in of_serve else (unknown[0],)
        raise ValueError(f"{configuration.locate(*place)}: there is no setting {unknown[0]}")
    for name, table in tables.items():
        owner = group.commands.get(name)
        if owner is None:
            raise ValueError(f"{configuration.locate(name)}: there is no table {name}")
        _take_table(configuration, (name,), table, owner, _table_of(defaults, (name,)))
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


def _take_table(
    configuration: Configuration,
    path: tuple[str, ...],
    table: dict[str, Any],
    command: click.Command,
    defaults: dict[str, Any],
) -> None:
    flags = {
        flag.lstrip("-").replace("-", "_"): parameter
        for parameter in command.params
        for flag in parameter.opts
        if flag.startswith("--")
    }
    for name, value in table.items():
        inner = command.commands.get(name) if isinstance(command, click.Group) else None
        if inner is not None and isinstance(value, dict):
            _take_table(configuration, (*path, name), value, inner, defaults.setdefault(name, {}))
        elif name in flags and not isinstance(value, dict):
            defaults[str(flags[name].name)] = _convert_value(value, flags[name])
        else:
            raise ValueError(f"{configuration.locate(*path, name)}: there is no setting {name} of {'.'.join(path)}")


def _convert_value(value: Any, parameter: click.Parameter) -> Any:
    """Return the value as the command line would give it: a list for a flag that may be repeated, else one text (or a
    boolean)."""
    if isinstance(value, list):
        return [str(entry) for entry in value] if parameter.multiple else ",".join(str(entry) for entry in value)
    if parameter.multiple:
        return [str(value)]
    return value if isinstance(value, bool) else str(value)
