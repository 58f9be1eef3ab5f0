"""The event loop of a long-running command."""

import asyncio
from collections.abc import Callable

from kalathi.extras import has_library


def find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory, or None for the loop of the standard library. uvloop is an extra, and there is none for
    Windows; a connector needs no faster loop."""
    if not has_library("uvloop"):
        return None
    import uvloop  # noqa: PLC0415  (an extra, which may be missing)

    return uvloop.new_event_loop
