"""Both languages say everything, and what is no text is written as their readers write it."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import kalathi.marketplace.panel
from kalathi.marketplace.orders.operations import OPERATIONS
from kalathi.marketplace.panel import refusals, wording
from kalathi.marketplace.panel.languages import Language, choose_language, words_of
from kalathi.marketplace.panel.operator.console import SWITCHES
from kalathi.marketplace.panel.rendering import local, render
from kalathi.marketplace.returns.operations import OPERATIONS as RETURN_OPERATIONS
from kalathi.marketplace.sandbox.scenario import scenarios

PANEL = Path(kalathi.marketplace.panel.__file__).parent
GREEK, ENGLISH = words_of(Language.GREEK), words_of(Language.ENGLISH)
NOW = datetime(2026, 11, 24, 8, 0, 7, tzinfo=UTC)
_SPEAKERS = {"DomainError", "invalid_parameter", "_error_page", "_again"}


def _of_templates() -> Iterator[str | tuple[str, ...]]:
    for path in PANEL.rglob("*.html"):
        with path.open("rb") as file:
            for _, function, message, _ in babel_extract(file, ("_", "gettext", "ngettext"), [], {}):
                several = [text for text in (message if isinstance(message, tuple) else (message,)) if text]
                if several:
                    yield tuple(several) if function == "ngettext" else several[0]


def _of_code() -> Iterator[str]:
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


def _texts() -> set[str | tuple[str, ...]]:
    texts: set[str | tuple[str, ...]] = {*_of_templates(), *_of_code(), *wording.DONE.values(), *refusals.SENTENCES}
    texts |= {*refusals.PATTERNS.values(), *wording.FIELDS.values()}
    texts |= {text for words in wording.KINDS.values() for text in words.values() if text}
    texts |= {switch.sentence for switch in SWITCHES.values()} | {entry.sentence for entry in scenarios().values()}
    texts |= {entry.sentence for entry in OPERATIONS.values()}
    return texts | {entry.sentence for entry in RETURN_OPERATIONS.values()}


def test_every_text_has_its_greek_and_no_greek_is_left_over() -> None:
    with (PANEL / "translations/el.po").open("rb") as file:
        catalogue = {message.id: message.string or "" for message in read_po(file, locale="el") if message.id}
    texts = _texts()
    assert sorted(map(str, texts - catalogue.keys())) == []
    assert sorted(map(str, catalogue.keys() - texts)) == []
    for english, greek in catalogue.items():
        ones = [english] if isinstance(english, str) else list(english)
        others = [greek] if isinstance(greek, str) else list(greek)
        for one, other in zip(ones, others, strict=True):
            assert other, one
            assert set(re.findall(r"%\(\w+\)s|%%", one)) == set(re.findall(r"%\(\w+\)s|%%", other)), one


def test_a_refusal_is_said_in_the_readers_words() -> None:
    for sentence, text in refusals.PATTERNS.items():
        names = set(re.findall(r"%\((\w+)\)s", sentence))
        assert set(re.findall(r"%\((\w+)\)s", text)) <= names, sentence
        for words in (GREEK, ENGLISH):
            filled = sentence % dict.fromkeys(names, "100%(x)s")
            assert refusals.said(filled, words) == words.text(text) % dict.fromkeys(names, "100%(x)s"), sentence
    wanted = "items.quantity of A: 9 are wanted, 5 are available."
    assert refusals.said(wanted, ENGLISH) == "Only 5 of A are in stock; 9 were ordered."
    assert refusals.said("webhook_url must begin with http:// or https://.", GREEK).startswith("Διεύθυνση για παραγ")
    assert refusals.said("Object missing required field `name`.", ENGLISH) == "Name is missing."
    assert refusals.said("Expected `int`, got `str` - at `$.items[...].quantity`.", ENGLISH).startswith("Pieces: ")
    assert refusals.said("x" * 100_000 + "%(a)s", GREEK) == "x" * 100_000 + "%(a)s"


def test_every_word_of_the_house_has_its_name_on_pages() -> None:
    for kind, words in wording.KINDS.items():
        assert all(isinstance(text, str) for text in words.values()), kind


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("el", "el"),
        ("el-GR,el;q=0.9,en;q=0.8", "el"),
        ("en-US,en;q=0.9,el;q=0.8", "en"),
        ("en;q=0.3,el;q=0.7", "el"),
        ("de-DE", "en"),
        ("", "en"),
        ("*", "en"),
        ("el;q=0", "en"),
        (";;q=,,=;q=x", "en"),
        ("e" * 100_000, "en"),
    ],
)
def test_the_better_language_is_chosen_from_whatever_a_browser_sends(header: str, language: str) -> None:
    assert choose_language(header) == language


def test_money_times_and_spans_are_written_as_readers_write_them() -> None:
    assert ENGLISH.money(Decimal("1234.5")) == "€1,234.50"
    assert GREEK.money(Decimal("1234.5")).replace("\N{NO-BREAK SPACE}", " ") == "1.234,50 €"
    assert ENGLISH.moment(NOW) == "24 Nov 2026, 10:00"
    assert ENGLISH.instant(NOW) == "24 Nov 2026, 10:00:07"
    assert GREEK.moment(NOW) == "24 Νοε 2026, 10:00"
    assert ENGLISH.day(date(2026, 12, 1)) == "Tue 1 Dec 2026"
    for span, text in (
        (timedelta(0), "0 min"),
        (timedelta(seconds=-5), "0 min"),
        (timedelta(minutes=14), "14 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=23, minutes=59), "23 h 59 min"),
        (timedelta(days=2, hours=3, minutes=9), "2 d 3 h"),
        (timedelta(days=2, minutes=9), "2 d"),
    ):
        assert ENGLISH.left(NOW + span, NOW).replace("\N{NO-BREAK SPACE}", " ") == text


def test_an_address_of_ours_is_linked_without_its_host() -> None:
    assert local("https://market.example/vouchers/a/b.pdf") == "/vouchers/a/b.pdf"
    assert local("//evil.example/x") == "/x"
    assert local("javascript:alert(1)") == "alert%281%29"


def test_a_template_that_names_nothing_is_an_error_and_not_a_blank() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("error.html", Language.ENGLISH, {})
