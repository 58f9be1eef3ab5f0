"""Commands of a group that are made when the first of them is needed.

The commands of orders and returns are made from the marketplace's tables. Importing these takes longer than the whole
rest of `kalathi --help`.
"""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from functools import cached_property

import click


class LazyCommands(MutableMapping[str, click.Command]):
    """The commands of a group by name. A name may be written with underscores, as in the API: `hand_over`."""

    def __init__(self, load: Callable[[], Iterable[click.Command]]) -> None:
        self._load = load

    @cached_property
    def _commands(self) -> dict[str, click.Command]:
        return {str(command.name): command for command in self._load()}

    def __getitem__(self, name: str) -> click.Command:
        return self._commands[name.replace("_", "-")]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)
