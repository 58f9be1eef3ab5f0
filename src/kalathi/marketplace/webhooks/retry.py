"""The retry schedule of webhooks: a pure function, anchored at the event's time (docs/contract.md#section-4;
docs/decisions/0008)."""

from typing import Final, NamedTuple

_MILLIS_PER_MINUTE: Final = 60_000


class Delivered(NamedTuple):
    """The endpoint has answered with status 200."""


class RetryAt(NamedTuple):
    """The next attempt is planned for this business time, in milliseconds since 1970."""

    due_at: int


class Exhausted(NamedTuple):
    """All attempts are used up; only a manual resend tries again."""


Outcome = Delivered | RetryAt | Exhausted


class RetrySchedule:
    """Minutes after the event at which attempts are planned, the first at 0: by default 0, 1, 5 and 19."""

    def __init__(self, minutes: str) -> None:
        """`minutes` is a text such as `0,1,5,19`. Raises ValueError unless these are rising whole numbers that begin
        with 0."""
        try:
            self._offsets = [int(part) for part in minutes.split(",")]
        except ValueError:
            raise ValueError(f"webhook_attempt_minutes: {minutes!r} is not a list such as 0,1,5,19") from None
        if self._offsets != sorted(set(self._offsets)) or self._offsets[0] != 0:
            raise ValueError("webhook_attempt_minutes: give rising minutes that begin with 0")

    def outcome(
        self,
        *,
        delivered: bool,
        anchor_at: int,
        now: int,
        recorded_before: int,
        due_at: int = 0,
        retry_after_millis: int = 0,
    ) -> Outcome:
        """Return the outcome, at `now`, of an attempt that was planned for `due_at` and has `recorded_before` attempts
        before it.

        Planned times are counted from the event. If they have passed, since the marketplace itself was down or the
        endpoint asked for time, the distance between attempts is kept instead: an endpoint that comes up together with
        us would otherwise use up all attempts at once. An endpoint's `Retry-After` is respected within the minutes in
        which the contract promises all attempts; a longer one gets its last attempt at their end.
        """
        if delivered:
            return Delivered()
        recorded = recorded_before + 1
        ends_at = anchor_at + (self._offsets[-1] + 1) * _MILLIS_PER_MINUTE
        last_asked_for = ends_at - 1
        if recorded >= len(self._offsets) or due_at == last_asked_for:
            return Exhausted()
        gap = (self._offsets[recorded] - self._offsets[recorded - 1]) * _MILLIS_PER_MINUTE
        planned = anchor_at + self._offsets[recorded] * _MILLIS_PER_MINUTE
        following = planned if planned > now else now + gap
        if now < last_asked_for:
            following = min(following, ends_at)
            following = max(following, min(now + retry_after_millis, last_asked_for))
        return RetryAt(following)
