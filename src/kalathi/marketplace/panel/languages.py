"""Greek and English: the choice of a language, and how it writes texts, money and times.

Texts are English in the code and the templates; `translations/el` has the Greek. Times are shown in Athens.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from io import BytesIO
from typing import Final

from babel import Locale, negotiate_locale
from babel.dates import format_date, get_month_names
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from kalathi.contract.orders import PickupWindow
from kalathi.marketplace.kernel.clock import ATHENS

_NBSP: Final = "\N{NO-BREAK SPACE}"


class Language(StrEnum):
    """A language of the pages, by its code."""

    GREEK = "el"
    ENGLISH = "en"


NAMES: Final[Mapping[Language, str]] = {Language.GREEK: "Ελληνικά", Language.ENGLISH: "English"}
# English as it is written in Europe: the day before the month.
_LOCALES: Final = {Language.GREEK: Locale("el", "GR"), Language.ENGLISH: Locale("en", "GB")}


def choose_language(accept_language: str) -> Language:
    """Choose the better of the two by an `Accept-Language` header (RFC 9110, 12.5.4); English if it names neither."""
    weighed: list[tuple[float, str]] = []
    for part in accept_language[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighed.append((float(weight or 1), tag.strip()))
        except ValueError:
            continue
    tags = [tag for weight, tag in sorted(weighed, key=lambda entry: -entry[0]) if tag and weight > 0]
    found = negotiate_locale(tags, [language.value for language in Language], sep="-")
    return Language(found) if found else Language.ENGLISH


class Words:
    """One language: its texts, and its forms of numbers, money and times."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._locale = _LOCALES[language]
        self._translations = _load_translations(language)
        # The library's own formatting of an amount or a moment takes 20 to 60 µs, and a list has hundreds of them.
        self._months = get_month_names("abbreviated", locale=self._locale)
        self._separators = str.maketrans(",.", ".,") if language is Language.GREEK else {}

    def text(self, english: str) -> str:
        """Return the text in this language, or in English without a translation."""
        return self._translations.gettext(english) if english else ""

    def count(self, one: str, many: str, number: int) -> str:
        """The form of a text that goes with a number; `%(num)s` in it is not replaced here."""
        return self._translations.ngettext(one, many, number)

    def day(self, day: date) -> str:
        """`Tue 24 Nov 2026`"""
        return format_date(day, "EEE d MMM y", self._locale)

    def window(self, window: PickupWindow) -> str:
        """`Tue 24 Nov 2026, 09:00–12:00`, in Athens."""
        start, end = window.start.astimezone(ATHENS), window.end.astimezone(ATHENS)
        return f"{self.day(start.date())}, {start:%H:%M}–{end:%H:%M}"

    def time_left(self, until: datetime, now: datetime) -> str:
        """Return the time left in its two largest units, such as `2 d 3 h` or `14 min`; `0 min` if it is over."""
        minutes = max(0, int((until - now) / timedelta(minutes=1)))
        days, rest = divmod(minutes, 24 * 60)
        hours, minutes = divmod(rest, 60)
        parts = ((days, self.text("d")), (hours, self.text("h")), (minutes, self.text("min")))
        first = next((place for place, (number, _) in enumerate(parts) if number), 2)
        shown = [f"{number}{_NBSP}{unit}" for number, unit in parts[first : first + 2] if number]
        return _NBSP.join(shown) or f"0{_NBSP}{self.text('min')}"

    def money(self, amount: Decimal) -> str:
        """`€1,234.50` or `1.234,50 €`"""
        number = f"{amount:,.2f}".translate(self._separators)
        return f"{number}{_NBSP}€" if self._separators else f"€{number}"

    def moment(self, moment: datetime) -> str:
        """`24 Nov 2026, 10:00`, in Athens."""
        local = moment.astimezone(ATHENS)
        return f"{local.day} {self._months[local.month]} {local.year}, {local.hour:02d}:{local.minute:02d}"

    def instant(self, moment: datetime) -> str:
        """`24 Nov 2026, 10:00:07`, in Athens."""
        return f"{self.moment(moment)}:{moment.second:02d}"


@cache
def words_of(language: Language) -> Words:
    """The language's words; read once."""
    return Words(language)


def _load_translations(language: Language) -> NullTranslations:
    """Read the catalogue as gettext does, with its own rule of plurals. English needs none."""
    if language is Language.ENGLISH:
        return NullTranslations()
    path = resources.files(__package__) / "translations" / language / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=_LOCALES[language])
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)
