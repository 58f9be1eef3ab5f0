"""The failures that a team accepts for now: a TOML file with a comment for each.

[late_cancellation]
comment = "Our ERP cannot do this before March; ticket 123."
"""

import tomllib
from pathlib import Path

from kalathi.checkup.running import list_checks
from kalathi.texts import read_text


class KnownError(ValueError):
    """The file cannot be read. The sentence names the file and the error."""


def read_known(path: Path) -> dict[str, str]:
    """Return the comment of each accepted failure by its check. Raises KnownError."""
    try:
        content = tomllib.loads(read_text(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KnownError(f"{path} cannot be read: {error}.") from None
    names = {planned.scenario.name for planned in list_checks()}
    known = {}
    for name, entry in content.items():
        if name not in names:
            raise KnownError(f"{path}: there is no check {name}. See kalathi checkup --list.")
        comment = entry.get("comment") if isinstance(entry, dict) else None
        if not isinstance(comment, str) or not comment.strip():
            raise KnownError(f'{path}: give [{name}] a comment, such as comment = "ticket 123".')
        known[name] = comment.strip()
    return known
