"""Numbers of a stock source: read in one way, or refused with the reason."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.merchant.stock.quantities import DecimalSign, UnreadableNumberError, read_price, read_quantity


@pytest.mark.parametrize(
    ("told", "pieces"),
    [
        ("5", 5),
        (" 5 ", 5),
        ("5.0", 5),
        ("5,00", 5),
        ("+5", 5),
        ("007", 7),
        ("0", 0),
        ("0,000", 0),
        ("-3", 0),
        ("-3,00", 0),
        ("1.000,00", 1000),
        ("1,000.00", 1000),
        ("1.000.000", 1_000_000),
        ("1,000,000", 1_000_000),
        ("1.000.000,00", 1_000_000),
        ("1 000", 1000),
        ("1\u00a0000", 1000),
        ("1\u202f000,00", 1000),
        ("\u00a05\u00a0", 5),
        ("1000.000", 1000),
        ("5.0000", 5),
        (5, 5),
        (-2, 0),
        (5.0, 5),
        (1000.0, 1000),
        (Decimal("5.000"), 5),
        (Decimal("1E+3"), 1000),
        (b"5", 5),
    ],
)
def test_an_unambiguous_quantity_is_read(told: Any, pieces: int) -> None:
    assert read_quantity(told) == pieces


@pytest.mark.parametrize("told", ["1.000", "1,000", "12.500", "100,000", "-1.000", " 1.000 "])
def test_an_ambiguous_quantity_is_refused_and_names_the_setting(told: str) -> None:
    with pytest.raises(UnreadableNumberError, match=r"may mean .* or .*--stock-decimal"):
        read_quantity(told)


@pytest.mark.parametrize(
    ("told", "sign", "pieces"),
    [
        ("1.000", ".", 1),
        ("1.000", ",", 1000),
        ("1,000", ".", 1000),
        ("1,000", ",", 1),
        ("1.000,00", ",", 1000),
        ("1,000.00", ".", 1000),
        ("5", ",", 5),
        ("5,00", ",", 5),
    ],
)
def test_the_setting_chooses_the_decimal_sign(told: str, sign: DecimalSign, pieces: int) -> None:
    assert read_quantity(told, sign) == pieces


@pytest.mark.parametrize(("told", "sign"), [("1.000,00", "."), ("1,000.00", ","), ("5,00", "."), ("5.0", ",")])
def test_a_number_that_contradicts_the_setting_is_refused(told: str, sign: DecimalSign) -> None:
    with pytest.raises(UnreadableNumberError, match="--stock-decimal"):
        read_quantity(told, sign)


@pytest.mark.parametrize(
    "told",
    [
        *(
            "many",
            "",
            "   ",
            "NaN",
            "nan",
            "inf",
            "-inf",
            "1e3",
            "1E3",
            "0x10",
            "1_000",
            "5 pcs",
            "5-",
            "(5)",
            "--5",
            "+-5",
        ),
        *("1.5", "0,5", "1 5", "10 00", "1.00.000", "1,00.000", "1.000,000.00", ".", ",", "+", "٥", "½", "99999999999"),
        *("=5", "'5", "true", "9" * 5000, "1\x00"),
        *(True, False, None, 1.5, float("nan"), float("inf"), Decimal("NaN"), Decimal("0.5"), 10**12, [5], {"n": 5}),
    ],
)
def test_an_invalid_quantity_is_refused(told: Any) -> None:
    with pytest.raises(UnreadableNumberError):
        read_quantity(told)


@pytest.mark.parametrize(
    ("told", "price"),
    [
        ("10.40", "10.40"),
        ("10,4", "10.4"),
        ("12,50 €", "12.50"),
        ("€12.50", "12.50"),
        ("12,50\u00a0EUR", "12.50"),
        ("1.299,00", "1299.00"),
        ("1,299.00", "1299.00"),
        (".5", "0.5"),
        ("0.500", "0.5"),
        (10.4, "10.4"),
        (Decimal("10.400"), "10.4"),
        ("0", "0"),
    ],
)
def test_a_price_is_read_in_the_same_way_and_may_have_a_euro_sign(told: Any, price: str) -> None:
    assert read_price(told) == Decimal(price)


@pytest.mark.parametrize("told", [None, "", "  "])
def test_a_missing_price_is_no_error(told: str | None) -> None:
    assert read_price(told) is None


@pytest.mark.parametrize("told", ["cheap", "NaN", "1.299", "-1", "€", "12.50 $", True, float("nan"), float("inf")])
def test_an_invalid_price_is_refused(told: Any) -> None:
    with pytest.raises(UnreadableNumberError):
        read_price(told)


@given(st.integers(0, 10**8), st.sampled_from([".", ","]), st.booleans(), st.sampled_from(["", "0", "00", "000"]))
def test_every_way_to_write_a_number_with_a_known_sign_gives_that_number(
    number: int, sign: DecimalSign, is_grouped: bool, fraction: str
) -> None:
    other = "," if sign == "." else "."
    text = (f"{number:,}".replace(",", other) if is_grouped else str(number)) + (sign + fraction if fraction else "")
    assert read_quantity(text, sign) == number
    try:
        assert read_quantity(text) == number, "without the setting it is the same number or none"
    except UnreadableNumberError as error:
        assert "may mean" in str(error)


@given(st.one_of(st.text(), st.text("0123456789.,+- \u00a0€", max_size=12)))
def test_no_text_raises_another_error(text: str) -> None:
    for read in (read_quantity, read_price):
        try:
            read(text)
        except UnreadableNumberError as error:
            assert len(str(error)) < 300
