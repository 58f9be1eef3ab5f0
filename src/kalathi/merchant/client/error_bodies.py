"""Read the sentences of a refusal from the contract's envelope, from a body of similar shape, or from a web page.

The status decides the class of the refusal (`failures.py`). The body contains the reason for a person. So the reason is
read from bodies of other shapes too.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final

import msgspec

from kalathi.contract.errors import ErrorEntry

_UNKNOWN: Final = "unknown"
_LONGEST_TEXT: Final = 200
_LONGEST_TITLE: Final = 80
_MOST_ENTRIES: Final = 100
_CODES: Final = ("code", "error_code", "type")
_SENTENCES: Final = ("messages", "message", "detail", "description", "error_description", "error", "title")
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def read_entries(body: bytes) -> list[ErrorEntry]:
    """Return the codes and sentences of a refusal's body, at least one entry. A missing code is `unknown`."""
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        content = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [ErrorEntry(code=_UNKNOWN, messages=_plain(text))]
    entries = list(_entries(content))[:_MOST_ENTRIES]
    return entries or [ErrorEntry(code=_UNKNOWN, messages=[])]


def _entries(content: Any) -> Iterator[ErrorEntry]:
    """The errors of a document: under `errors` or `error`, or the document itself."""
    if isinstance(content, dict):
        inner = next((content[name] for name in ("errors", "error") if content.get(name)), None)
        if isinstance(inner, dict) and not _is_entry(inner):
            # Sentences by field name: {"errors": {"pickup_window": ["is not valid"]}}.
            yield from (ErrorEntry(code=str(name), messages=_sentences(value)) for name, value in inner.items())
        elif isinstance(inner, list):
            yield from (_entry(entry) for entry in inner if entry is not None)
        else:
            yield _entry(content if inner is None or isinstance(inner, str) else inner)
    elif isinstance(content, list):
        yield from (_entry(entry) for entry in content if entry is not None)
    elif content is not None:
        yield _entry(content)


def _is_entry(value: dict[str, Any]) -> bool:
    return any(name in value for name in (*_CODES, *_SENTENCES))


def _entry(value: Any) -> ErrorEntry:
    if not isinstance(value, dict):
        return ErrorEntry(code=_UNKNOWN, messages=_sentences(value))
    code = next((value[name] for name in _CODES if isinstance(value.get(name), str | int)), _UNKNOWN)
    told = next((found for name in ("errors", *_SENTENCES) if (found := _sentences(value.get(name)))), [])
    return ErrorEntry(code=str(code), messages=told)


def _sentences(value: Any) -> list[str]:
    """Return every text in the value, in order."""
    if value is None:
        return []
    if isinstance(value, list):
        return [sentence for entry in value for sentence in _sentences(entry)]
    if isinstance(value, dict):
        return [sentence for entry in value.values() for sentence in _sentences(entry)]
    return [str(value)] if str(value) else []


def _plain(text: bytes) -> list[str]:
    """Return the beginning of a plain text. For a web page, for example of a proxy in front of the marketplace, return
    only its title."""
    shown = text.decode("utf-8", "replace")
    if text.startswith(b"<"):
        found = _TITLE.search(shown)
        title = " ".join(unescape(found[1]).split())[:_LONGEST_TITLE] if found else ""
        return [f'a web page instead of an answer ("{title}")' if title else "a web page instead of an answer"]
    return [shown[:_LONGEST_TEXT]] if shown else []
