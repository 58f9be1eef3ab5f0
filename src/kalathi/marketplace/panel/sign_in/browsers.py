"""Short descriptions of browsers, so that a person recognises their own sessions."""

from typing import Final

# The first one found counts: Edge also calls itself Chrome, and Chrome calls itself Safari.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def describe_browser(user_agent: str) -> str:
    """Return names such as `Firefox, Windows`; empty for an unknown program."""
    found = (next((name for mark, name in marks if mark in user_agent[:500]), "") for marks in (_BROWSERS, _SYSTEMS))
    return ", ".join(name for name in found if name)
