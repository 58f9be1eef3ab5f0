"""Keep the figures of `make bench` as JSON, and draw them as one picture for docs/performance.md."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

_ROOT: Final = Path(__file__).parents[1]
_JSON: Final = _ROOT / "benchmarks" / "figures.json"
_PICTURE: Final = _ROOT / "docs" / "pictures" / "performance.svg"


class Bar(NamedTuple):
    """A bar: its label, and the figure and the column that have its rate. Its kind decides the colour."""

    label: str
    figure: str
    column: str
    kind: str


_PANELS: Final[Mapping[str, Sequence[Bar]]] = {
    "Webhooks a second, one worker": (
        Bar("bare loop of our sender", "Deliveries on SQLite / bare sender", "sender/s", "floor"),
        Bar("bare aiohttp loop", "Deliveries on SQLite / bare aiohttp", "aiohttp/s", "floor"),
        Bar("Kalathi on SQLite", "Deliveries on SQLite / bare aiohttp", "ours/s", "ours"),
        Bar("Kalathi on PostgreSQL", "Deliveries on PostgreSQL / bare aiohttp", "ours/s", "ours"),
        Bar(
            "Celery, Redis and requests",
            "Deliveries on SQLite / Celery with Redis and requests",
            "Celery/s",
            "peer",
        ),
    ),
    "GET of an order a second": (
        Bar("bare ASGI", "GET of an order / bare ASGI", "bare/s", "floor"),
        Bar("Kalathi", "GET of an order / bare ASGI", "ours/s", "ours"),
        Bar("Mockoon, a fixed body", "GET of an order / Mockoon", "theirs/s", "peer"),
        Bar("Prism with this API", "GET of an order / Prism", "theirs/s", "peer"),
    ),
    "Accepts a second, durable, 32 callers": (
        Bar("bare sqlite3 driver", "Accepts over HTTP / bare driver", "bare/s", "floor"),
        Bar("Kalathi on SQLite", "Accepts over HTTP / bare driver", "ours/s", "ours"),
        Bar("Kalathi on PostgreSQL", "Accepts on PostgreSQL / on SQLite", "PostgreSQL/s", "ours"),
    ),
}
_COLOURS: Final = {"floor": "#9aa5b1", "ours": "#0b7285", "peer": "#d9822b"}
_WIDTH, _LABEL, _ROW, _HEAD = 760, 210, 24, 34


class Figures:
    """The figures of this run, over those of earlier runs."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = json.loads(_JSON.read_text("utf-8")) if _JSON.exists() else {}

    def keep(self, name: str, ratios: Sequence[float], columns: Mapping[str, Sequence[float]]) -> None:
        """Keep a figure: the ratio of each pair, and the values of each column."""
        self._kept[name] = {
            "ratio": round(statistics.median(ratios), 3),
            "from": round(min(ratios), 3),
            "to": round(max(ratios), 3),
            "medians": {column: float(f"{statistics.median(values):.5g}") for column, values in columns.items()},
        }

    def save(self) -> None:
        """Write the JSON and the picture."""
        _JSON.write_text(json.dumps(self._kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
        _PICTURE.write_text(self._draw(), "utf-8")

    def _draw(self) -> str:
        parts: list[str] = []
        top = 8
        for title, bars in _PANELS.items():
            known = [
                (bar, self._kept[bar.figure]["medians"][bar.column])
                for bar in bars
                if bar.column in self._kept.get(bar.figure, {}).get("medians", {})
            ]
            if not known:
                continue
            parts.append(f'<text x="8" y="{top + 18}" class="title">{escape(title)}</text>')
            top += _HEAD
            longest = max(rate for _, rate in known)
            for bar, rate in known:
                width = rate / longest * (_WIDTH - _LABEL - 80)
                parts.append(
                    f'<text x="{_LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(bar.label)}</text>'
                    f'<rect x="{_LABEL}" y="{top + 3}" width="{width:.1f}" height="16" fill="{_COLOURS[bar.kind]}"/>'
                    f'<text x="{_LABEL + width + 6:.1f}" y="{top + 15}">{rate:,.0f}</text>'
                )
                top += _ROW
            top += 10
        style = "text{font:13px system-ui,sans-serif;fill:#243b53}.title{font-weight:600;font-size:14px}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" role="img"'
            ' aria-label="Rates of Kalathi, of the floors below it, and of other programs">'
            f'<style>{style}</style><rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
        )
