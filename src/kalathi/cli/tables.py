"""Tables and lists for a person: aligned columns, and states in colour. Each cell is one line of printable text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kalathi.terminal import in_one_line, style

_COLOURS: Final[Mapping[str, str]] = {
    "open": "yellow",
    "pending": "yellow",
    "pending_merchant_review": "yellow",
    "accepted": "green",
    "dispatched": "green",
    "delivered": "green",
    "passed": "green",
    "rejected": "red",
    "expired": "red",
    "cancelled": "red",
    "exhausted": "red",
    "failed": "red",
}
_STATE: Final = "state"
_GAP: Final = "  "


def render_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Render rows in aligned columns below their header. The column `state` is in colour."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(header, *cells, strict=True)]
    lines = [style(_align(header, widths), bold=True)]
    for row in cells:
        painted = [
            paint_state(cell) + " " * (width - len(cell)) if name == _STATE else f"{cell:{width}}"
            for name, cell, width in zip(header, row, widths, strict=True)
        ]
        lines.append(_GAP.join(painted).rstrip())
    return "\n".join(lines)


def render_members(members: Mapping[str, object]) -> str:
    """Render names and values in two columns. Values that are missing or empty are left out."""
    shown = {name: _cell(value) for name, value in members.items() if value not in (None, "", [])}
    width = max((len(name) for name in shown), default=0)
    return "\n".join(
        f"{style(f'{name:{width}}', bold=True)}{_GAP}{paint_state(value) if name == _STATE else value}"
        for name, value in shown.items()
    )


def render_page(header: Sequence[str], rows: Sequence[Sequence[object]], answer: Mapping[str, Any], empty: str) -> str:
    """Render a page of a list, with the number of the next page if there is one. `empty` is the text without rows."""
    if not rows:
        return empty
    pages = answer["meta"]["pagination"]
    page, last = pages["page"], pages["total_pages"]
    table = render_table(header, rows)
    return table if page >= last else f"{table}\nPage {page} of {last}. Next page: --page {page + 1}"


def render_history(detail: Mapping[str, Any]) -> list[str]:
    """Render the timeline of an order or a return, and its webhooks if there are some."""
    entries = [(render_minute(entry["at"]), entry["event"], entry["state"]) for entry in detail["timeline"]]
    sections = [render_table(("at", "event", "state"), entries)]
    webhooks = [
        (entry["id"], entry["event_type"], entry["state"], len(entry["attempts"])) for entry in detail["deliveries"]
    ]
    if webhooks:
        sections.append(render_table(("delivery", "webhook", "state", "attempts"), webhooks))
    return sections


def render_minute(moment: str) -> str:
    """Render an ISO timestamp up to its minute: `2026-12-01 12:00`."""
    return moment[:16].replace("T", " ")


def render_second(moment: str) -> str:
    """Render an ISO timestamp up to its second: `2026-12-01 12:00:00`."""
    return moment[:19].replace("T", " ")


def paint_state(state: str) -> str:
    """Return the word of a state in its colour."""
    colour = _COLOURS.get(state)
    return in_one_line(state) if colour is None else style(state, fg=colour)


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(entry) for entry in value)
    return in_one_line(str(value))
