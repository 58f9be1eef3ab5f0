"""The extras of the package: which library belongs to which, and the line that installs it.

`pip install kalathi` brings the SDK, the webhook receiver and the connector. The libraries of everything else are
optional (docs/installing.md). `pyproject.toml` lists their names for the installer; a test holds both lists together.
"""

from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from typing import Final


class Extra(StrEnum):
    """An optional part of the installation, as in `kalathi[server]`."""

    SERVER = "server"
    POSTGRES = "postgres"
    MCP = "mcp"
    SQL = "sql"
    PDF = "pdf"
    METRICS = "metrics"


# The smallest extra with each library, by the library's top-level module.
EXTRAS: Final[Mapping[str, Extra]] = {
    "alembic": Extra.SERVER,
    "argon2": Extra.SERVER,
    "holidays": Extra.SERVER,
    "jinja2": Extra.SERVER,
    "mcp": Extra.MCP,
    "prometheus_client": Extra.METRICS,
    "psycopg": Extra.POSTGRES,
    "pypdfium2": Extra.PDF,
    "python_multipart": Extra.SERVER,
    "sqlalchemy": Extra.SQL,
    "typst": Extra.SERVER,
    "uvloop": Extra.SERVER,
    "websockets": Extra.SERVER,
    "xlsxwriter": Extra.SERVER,
    "zxingcpp": Extra.SERVER,
}
# Libraries that only make something faster. There is no uvloop for Windows.
_DISPENSABLE: Final = frozenset({"uvloop"})
# The parts that need an extra as a whole, and not one library of it. They need all of its libraries at their start.
_PARTS: Final[Mapping[str, Extra]] = {
    "kalathi.marketplace": Extra.SERVER,
    "kalathi.checkup": Extra.SERVER,
    "kalathi.mcp_server": Extra.MCP,
}


def has_library(name: str) -> bool:
    """Whether the library with this top-level module is installed."""
    return find_spec(name) is not None


def find_missing(extra: Extra) -> str | None:
    """Return a library that the extra needs and that is not installed, or None if there is none."""
    needed = (name for name, of in EXTRAS.items() if of is extra and name not in _DISPENSABLE)
    return next((name for name in needed if not has_library(name)), None)


def explain_missing(error: ModuleNotFoundError) -> str | None:
    """Return a sentence with the line that installs the missing library, or None if it belongs to no extra."""
    library = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(library)
    if extra is None:
        return None
    return explain(_find_part(error) or extra)


def explain(extra: Extra) -> str:
    """Return a sentence with the line that installs an extra."""
    return f'this needs the extra `{extra}`, which is not installed. Run: pip install "kalathi[{extra}]"'


def _find_part(error: ModuleNotFoundError) -> Extra | None:
    """Return the extra of the outermost part whose import failed."""
    trace = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        for part, extra in _PARTS.items():
            if name == part or name.startswith(part + "."):
                return extra
        trace = trace.tb_next
    return None
