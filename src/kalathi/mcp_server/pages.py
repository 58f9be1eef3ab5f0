"""The pages of the documentation: search, and read.

An installed Kalathi has them in its package (pyproject.toml). In a checkout they are in the folder docs/ beside src/.
They describe the installed version; a marketplace at another address can have another one.
"""

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import kalathi
from kalathi.mcp_server.answers import LIMITS
from kalathi.mcp_server.tool import Arguments, CallOperator, Tool, ToolError, make_schema

_PACKAGE: Final = Path(kalathi.__file__).parent
_FOLDERS: Final = ("", "calls")
_HEADING: Final = re.compile(r"#+ (.+)")
_MARKUP: Final = re.compile(r"<!--.*?-->\n?|<a id=[^>]*></a>|!\[[^\]]*\]\([^)]*\)\n?")
_MOST_FOUND: Final = 8
_EXCERPT_CHARACTERS: Final = 400
# Each word in the text adds less than 1 times its rarity, and a word in the heading adds this much.
_HEADING_WEIGHT: Final = 0.7
# A longer text would be cut in the answer.
PIECE_CHARACTERS: Final = LIMITS[0].characters


class Section(NamedTuple):
    """A heading of a page with the text below it. `offset` is the position of the heading in the page."""

    page: str
    heading: str
    text: str
    offset: int


def find_folder(package: Path) -> Path | None:
    """Return the folder of the pages that belong to this package, or None if there is none."""
    if (package / "docs").is_dir():
        return package / "docs"
    root = package.parent.parent
    is_checkout = package.parent.name == "src" and (root / "pyproject.toml").is_file()
    return root / "docs" if is_checkout and (root / "docs").is_dir() else None


@cache
def load_pages() -> dict[str, str]:
    """Return the text of each page by its name, such as `calls/answering`; none if this installation has no pages."""
    folder = find_folder(_PACKAGE)
    if folder is None:
        return {}
    files = [path for name in _FOLDERS for path in sorted((folder / name).glob("*.md"))]
    return {
        path.relative_to(folder).with_suffix("").as_posix(): _MARKUP.sub("", path.read_text("utf-8")) for path in files
    }


def sections_of(page: str, text: str) -> Iterator[Section]:
    """Divide a page at its headings. A line of a code block is no heading."""
    offset = start = 0
    heading, is_code = page, False
    for line in text.splitlines(keepends=True):
        is_code ^= line.startswith("```")
        found = None if is_code else _HEADING.match(line)
        if found:
            if text[start:offset].strip():
                yield Section(page, heading, text[start:offset], start)
            heading, start = found[1].strip(), offset
        offset += len(line)
    yield Section(page, heading, text[start:], start)


def search_pages(query: str) -> list[dict[str, Any]]:
    """Return the sections that fit the words of the query best."""
    words = list(dict.fromkeys(re.findall(r"\w+", query.lower())))
    sections = [section for page, text in load_pages().items() for section in sections_of(page, text)]
    scores = _rank(sections, words)
    best = sorted(range(len(sections)), key=scores.__getitem__, reverse=True)[:_MOST_FOUND]
    return [
        {
            "page": section.page,
            "heading": section.heading,
            "offset": section.offset,
            "excerpt": _excerpt(section.text, words),
        }
        for section in (sections[index] for index in best if scores[index])
    ]


def _rank(sections: list[Section], words: list[str]) -> list[float]:
    """Return each section's score (BM25): rare words count more than frequent ones, and short sections with a word more
    than long ones."""
    texts = [f"{section.page}\n{section.text}".lower() for section in sections]
    usual_length = sum(map(len, texts)) / max(1, len(texts))
    scores = [0.0] * len(sections)
    for word in words:
        counts = [text.count(word) for text in texts]
        rarity = math.log(len(texts) / max(1, sum(map(bool, counts))))
        for index, (section, text, count) in enumerate(zip(sections, texts, counts, strict=True)):
            damped = count / (count + 0.3 + 0.9 * len(text) / usual_length)
            scores[index] += rarity * (damped + _HEADING_WEIGHT * (word in section.heading.lower()))
    return scores


def _excerpt(text: str, words: list[str]) -> str:
    """Return the part of the section around its first word of the query."""
    lower = text.lower()
    first = min((place for word in words if (place := lower.find(word)) >= 0), default=0)
    start = max(0, first - _EXCERPT_CHARACTERS // 4)
    return text[start : start + _EXCERPT_CHARACTERS].strip()


async def _search(arguments: Arguments, _call: CallOperator) -> Any:
    _check_pages()
    return {"sections": search_pages(arguments["query"])}


async def _read(arguments: Arguments, _call: CallOperator) -> Any:
    _check_pages()
    page, offset = arguments["page"], arguments.get("offset", 0)
    text = load_pages().get(page)
    if text is None:
        raise ToolError(f"There is no page {page}. The pages are {', '.join(load_pages())}.")
    end = offset + PIECE_CHARACTERS
    return {
        "page": page,
        "text": text[offset:end],
        "characters": len(text),
        "next_offset": end if end < len(text) else None,
    }


def _check_pages() -> None:
    if not load_pages():
        raise ToolError("This installation of Kalathi has no pages. Read the folder docs of its repository.")


SEARCH_PAGES: Final = Tool(
    "search_docs",
    "Search Kalathi's documentation: the contract of the merchants' API and its webhooks, errors, the life of orders"
    " and returns, the sandbox, commands. The answer has sections; read_docs reads a page from a section's offset.",
    make_schema(
        {"query": {"type": "string", "pattern": r"\w", "maxLength": 200, "description": "A few words."}}, ["query"]
    ),
    _search,
)
READ_PAGE: Final = Tool(
    "read_docs",
    f"Read a page of Kalathi's documentation, at most {PIECE_CHARACTERS:,} characters at once. With `next_offset` in"
    " the answer, the page goes on there. The page README lists all pages.",
    make_schema(
        {
            "page": {
                "type": "string",
                "maxLength": 100,
                "description": "The page, such as contract or calls/answering.",
            },
            "offset": {"type": "integer", "minimum": 0, "description": "The first character; by default 0."},
        },
        ["page"],
    ),
    _read,
)
