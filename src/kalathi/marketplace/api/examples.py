"""Recorded exchanges of the documentation, as examples on the page of the API.

`docs/calls/` ships with the package. The tests record its exchanges, so each example is a real request with its answer.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

_EXCHANGE: Final = re.compile(
    r"```\n(?P<method>GET|POST|PUT|PATCH|DELETE) (?P<target>/\S+)\n(?P<request>.*?)```\n+"
    r"```\n(?P<answer>\d{3}\n.*?)```",
    re.DOTALL,
)
_PARAMETER: Final = re.compile(r"\{\w+\}")


class Example(NamedTuple):
    """A request and its answer. `target` is the path with its query; `body` is empty for a request without one."""

    target: str
    body: str
    answer: str


def load_examples(routes: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], Example]:
    """Return the first recorded exchange of each call with an answer of 200 or 201, by method and path; none if the
    documentation is not installed."""
    patterns = [
        (method, path, re.compile(_PARAMETER.sub(r"[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))))
        for method, path in routes
    ]
    found: dict[tuple[str, str], Example] = {}
    for text in _read_pages():
        for exchange in _EXCHANGE.finditer(text):
            if exchange["answer"][:3] not in {"200", "201"}:
                continue
            place = exchange["target"].partition("?")[0]
            for method, path, pattern in patterns:
                if method == exchange["method"] and pattern.fullmatch(place) and (method, path) not in found:
                    body = exchange["request"].partition("\n\n")[2] or exchange["request"]
                    is_json = body.lstrip().startswith(("{", "["))
                    found[method, path] = Example(
                        exchange["target"], body.strip() if is_json else "", exchange["answer"].strip()
                    )
    return found


def _read_pages() -> list[str]:
    # In a wheel the documentation is in the package, in a checkout beside `src`.
    folders: tuple[Traversable, ...] = (resources.files("kalathi") / "docs", Path(__file__).parents[4] / "docs")
    for folder in folders:
        calls = folder / "calls"
        if calls.is_dir():
            pages = sorted((page for page in calls.iterdir() if page.name.endswith(".md")), key=lambda page: page.name)
            return [page.read_text("utf-8") for page in pages]
    return []
