"""The state diagram of the docs, drawn from the machine's table by `make docs`."""

import sys
from pathlib import Path
from typing import Final

from kalathi.marketplace.orders.machine import TRANSITIONS

_BEGIN: Final = "<!-- drawn by make docs -->\n"
_END: Final = "<!-- end -->"


def mermaid() -> str:
    """The diagram in Mermaid's notation; states without a way out end."""
    arrows = [f"    {state or '[*]'} --> {following}: {action}" for (state, action), following in TRANSITIONS.items()]
    left = {state for state, _ in TRANSITIONS}
    ends = [f"    {state} --> [*]" for state in dict.fromkeys(TRANSITIONS.values()) if state not in left]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, *ends, "```", ""])


def redrawn(page: str) -> str:
    """The page with the diagram between its two marks as the table has it now."""
    before, rest = page.split(_BEGIN)
    return before + _BEGIN + mermaid() + rest[rest.index(_END) :]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(redrawn(path.read_text("utf-8")), "utf-8")
