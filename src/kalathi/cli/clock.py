"""`kalathi clock`: business time of a running sandbox."""

from pathlib import Path
from typing import Any

import click

from kalathi.cli.operating import fail, is_time_with_offset, operate, operator_options, show

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command()
@click.argument("move", required=False)
@operator_options
def clock(move: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show business time, or move it forward. Everything due in that time runs before the command returns.

    \b
    kalathi clock                              the present business time
    kalathi clock +90s                         also +30m, +24h, +3d
    kalathi clock 2026-12-01T12:00:00+02:00    a time with its offset
    """
    body = None if move is None else _move(move)
    answer = operate(data, url, token, lambda operator: operator.clock(body))
    show(as_json, answer, answer["now"])


def _move(text: str) -> dict[str, Any]:
    number, unit = text[1:-1], text[-1]
    if text.startswith("+") and unit in _UNITS and number.isascii() and number.isdigit():
        return {"advance_seconds": int(number) * _UNITS[unit]}
    if not is_time_with_offset(text):
        fail(
            f"{text} is neither a move of the clock such as +90s, +30m, +24h or +3d nor a time with its offset such as"
            " 2026-12-01T12:00:00+02:00."
        )
    return {"now": text}
