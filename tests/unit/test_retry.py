"""The retry schedule is a pure function, anchored at the event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.marketplace.webhooks.retry import Delivered, Exhausted, RetryAt, RetrySchedule

SCHEDULE = RetrySchedule("0,1,5,19")


@pytest.mark.parametrize(("before", "minutes"), [(0, 1), (1, 5), (2, 19)])
def test_attempts_are_planned_1_5_and_19_minutes_after_the_event(before: int, minutes: int) -> None:
    outcome = SCHEDULE.outcome(delivered=False, anchor_at=1_000, now=2_000, recorded_before=before)
    assert outcome == RetryAt(1_000 + minutes * 60_000)


@pytest.mark.parametrize(("before", "gap"), [(0, 1), (1, 4), (2, 14)])
def test_after_a_downtime_the_interval_between_attempts_is_kept(before: int, gap: int) -> None:
    late = 25 * 60_000
    outcome = SCHEDULE.outcome(delivered=False, anchor_at=0, now=late, recorded_before=before)
    assert outcome == RetryAt(late + gap * 60_000)


# The last moment of the twenty minutes.
_END = 20 - 1 / 60_000


@pytest.mark.parametrize(
    ("before", "now", "asked", "minutes"),
    [
        (0, 0, 0.5, 1),  # sooner than planned: the plan holds
        (0, 0, 3, 3),
        (0, 0, 30, _END),  # never later than the contract's twenty minutes
        (1, 3, 10, 13),
        (2, 13, 5, 19),  # the next planned time is later
        (2, 17, 1, 19),
        (2, 19, 0, 20),  # the distance of 14 minutes would leave them
    ],
)
def test_retry_after_is_respected_within_twenty_minutes(before: int, now: int, asked: float, minutes: float) -> None:
    outcome = SCHEDULE.outcome(
        delivered=False,
        anchor_at=7,
        now=7 + now * 60_000,
        recorded_before=before,
        retry_after_millis=int(asked * 60_000),
    )
    assert outcome == RetryAt(7 + round(minutes * 60_000))


@pytest.mark.parametrize("recorded_before", [1, 2])
def test_a_longer_retry_after_gets_one_attempt_at_twenty_minutes(recorded_before: int) -> None:
    end = 7 + round(_END * 60_000)
    outcome = SCHEDULE.outcome(
        delivered=False, anchor_at=7, now=end, due_at=end, recorded_before=recorded_before, retry_after_millis=10**9
    )
    assert outcome == Exhausted()
    late = SCHEDULE.outcome(delivered=False, anchor_at=7, now=end, due_at=9, recorded_before=recorded_before)
    assert isinstance(late, RetryAt), "a downtime of ours takes no attempt away"


def test_the_fourth_failure_is_the_last() -> None:
    assert SCHEDULE.outcome(delivered=False, anchor_at=0, now=0, recorded_before=3) == Exhausted()


@given(st.integers(0, 3), st.integers(0, 2**42))
def test_a_successful_attempt_delivers_at_any_time(before: int, anchor_at: int) -> None:
    assert SCHEDULE.outcome(delivered=True, anchor_at=anchor_at, now=0, recorded_before=before) == Delivered()


@pytest.mark.parametrize("minutes", ["", "1,5", "0,5,1", "0,1,1", "0,x"])
def test_an_invalid_schedule_is_refused(minutes: str) -> None:
    with pytest.raises(ValueError, match="webhook_attempt_minutes"):
        RetrySchedule(minutes)
