"""Draw two diagrams of benchmarks/spread.py as one SVG, in light or dark colours as the reader's browser prefers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 900, 490
_LEFT, _TOP, _PLOT_WIDTH, _PLOT_HEIGHT, _PANEL = 66, 66, 360, 270, 450
_COLOURS: Final = "abcde"
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif}.paper{fill:#fff}.ink{fill:#243b53}.title{font-weight:600;font-size:14px}"
    ".grid{stroke:#9aa5b1;stroke-opacity:.4}.axis{stroke:#627d98}.line{fill:none;stroke-width:2.5}"
    ".a{stroke:#0b7285}.b{stroke:#d9822b}.c{stroke:#8d4bb8}.d{stroke:#627d98}.e{stroke:#b8405e}"
    "circle.a{fill:#0b7285}circle.b{fill:#d9822b}circle.c{fill:#8d4bb8}circle.d{fill:#627d98}circle.e{fill:#b8405e}"
    "@media (prefers-color-scheme:dark){.paper{fill:#1b232c}.ink{fill:#d9e2ec}"
    ".a{stroke:#3bb3c8}.b{stroke:#f0a04b}.c{stroke:#c08be0}.d{stroke:#9fb3c8}.e{stroke:#e57f9a}"
    "circle.a{fill:#3bb3c8}circle.b{fill:#f0a04b}circle.c{fill:#c08be0}circle.d{fill:#9fb3c8}circle.e{fill:#e57f9a}}"
)


class Diagram(NamedTuple):
    """Lines over numbers of nodes. Lines whose names are in `dashed` are limits."""

    title: str
    unit: str
    nodes: Sequence[int]
    lines: Mapping[str, Sequence[float]]
    is_logarithmic: bool = False
    dashed: frozenset[str] = frozenset()


def draw_picture(description: str, diagrams: Sequence[Diagram]) -> str:
    """Return the SVG of the diagrams, side by side."""
    panels = "\n".join(_draw_diagram(diagram, number * _PANEL) for number, diagram in enumerate(diagrams))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' role="img" aria-label="{escape(description, {chr(34): "&quot;"})}">\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>\n{panels}\n</svg>\n'
    )


def _draw_diagram(diagram: Diagram, offset: int) -> str:
    ticks = _choose_ticks(diagram)
    low, high = ticks[0], ticks[-1]

    def place_value(value: float) -> float:
        part = math.log(value / low) / math.log(high / low) if diagram.is_logarithmic else value / high
        return _TOP + _PLOT_HEIGHT * (1 - part)

    step = (_PLOT_WIDTH - 40) / max(len(diagram.nodes) - 1, 1)
    columns = [offset + _LEFT + 20 + number * step for number in range(len(diagram.nodes))]
    bottom = _TOP + _PLOT_HEIGHT
    scale = " (logarithmic)" if diagram.is_logarithmic else ""
    parts = [
        _text(offset + 14, 26, diagram.title, "title"),
        _text(offset + 14, 48, diagram.unit + scale),
        *(_draw_row(offset + _LEFT, place_value(tick), _show(tick)) for tick in ticks),
        f'<path class="axis" d="M{offset + _LEFT} {bottom}h{_PLOT_WIDTH}"/>',
        *(
            _text(at, bottom + 20, str(nodes), anchor="middle")
            for at, nodes in zip(columns, diagram.nodes, strict=True)
        ),
        _text(offset + _LEFT + _PLOT_WIDTH / 2, bottom + 40, "nodes", anchor="middle"),
        *_draw_lines(diagram, columns, place_value),
        *_draw_legend(diagram, offset),
    ]
    return "\n".join(parts)


def _draw_row(x: float, y: float, label: str) -> str:
    return f'<path class="grid" d="M{x} {y:.1f}h{_PLOT_WIDTH}"/>{_text(x - 8, y + 4, label, anchor="end")}'


def _draw_lines(diagram: Diagram, columns: Sequence[float], place_value: Callable[[float], float]) -> list[str]:
    parts = []
    for colour, (name, values) in zip(_COLOURS, diagram.lines.items(), strict=False):
        points = [(x, place_value(value)) for x, value in zip(columns, values, strict=True)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="6 5"' if name in diagram.dashed else ""
        parts.append(f'<path class="line {colour}"{dashes} d="M{path}"/>')
        if not dashes:
            parts += [f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points]
    return parts


def _draw_legend(diagram: Diagram, offset: int) -> list[str]:
    parts = []
    for number, (colour, name) in enumerate(zip(_COLOURS, diagram.lines, strict=False)):
        x, y = offset + _LEFT - 10, _TOP + _PLOT_HEIGHT + 62 + number * 18
        dashes = ' stroke-dasharray="6 5"' if name in diagram.dashed else ""
        parts.append(f'<path class="line {colour}"{dashes} d="M{x} {y - 4}h26"/>{_text(x + 34, y, name)}')
    return parts


def _text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    classes = f"ink {kind}".strip()
    return f'<text class="{classes}" x="{x:g}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _choose_ticks(diagram: Diagram) -> list[float]:
    """Return the values of the horizontal lines: powers of ten, or about five even steps from 0."""
    values = [value for line in diagram.lines.values() for value in line]
    if diagram.is_logarithmic:
        first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return [10.0**power for power in range(first, max(last, first + 1) + 1)]
    rough = max(values) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [step * number for number in range(math.ceil(max(values) / step) + 1)]


def _show(value: float) -> str:
    return f"{value:,.9g}"
