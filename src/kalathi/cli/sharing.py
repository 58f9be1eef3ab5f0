"""Options that a group and its commands share: `merchant --data X status` equals `merchant status --data X`.

Without this module, click would read the option for the group only, and the command would silently use its default.
"""

import click
from click.core import ParameterSource

# The first source wins: a flag, a variable, a line of kalathi.toml. With equal sources, the command's own value wins.
_RANKS = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


class SharingCommand(click.Command):
    """A command of a group. An option that both have may be given in either place; the one after the command wins."""

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
