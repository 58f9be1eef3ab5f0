"""`kalathi clock`: business time of a running sandbox."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from kalathi.cli.operating import fail, operate, operator_options, show

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command()
@click.argument("move", required=False)
@operator_options
def clock(move: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show business time, or move it forward. Everything due in that time runs before the command returns.

    \b
    kalathi clock                              the time that it is
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
    try:
        has_offset = datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        has_offset = False
    if not has_offset:
        fail(
            f"{text} is neither a move of the clock such as +90s, +30m, +24h or +3d nor a time with its offset such as"
            " 2026-12-01T12:00:00+02:00."
        )
    return {"now": text}
