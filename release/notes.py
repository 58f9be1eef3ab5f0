"""The notes of a version: its part of the changelog."""

import re
from typing import Final, NamedTuple

_HEADING: Final = re.compile(r"^## (?P<version>\S+), (?P<when>.+)$", re.MULTILINE)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Notes(NamedTuple):
    """The changelog of one version. `is_dated` is false while its heading has no day, such as `unreleased`."""

    text: str
    is_dated: bool


def read_notes(changelog: str, version: str) -> Notes:
    """Return the notes of a version. Raises ValueError if the changelog has no such version, or nothing about it."""
    headings = list(_HEADING.finditer(changelog))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] == version:
            text = changelog[heading.end() : following.start() if following else None].strip()
            if not text:
                raise ValueError(f"CHANGELOG.md says nothing about {version}")
            return Notes(text + "\n", _DAY.fullmatch(heading["when"]) is not None)
    raise ValueError(f"CHANGELOG.md has no heading such as `## {version}, 2027-01-31`")
