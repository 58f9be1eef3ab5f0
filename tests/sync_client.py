"""Makes the classes without an event loop from those with an event loop, so that both always have the same calls: the
shop's client, and the sandbox for tests.

`make client` writes the files again; a test compares them.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parents[1] / "src" / "kalathi"
# The made modules by their sources.
MODULES: Final = {
    _PACKAGE / "merchant" / "client" / "async_client.py": _PACKAGE / "merchant" / "client" / "sync_client.py",
    _PACKAGE / "merchant" / "client" / "async_products.py": _PACKAGE / "merchant" / "client" / "sync_products.py",
    _PACKAGE / "testing" / "async_kalathi.py": _PACKAGE / "testing" / "sync_kalathi.py",
}
_REPLACEMENTS: Final = (
    (
        r'^"""The shop\'s client with an event loop\."""',
        '"""The shop\'s client without an event loop. `make client` makes it from async_client.py."""',
    ),
    (
        r'^"""A sandbox shop for one test with an event loop\."""',
        '"""A sandbox shop for one test. `make client` makes it from async_kalathi.py."""',
    ),
    (
        r'^"""Stock and prices of a shop\'s products, with an event loop\.',
        '"""Stock and prices of a shop\'s products, without an event loop. `make client` makes it from'
        " async_products.py.",
    ),
    (r"\basync_products\b(?! import AsyncProducts)(?!\.py)", "sync_products"),
    (r"\basync_products import AsyncProducts", "sync_products import Products"),
    (r"\bAsyncIterator, Awaitable, Callable\b", "Callable, Iterator"),
    (r"\bCoroutine\[Any, Any, (\w+)\]", r"\1"),
    (r"\bAsyncIterator, Callable, Mapping\b", "Callable, Iterator, Mapping"),
    (r"\bAsync(Client|Network|Products|Transport|Iterator)\b", r"\1"),
    (r"\bAsync(Kalathi|Order|Played|Clock|Faults|Deliveries|Requests|Log)\b", r"\1"),
    (r"\basync(contextmanager)\b", r"\1"),
    (r"\basync_run\b", "run"),
    (r"\bAwaitable\[None\]", "None"),
    (r"\basyncio\b", "time"),
    (r"\b__a(enter|exit)__", r"__\1__"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bfor (\w+) in (.+):\n +yield \1\n", r"yield from \2\n"),
)


def make_sync(source: str, target: Path) -> str:
    """Return the module without an event loop for the text of the one with an event loop."""
    for pattern, replacement in _REPLACEMENTS:
        source = re.sub(pattern, replacement, source)
    sort = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        "I,F401",
        "--fix",
        "--quiet",
        "--stdin-filename",
        str(target),
        "-",
    ]
    layout = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(target), "-"]
    for command in (sort, layout):
        source = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return source


if __name__ == "__main__":
    for with_loop, without in MODULES.items():
        without.write_text(make_sync(with_loop.read_text("utf-8"), without), "utf-8")
