"""Options that a group and its commands share: `merchant --data X status` is `merchant status --data X`.

Without this, click reads the option at the group, and the command takes its own default in silence.
"""

import click
from click.core import ParameterSource

# The first of them wins: a flag, a variable, a line of kalathi.toml. At the same rank, the command's own.
_RANKS = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


class SharingCommand(click.Command):
    """A command of a group; an option of both counts at either place, and the inner wins."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Read the command's own arguments, then its group's values of the same options."""
        rest = super().parse_args(context, arguments)
        group = context.parent
        for name in context.params.keys() & (group.params.keys() if group else ()):
            if group is not None and _rank(group, name) < _rank(context, name):
                context.params[name] = group.params[name]
        return rest


def _rank(context: click.Context, name: str) -> int:
    source = context.get_parameter_source(name)
    return _RANKS.index(source) if source in _RANKS else len(_RANKS)
