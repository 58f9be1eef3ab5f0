"""Abilities that not every system has."""

import sys
from typing import Final

# Whether several processes can serve one port (supervising.py).
SHARES_SOCKETS: Final = sys.platform == "linux"
# Whether a process can execute another command in its place. On Windows the caller would see its end.
REPLACES_ITSELF: Final = sys.platform != "win32"
