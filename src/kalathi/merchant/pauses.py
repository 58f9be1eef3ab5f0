"""The pauses between the attempts of failed work."""

from typing import Final

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 60.0
# A person is informed after this many failures. A single failure often passes, for example a rate limit.
FAILURES_BEFORE_PERSON: Final = 3


def pause_seconds(tries: int) -> float:
    """Return the pause after the failure that follows `tries` others: 0.5 s, 1 s, 2 s, up to a minute."""
    return min(FIRST_PAUSE_SECONDS * (1 << min(tries, 10)), LONGEST_PAUSE_SECONDS)
