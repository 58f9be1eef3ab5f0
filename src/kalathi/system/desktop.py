"""The user's desktop."""

import os
import sys


def has_desktop() -> bool:
    """Whether a browser would open in a window. A browser in the terminal would overwrite our output."""
    if sys.platform in {"darwin", "win32"}:
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
