"""Makes the client without an event loop from the one with an event loop, so that both always have the same calls.

`make client` writes the file again; a test compares it.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "src" / "kalathi" / "merchant" / "client"
SOURCE: Final = FOLDER / "async_client.py"
TARGET: Final = FOLDER / "sync_client.py"
_REPLACEMENTS: Final = (
    (
        r'^"""The shop\'s client with an event loop\."""',
        '"""The shop\'s client without an event loop. `make client` makes it from async_client.py."""',
    ),
    (r"\bAsyncIterator, Awaitable, Callable\b", "Callable, Iterator"),
    (r"\bAsync(Client|Network|Transport|Iterator)\b", r"\1"),
    (r"\bAwaitable\[None\]", "None"),
    (r"\basyncio\b", "time"),
    (r"\b__a(enter|exit)__", r"__\1__"),
    (r"\basync (def|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bfor (\w+) in (.+):\n +yield \1\n", r"yield from \2\n"),
)


def make_sync_client(source: str) -> str:
    """Return the module of the synchronous client for the module of the asynchronous one."""
    for pattern, replacement in _REPLACEMENTS:
        source = re.sub(pattern, replacement, source)
    sort = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        "I",
        "--fix",
        "--quiet",
        "--stdin-filename",
        str(TARGET),
        "-",
    ]
    layout = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(TARGET), "-"]
    for command in (sort, layout):
        source = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return source


if __name__ == "__main__":
    TARGET.write_text(make_sync_client(SOURCE.read_text("utf-8")), "utf-8")
