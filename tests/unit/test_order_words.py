"""The words under which an order is found: accents, case and the final sigma do not matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.marketplace.orders.search.words import mark_courier, read_search, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Γιώργος ΓΙΩΡΓΟΣ γιωργοσ", ["γιωργοσ"] * 3),
        ("Παπαδοπούλου-Νικολάου", ["παπαδοπουλου", "νικολαου"]),
        ("Προϊόν ΑΫΛΟ", ["προιον", "αυλο"]),
        ("SKU_12/ab-7", ["sku", "12", "ab", "7"]),
        ("260930-1234567", ["260930", "1234567"]),
        ("İstanbul STRASSE straße", ["istanbul", "strasse", "strasse"]),
        ("ﬁ ①", ["fi", "1"]),
        ("!? = .", []),
        ("", []),
    ],
)
def test_a_text_is_split_into_plain_words(text: str, words: list[str]) -> None:
    assert list(split_words(text)) == words


@given(st.text(max_size=60))
def test_every_way_to_write_a_text_has_the_same_words(text: str) -> None:
    words = split_words(text)
    assert split_words(" ".join(words)) == words
    assert all("=" not in word and word != "?" for word in words)


def test_a_search_has_at_most_eight_words_and_each_once() -> None:
    assert read_search("a a B") == ("a", "b")
    assert len(read_search(" ".join(f"w{number}" for number in range(50)))) == 8
    assert read_search(mark_courier("ACS")) == ("courier", "acs")
