"""Charts as SVG, drawn on the server (W3C SVG 2). Colours are classes of the style sheet, because the pages allow no
inline styles. Screen readers get the table that stands beside each chart, so the drawing itself is hidden from them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup, escape

# On a phone a chart is about 350 pixels wide; with this width its texts are still readable there.
_WIDTH: Final = 480
_HEIGHT: Final = 200
_LEFT: Final = 44
_BOTTOM: Final = 24
_TOP: Final = 8
_LABELS: Final = 6
_BAR: Final = 26
_LONGEST_NAME: Final = 22
_BARS_WIDTH: Final = 400
_NAMES: Final = 160
_TEXTS: Final = 90


class Series(NamedTuple):
    """A row of values with its name, and the class of its colour."""

    name: str
    kind: str
    values: Sequence[float]


def draw_columns(labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Draw a column for each label, with the values of all series on top of each other."""
    totals = [sum(values) for values in zip(*(entry.values for entry in series), strict=True)]
    top = _round_up(max(totals, default=0))
    step = (_WIDTH - _LEFT) / max(1, len(labels))
    width = max(1.0, step * 0.8)
    parts = [_draw_scale(top), _draw_labels(labels, step)]
    for place in range(len(labels)):
        below = 0.0
        for entry in series:
            value = entry.values[place]
            if value:
                height = value / top * _plot_height()
                y = _y(below, top) - height
                x = _LEFT + place * step + (step - width) / 2
                parts.append(
                    f'<rect class="{escape(entry.kind)}" x="{x:.1f}" y="{y:.1f}"'
                    f' width="{width:.1f}" height="{height:.1f}"/>'
                )
                below += value
    return _frame(_WIDTH, _HEIGHT, parts)


def draw_lines(labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Draw each series as a line over the labels."""
    top = _round_up(max((value for entry in series for value in entry.values), default=0))
    step = (_WIDTH - _LEFT) / max(1, len(labels))
    parts = [_draw_scale(top), _draw_labels(labels, step)]
    for entry in series:
        points = " ".join(
            f"{_LEFT + (place + 0.5) * step:.1f},{_y(value, top):.1f}" for place, value in enumerate(entry.values)
        )
        parts.append(f'<polyline class="{escape(entry.kind)}" points="{points}"/>')
    return _frame(_WIDTH, _HEIGHT, parts)


def draw_bars(rows: Sequence[tuple[str, float, str]]) -> Markup:
    """Draw a horizontal bar for each row: its name, its value, and the text beside the bar."""
    top = max((value for _, value, _ in rows), default=0) or 1
    parts = []
    for place, (name, value, text) in enumerate(rows):
        y = place * _BAR
        length = value / top * (_BARS_WIDTH - _NAMES - _TEXTS)
        shown = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        parts.append(
            f'<text x="{_NAMES - 8}" y="{y + 17}" text-anchor="end">{escape(shown)}</text>'
            f'<rect class="bar" x="{_NAMES}" y="{y + 4}" width="{max(1, length):.1f}" height="18"/>'
            f'<text x="{_NAMES + max(1, length) + 6:.1f}" y="{y + 17}">{escape(text)}</text>'
        )
    return _frame(_BARS_WIDTH, max(1, len(rows)) * _BAR, parts)


def _frame(width: int, height: int, parts: Sequence[str]) -> Markup:
    content = "".join(parts)
    # Every text in `parts` is escaped, and the rest are numbers.
    return Markup(  # noqa: S704  (its texts are escaped above)
        f'<svg class="chart" viewBox="0 0 {width} {height}" aria-hidden="true" focusable="false">{content}</svg>'
    )


def _draw_scale(top: float) -> str:
    parts = []
    for part in range(5):
        value = top * part / 4
        y = _y(value, top)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_shorten(value)}</text>'
        )
    return "".join(parts)


def _draw_labels(labels: Sequence[str], step: float) -> str:
    every = max(1, -(-len(labels) // _LABELS))
    return "".join(
        f'<text x="{_LEFT + (place + 0.5) * step:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>'
        for place, label in enumerate(labels)
        if place % every == 0
    )


def _y(value: float, top: float) -> float:
    return _TOP + _plot_height() * (1 - value / top)


def _plot_height() -> int:
    return _HEIGHT - _TOP - _BOTTOM


def _round_up(value: float) -> float:
    """Return the next number whose quarters are easy to read: 4, 8, 20, 40, 80, 200 and so on."""
    top = 4.0
    for factor in (2, 2.5, 2) * 12:
        if top >= value:
            break
        top *= factor
    return top


def _shorten(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
