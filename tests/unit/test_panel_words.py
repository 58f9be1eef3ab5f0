"""Both languages have every text, and values are formatted as their readers expect."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from kalathi.contract.words import OrderState, ReturnState
from kalathi.marketplace.kernel.errors import ErrorCode, Refusal
from kalathi.marketplace.kernel.refusals import NotOnOffer, refuse_shape
from kalathi.marketplace.kernel.targets import BadUrl
from kalathi.marketplace.orders.cart_refusals import TooFewInStock, UnknownListing
from kalathi.marketplace.orders.refusals import OrderAlready
from kalathi.marketplace.panel import refusal_texts, wording
from kalathi.marketplace.panel.languages import Language, choose_language, words_of
from kalathi.marketplace.panel.rendering import local, render
from kalathi.marketplace.returns.refusals import ReturnIs
from kalathi.marketplace.sandbox.refusals import StepRefused
from kalathi.marketplace.shops.refusals import BadAddress
from kalathi.marketplace.warehouse.refusals import BadQuantity
from tests.texts import extract_texts, list_refusals, read_catalogue

GREEK, ENGLISH = words_of(Language.GREEK), words_of(Language.ENGLISH)
NOW = datetime(2026, 11, 24, 8, 0, 7, tzinfo=UTC)
# Shorter texts, such as two names of one state, may share their Greek.
_SENTENCE_LENGTH = 45
_VALUES: dict[str, Any] = {
    "valid": (1, 2),
    "place": 0,
    "most": 5,
    "path": "$.items[0].quantity",
    "text": "Expected `int`, got `str` - at `$.items[0].quantity`",
    "pieces": {"a": 1},
    "close": (),
    "all": ("accept", "reject"),
    "reason": OrderAlready(OrderState.EXPIRED),
}
# The fields that choose the page's text, with all of their values.
_CHOOSING: dict[type[Refusal], dict[str, list[Any]]] = {
    OrderAlready: {"state": [state for state in OrderState if state is not OrderState.OPEN]},
    ReturnIs: {"state": list(ReturnState)},
    NotOnOffer: {"member": [*refusal_texts.CHOICES, "line_items.reason_id", "another"]},
    BadAddress: {"fault": list(BadUrl)},
}


def _examples(kind: type[Refusal]) -> Iterator[Refusal]:
    """A refusal with values for its fields; one for each text where a field chooses the text."""
    fields: dict[str, Any] = {name: _VALUES.get(name, "A 1") for name in kind.__struct_fields__}
    for name, values in _CHOOSING.get(kind, {"": [None]}).items():
        for value in values:
            yield kind(**(fields | ({name: value} if name else {})))


def test_every_text_is_translated_and_no_translation_is_unused() -> None:
    catalogue = {message.id: message.string or "" for message in read_catalogue() if message.id}
    texts = set(extract_texts())
    assert sorted(map(str, texts - catalogue.keys())) == [], "run make texts, and write the Greek"
    assert sorted(map(str, catalogue.keys() - texts)) == [], "run make texts"
    for english, greek in catalogue.items():
        ones = [english] if isinstance(english, str) else list(english)
        others = [greek] if isinstance(greek, str) else list(greek)
        for one, other in zip(ones, others, strict=True):
            assert other, one
            assert set(re.findall(r"%\(\w+\)s|%%", one)) == set(re.findall(r"%\(\w+\)s|%%", other)), one


@pytest.mark.parametrize("kind", sorted(list_refusals(), key=str), ids=lambda kind: kind.__name__)
def test_each_refusal_reads_in_both_languages(kind: type[Refusal]) -> None:
    for refusal in _examples(kind):
        assert refusal.on_the_wire().isprintable()
        english, greek = refusal_texts.render_reason(refusal, ENGLISH), refusal_texts.render_reason(refusal, GREEK)
        assert english
        assert greek
        assert re.search("[α-ω]", greek), (english, greek)
        assert not re.search(r"%\(|[{}]", english + greek)


def test_a_refusal_names_the_pages_fields_and_values() -> None:
    say = refusal_texts.render_reason
    assert say(TooFewInStock("A", 9, 5), ENGLISH) == "Only 5 of A are in stock; 9 were ordered."
    assert say(BadAddress("webhook_url", BadUrl.SCHEME), GREEK).startswith("Διεύθυνση για παραγ")
    assert say(BadQuantity(0, 99), ENGLISH).startswith("Product 1: ")
    assert say(OrderAlready(OrderState.REJECTED), GREEK) == "Η παραγγελία έχει ήδη απορριφθεί."
    step = StepRefused(2, "accept", OrderAlready(OrderState.EXPIRED))
    assert say(step, GREEK) == "Βήμα 2 (accept): Η παραγγελία έχει ήδη λήξει."
    assert str(step) == "step 2 (accept): Order already expired."
    assert say(UnknownListing("S", "100%(x)s {a}"), ENGLISH) == "The shop does not sell 100%(x)s {a}."
    assert str(UnknownListing("S", "100%(x)s {a}")) == "items.shop_uid: shop S has no listing 100%(x)s {a}."


class _Line(Struct):
    quantity: int
    note: Annotated[str, Meta(max_length=3)] = ""


class _Cart(Struct):
    name: str
    items: list[_Line] = []
    payment_method: Literal["card"] = "card"


@pytest.mark.parametrize(
    ("body", "english"),
    [
        ("{}", "Name is missing."),
        ('{"name": 1}', "Name: this value is not valid."),
        ('{"name": "a", "items": [{"quantity": "b"}]}', "Pieces: this value is not valid."),
        ('{"name": "a", "items": [{}]}', "Pieces is missing."),
        ('{"name": "a", "items": [{"quantity": 1, "note": "long"}]}', "note: at most 3 characters are allowed."),
        ('{"name": "a", "payment_method": "\'`- at `$.x`"}', "Payment: this value is not valid."),
    ],
)
def test_a_decoding_error_names_the_field(body: str, english: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(body, type=_Cart)
    error = refuse_shape(str(refused.value))
    assert error.code is ErrorCode.INVALID_PARAMETER
    assert error.messages == (f"{refused.value}.",)
    assert [refusal_texts.render_reason(reason, ENGLISH) for reason in error.reasons] == [english]


def test_every_internal_word_has_a_page_text() -> None:
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
def test_the_preferred_language_is_chosen_from_any_header(header: str, language: str) -> None:
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
        assert ENGLISH.time_left(NOW + span, NOW).replace("\N{NO-BREAK SPACE}", " ") == text


def test_an_address_of_ours_is_linked_without_its_host() -> None:
    assert local("https://market.example/vouchers/a/b.pdf") == "/vouchers/a/b.pdf"
    assert local("//evil.example/x") == "/x"
    assert local("javascript:alert(1)") == "alert%281%29"


def test_an_undefined_name_in_a_template_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("error.html", Language.ENGLISH, {})


def test_a_counted_state_follows_the_plural_rule_of_the_catalogue() -> None:
    assert [GREEK.count("open", "open", number) for number in (0, 1, 13)] == ["ανοιχτές", "ανοιχτή", "ανοιχτές"]
    assert [ENGLISH.count("open", "open", number) for number in (1, 13)] == ["open", "open"]


def test_no_two_sentences_have_the_same_greek() -> None:
    """A Greek sentence that stands for two English ones has overwritten one of them."""
    by_greek: dict[str, list[str]] = {}
    for message in read_catalogue():
        if isinstance(message.id, str) and len(message.id) > _SENTENCE_LENGTH:
            by_greek.setdefault(str(message.string), []).append(message.id.rstrip("."))
    assert {greek: texts for greek, texts in by_greek.items() if len(set(texts)) > 1} == {}
