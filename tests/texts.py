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
from kalathi.marketplace.panel import form_names, refusal_texts, wording
from kalathi.marketplace.panel.field_names import FIELDS
from kalathi.marketplace.panel.operator.console import SWITCHES
from kalathi.marketplace.returns.operations import OPERATIONS as RETURN_OPERATIONS
from kalathi.marketplace.returns.refusals import ReturnIs
from kalathi.marketplace.sandbox.scenario import scenarios
from kalathi.marketplace.shops.refusals import BadAddress

PANEL: Final = Path(kalathi.marketplace.panel.__file__).parent
ROOT: Final = Path(__file__).parents[1]
# Refusals with one text for each value of a field.
BY_FIELD: Final[frozenset[type[Refusal]]] = frozenset({OrderAlready, ReturnIs, NotOnOffer, BadAddress})
Message = str | tuple[str, ...]


def extract_code(
    file: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Mapping[str, Any]
) -> Iterator[tuple[int, str, Message, list[str]]]:
    """An extraction method of Babel: yield every text of the code. The file only says when to do so."""
    for text in sorted(_list_texts_of_code()):
        yield 0, "gettext", text, []
    for text in sorted({text for words in wording.COUNTED.values() for text in words.values()}):
        yield 0, "ngettext", (text, text), []


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


def _list_units() -> Iterator[str]:
    """Yield the units of time, which languages.py looks up by themselves."""
    for node in ast.walk(ast.parse((PANEL / "languages.py").read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "text":
            yield from (str(part.value) for part in node.args if isinstance(part, ast.Constant))


def _list_texts_of_code() -> set[str]:
    texts: set[str] = {
        *_list_units(),
        *wording.DONE.values(),
        *FIELDS.values(),
        *form_names.FORMS.values(),
        *form_names.WORDS.values(),
    }
    for table in (refusal_texts.TEXTS, refusal_texts.ALREADY, refusal_texts.CHOICES, refusal_texts.ADDRESSES):
        texts.update(table.values())
    own_sentence = set(list_refusals()) - refusal_texts.TEXTS.keys() - BY_FIELD
    texts |= {kind.SENTENCE for kind in own_sentence}
    texts |= {text for words in wording.KINDS.values() for text in words.values() if text}
    texts |= {switch.sentence for switch in SWITCHES.values()} | {entry.sentence for entry in scenarios().values()}
    texts |= {entry.sentence for entry in OPERATIONS.values()}
    return texts | {entry.sentence for entry in RETURN_OPERATIONS.values()}
