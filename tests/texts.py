"""Finds every text of the pages for Babel's commands (`babel.cfg`): those of the templates, and those of the code.

Many of the code's texts stand beside their facts, far from the pages: the sentences of refusals, operations and
scenarios. So they are not marked for translation; they are collected from their tables.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

import kalathi.marketplace.panel
from kalathi.marketplace.kernel.errors import Refusal
from kalathi.marketplace.kernel.refusals import NotOnOffer
from kalathi.marketplace.orders.operations import OPERATIONS
from kalathi.marketplace.orders.refusals import OrderAlready
from kalathi.marketplace.panel import refusals, wording
from kalathi.marketplace.panel.operator.console import SWITCHES
from kalathi.marketplace.returns.operations import OPERATIONS as RETURN_OPERATIONS
from kalathi.marketplace.returns.refusals import ReturnIs
from kalathi.marketplace.sandbox.scenario import scenarios
from kalathi.marketplace.shops.refusals import BadAddress

PANEL: Final = Path(kalathi.marketplace.panel.__file__).parent
ROOT: Final = Path(__file__).parents[1]
# Refusals with one text for each value of a field.
BY_FIELD: Final[frozenset[type[Refusal]]] = frozenset({OrderAlready, ReturnIs, NotOnOffer, BadAddress})
# Functions of the pages that are called with English sentences.
_SPEAKERS: Final = {"DomainError", "invalid_parameter", "_error_page", "_again"}


Message = str | tuple[str, ...]


def extract_code(
    file: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Mapping[str, Any]
) -> Iterator[tuple[int, str, str, list[str]]]:
    """An extraction method of Babel: yield every text of the code. The file only says when to do so."""
    for text in sorted(_list_texts_of_code()):
        yield 0, "gettext", text, []


def extract_texts() -> Iterator[Message]:
    """Yield every text as Babel's `extract` finds it; of a text with a plural both forms."""
    with (ROOT / "babel.cfg").open("r", encoding="utf-8") as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]  # Babel gives it no types.
    for _, _, message, _, _ in extract_from_dir(PANEL, methods, options):
        yield message if isinstance(message, str) else tuple(message)


def read_catalogue() -> Catalog:
    """Read the Greek texts."""
    with (PANEL / "translations" / "el" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale="el")


def list_refusals(of: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    """All kinds of refusals without kinds of their own."""
    for kind in of.__subclasses__():
        if kind.__module__.startswith("kalathi."):
            yield from list_refusals(kind) if kind.__subclasses__() else (kind,)


def _list_sentences_of_pages() -> Iterator[str]:
    """The sentences that pages say themselves, and the units of time."""
    for path in PANEL.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            own = name in _SPEAKERS or (name == "text" and path.name == "languages.py")
            for part in ast.walk(node) if own else ():
                if isinstance(part, ast.JoinedStr):
                    break
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def _list_texts_of_code() -> set[str]:
    texts: set[str] = {
        *_list_sentences_of_pages(),
        *wording.DONE.values(),
        *wording.FIELDS.values(),
    }
    for table in (refusals.TEXTS, refusals.ALREADY, refusals.CHOICES, refusals.ADDRESSES):
        texts.update(table.values())
    own_sentence = set(list_refusals()) - refusals.TEXTS.keys() - BY_FIELD
    texts |= {kind.SENTENCE for kind in own_sentence}
    texts |= {text for words in wording.KINDS.values() for text in words.values() if text}
    texts |= {switch.sentence for switch in SWITCHES.values()} | {entry.sentence for entry in scenarios().values()}
    texts |= {entry.sentence for entry in OPERATIONS.values()}
    return texts | {entry.sentence for entry in RETURN_OPERATIONS.values()}
