"""Time, working days, ids, money and settings."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.marketplace.kernel.calendar import add_working_days, is_working_day, working_days_from
from kalathi.marketplace.kernel.clock import BusinessClock, after, athens, from_millis, to_millis
from kalathi.marketplace.kernel.ids import opaque_id, order_code, scramble
from kalathi.marketplace.kernel.money import as_amount, as_rate, commission_of
from kalathi.marketplace.kernel.settings import Settings, read_settings, setting_fields


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2026, 7, 1, 9, 0, 0, 999_999, tzinfo=UTC), "2026-07-01T12:00:00+03:00"),
        (datetime(2026, 12, 1, 9, 0, tzinfo=UTC), "2026-12-01T11:00:00+02:00"),
        (datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC), "2026-10-25T03:59:59+03:00"),
        (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), "2026-10-25T03:00:00+02:00"),
    ],
)
def test_athens_time_has_the_offset_of_its_instant_and_whole_seconds(moment: datetime, shown: str) -> None:
    assert athens(moment).isoformat() == shown


def test_a_day_later_is_24_hours_even_when_the_clocks_change() -> None:
    before = athens(datetime(2026, 10, 24, 12, 0, tzinfo=UTC))
    assert (after(before, timedelta(hours=24)) - before).total_seconds() == 86_400
    assert after(before, timedelta(hours=24)).isoformat() == "2026-10-25T14:00:00+02:00"


@given(st.integers(0, 4_000_000_000_000))
def test_the_columns_milliseconds_survive_the_round_trip(millis: int) -> None:
    assert abs(to_millis(from_millis(millis)) - millis) <= 1


def test_business_time_runs_on_from_real_time_by_its_offset() -> None:
    real = [1_000]
    clock = BusinessClock(500, lambda: real[0])
    assert clock.now_millis() == 1_500
    real[0] += 10
    assert clock.now_millis() == 1_510
    real[0] -= 1_000
    assert clock.now_millis() == 1_510, "never back, also when the machine's clock is set back"


@pytest.mark.parametrize(
    ("day", "works"),
    [
        (date(2026, 11, 24), True),
        (date(2026, 11, 28), False),  # Saturday
        (date(2026, 3, 25), False),  # Independence Day
        (date(2026, 10, 28), False),  # Ohi Day
        (date(2026, 4, 13), False),  # Orthodox Easter Monday
        (date(2026, 4, 6), True),  # the western one is no holiday here
        (date(2026, 12, 25), False),
    ],
)
def test_working_days_leave_out_weekends_and_greek_holidays(day: date, works: bool) -> None:
    assert is_working_day(day) is works


def test_working_days_are_counted_over_weekends_and_holidays() -> None:
    assert add_working_days(date(2026, 12, 23), 2) == date(2026, 12, 28)
    assert working_days_from(date(2026, 11, 27), 2) == (date(2026, 11, 27), date(2026, 11, 30))


@given(st.sets(st.integers(0, 9_999_999), min_size=2, max_size=50), st.binary(min_size=1, max_size=64))
def test_scrambling_is_a_bijection_of_seven_digits(numbers: set[int], key: bytes) -> None:
    scrambled = {scramble(number, key) for number in numbers}
    assert len(scrambled) == len(numbers)
    assert all(0 <= number < 10_000_000 for number in scrambled)


def test_consecutive_codes_reveal_neither_volume_nor_order() -> None:
    codes = [order_code(date(2026, 11, 24), number, b"key") for number in range(2000)]
    assert len(set(codes)) == 2000
    assert all(code.startswith("261124-") and len(code) == 14 for code in codes)
    steps = {abs(int(b[7:]) - int(a[7:])) for a, b in pairwise(codes)}
    assert len(steps) > 1900


def test_two_installations_have_other_codes_for_the_same_numbers() -> None:
    """Knowing the source code must not reveal the number of orders from a code."""
    same = [number for number in range(2000) if scramble(number, b"one") == scramble(number, b"other")]
    assert len(same) < 5


def test_ids_are_ten_letters_and_digits_and_do_not_repeat() -> None:
    ids = {opaque_id() for _ in range(5000)}
    assert len(ids) == 5000
    assert all(len(value) == 10 and value.isalnum() and value.isascii() for value in ids)


@pytest.mark.parametrize(
    ("total", "rate", "commission"),
    [("20.80", "8.34", "1.73"), ("25", "9.28", "2.32"), ("0.50", "1", "0.01"), ("0.49", "1", "0.00"), ("0", "5", "0")],
)
def test_commission_is_rounded_half_up_to_cents(total: str, rate: str, commission: str) -> None:
    assert commission_of(Decimal(total), Decimal(rate)) == Decimal(commission)


@pytest.mark.parametrize("text", ["-0.01", "NaN", "Infinity", "-Infinity", "0.001", "10000000.01", "1E+400", "sNaN"])
def test_an_invalid_amount_of_money_reads_as_none(text: str) -> None:
    assert as_amount(Decimal(text)) is None


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", "0.00"),
        ("0.01", "0.01"),
        ("10.4", "10.40"),
        ("10.4000", "10.40"),
        ("1E+3", "1000.00"),
        ("0E+5", "0.00"),
        ("-0", "0.00"),
        ("-0.0", "0.00"),
    ],
)
def test_an_amount_of_money_has_two_decimals_however_it_was_spelt(text: str, amount: str) -> None:
    assert str(as_amount(Decimal(text))) == amount
    assert as_rate(Decimal("8.3400")) == Decimal("8.34")
    assert as_rate(Decimal("100.01")) is None


def test_settings_are_read_from_texts() -> None:
    assert read_settings({"port": "0", "webhook_timeout_seconds": "2.5", "data": "/tmp/x"}).port == 0
    assert read_settings({}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("port", "abc", "--port 'abc': give a whole number from 0 to 65535"),
        ("port", "99999", "--port '99999': give a whole number from 0 to 65535"),
        ("mode", "prod", "--mode 'prod': give sandbox or production"),
        ("acceptance_hours", "0", "--acceptance-hours '0': give a whole number of 1 or more"),
        ("webhook_timeout_seconds", "99", "--webhook-timeout-seconds '99': give a number above 0 and up to 12"),
        ("clock_limit_seconds", "0", "--clock-limit-seconds '0': give a number above 0"),
        ("tell_deliveries", "maybe", "--tell-deliveries 'maybe': give true or false"),
        ("public_url", "market.example", "--public-url market.example: it must begin with http:// or https://"),
        ("public_url", "https://a..b", "--public-url https://a..b: it must name a host, such as"),
        ("public_url", "https://a.b/?x=1", "--public-url https://a.b/?x=1: give scheme, host and path only"),
        ("public_url", "https://u:p@a.b", "give scheme, host and path only"),
        ("data", __file__, f"--data {__file__}: it is a file; give a folder"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_reason(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_settings({name: value})


def test_an_invalid_number_in_a_setting_names_the_valid_range() -> None:
    for field in setting_fields():
        if field.type in {int, float}:
            with pytest.raises(ValueError, match=f"^{field.flag} 'x': give a (whole )?number (from|of|above) "):
                read_settings({field.name: "x"})


def test_every_setting_has_a_flag_a_variable_and_a_description() -> None:
    fields = setting_fields()
    assert [field.name for field in fields] == list(Settings.__struct_fields__)
    for field in fields:
        assert field.flag.startswith("--")
        assert field.variable.startswith("KALATHI_")
        assert field.description.endswith(".")
