"""Abilities that not every system has."""

import sys
from typing import Final

# Whether several processes can serve one port (supervising.py).
SHARES_SOCKETS: Final = sys.platform == "linux"
