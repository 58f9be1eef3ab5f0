"""Languages of the pages: their choice, their words for dates, and the compiled translation."""

from datetime import date, timedelta
from gettext import GNUTranslations
from importlib import resources
from io import BytesIO

import pytest
from babel.dates import format_date
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from kalathi.marketplace.panel.languages import Language, choose_language, words_of

TRANSLATIONS = resources.files("kalathi.marketplace.panel") / "translations" / "el" / "LC_MESSAGES"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("el", "el"),
        ("el-GR,el;q=0.9,en;q=0.8", "el"),
        ("de, EL-gr;q=0.5", "el"),
        ("en;q=0.3, el;q=0.7", "el"),
        ("el;q=0, en;q=0.1", "en"),
        ("el;q=0", "en"),
        ("fr, *", "en"),
        ("elx", "en"),
        ("el;q=high", "en"),
    ],
)
def test_the_better_of_both_languages_is_chosen(header: str, language: str) -> None:
    assert choose_language(header) is Language(language)


@pytest.mark.parametrize(("language", "locale"), [("el", "el_GR"), ("en", "en_GB")])
def test_dates_are_written_as_the_cldr_has_them(language: str, locale: str) -> None:
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
    words = words_of(Language(language))
    assert [words.day(day) for day in days] == [format_date(day, "EEE d MMM y", locale) for day in days]


def test_the_compiled_translation_is_that_of_the_sources() -> None:
    compiled = BytesIO()
    with (TRANSLATIONS / "messages.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale="el_GR"))
    compiled.seek(0)
    with (TRANSLATIONS / "messages.mo").open("rb") as file:
        assert vars(GNUTranslations(file))["_catalog"] == vars(GNUTranslations(compiled))["_catalog"], (
            "run `make texts`"
        )
