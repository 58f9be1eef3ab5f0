"""Greek and English: the choice of a language, and how it writes texts, money and times.

Texts are English in the code and the templates; `translations/el` has the Greek, which `make texts` compiles. Times are
shown in Athens.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from typing import Final

from kalathi.contract.orders import PickupWindow
from kalathi.marketplace.kernel.clock import ATHENS

_NBSP: Final = "\N{NO-BREAK SPACE}"


class Language(StrEnum):
    """A language of the pages, by its code."""

    GREEK = "el"
    ENGLISH = "en"


NAMES: Final[Mapping[Language, str]] = {Language.GREEK: "Ελληνικά", Language.ENGLISH: "English"}
_CODES: Final = frozenset(language.value for language in Language)
# As in the CLDR, the common collection of such words, for Greek and for the English of Europe; a test compares.
_MONTHS: Final[Mapping[Language, Sequence[str]]] = {
    Language.GREEK: ["Ιαν", "Φεβ", "Μαρ", "Απρ", "Μαΐ", "Ιουν", "Ιουλ", "Αυγ", "Σεπ", "Οκτ", "Νοε", "Δεκ"],
    Language.ENGLISH: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec"],
}
_WEEKDAYS: Final[Mapping[Language, Sequence[str]]] = {
    Language.GREEK: ["Δευ", "Τρί", "Τετ", "Πέμ", "Παρ", "Σάβ", "Κυρ"],
    Language.ENGLISH: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
}


def choose_language(accept_language: str) -> Language:
    """Choose the better of the two by an `Accept-Language` header (RFC 9110, 12.5.4); English if it names neither."""
    weighed: list[tuple[float, str]] = []
    for part in accept_language[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighed.append((float(weight or 1), tag.strip()))
        except ValueError:
            continue
    for quality, wanted in sorted(weighed, key=lambda entry: -entry[0]):
        language = wanted.partition("-")[0].lower()
        if quality > 0 and language in _CODES:
            return Language(language)
    return Language.ENGLISH


class Words:
    """One language: its texts, and its forms of numbers, money and times."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._translations = _load_translations(language)
        self._months, self._weekdays = _MONTHS[language], _WEEKDAYS[language]
        self._separators = str.maketrans(",.", ".,") if language is Language.GREEK else {}

    def text(self, english: str) -> str:
        """Return the text in this language, or in English without a translation."""
        return self._translations.gettext(english) if english else ""

    def count(self, one: str, many: str, number: int) -> str:
        """The form of a text that goes with a number; `%(num)s` in it is not replaced here."""
        return self._translations.ngettext(one, many, number)

    def day(self, day: date) -> str:
        """`Tue 24 Nov 2026`"""
        return f"{self._weekdays[day.weekday()]} {day.day} {self._months[day.month - 1]} {day.year}"

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

    def whole(self, number: int) -> str:
        """`10,000` or `10.000`"""
        return f"{number:,}".translate(self._separators)

    def money(self, amount: Decimal) -> str:
        """`€1,234.50` or `1.234,50 €`"""
        number = f"{amount:,.2f}".translate(self._separators)
        return f"{number}{_NBSP}€" if self._separators else f"€{number}"

    def moment(self, moment: datetime) -> str:
        """`24 Nov 2026, 10:00`, in Athens."""
        local = moment.astimezone(ATHENS)
        return f"{local.day} {self._months[local.month - 1]} {local.year}, {local.hour:02d}:{local.minute:02d}"

    def short_moment(self, moment: datetime, now: datetime) -> str:
        """Return the moment without its year if that is the present one: `24 Nov, 10:00`."""
        local = moment.astimezone(ATHENS)
        if local.year != now.astimezone(ATHENS).year:
            return self.moment(moment)
        return f"{local.day} {self._months[local.month - 1]}, {local.hour:02d}:{local.minute:02d}"

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
    path = resources.files(__package__) / "translations" / language / "LC_MESSAGES" / "messages.mo"
    with path.open("rb") as file:
        return GNUTranslations(file)
