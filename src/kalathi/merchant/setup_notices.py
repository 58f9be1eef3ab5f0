"""Notices of a wrong set-up: the marketplace's address, the token, the vendor word, this machine's clock."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from kalathi.merchant.client import CallError, MarketplaceError, RedirectedError
from kalathi.merchant.inbox.notices import Notices

# The token or the vendor word is wrong, which affects every call.
_REFUSED: Final = frozenset({401, 403, 406})
# The topics. Any answer of the marketplace settles the first three.
_REDIRECTED: Final = "redirect"
_REFUSED_CALLS: Final = "token"
_UNKNOWN: Final = "address"
_CLOCK: Final = "clock"
_CLOCK_TOLERANCE_SECONDS: Final = 120.0


class SetupNotices:
    """Report a wrong set-up once, and store it as a notice until it is corrected."""

    def __init__(self, notices: Notices, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        """`clock` gives seconds since 1970."""
        self._notices = notices
        self._tell = tell
        self._clock = clock
        self._is_refused = False
        # Whether any call has succeeded since the start.
        self.has_answered = False
        self._is_clock_told = False
        self._moves_told: set[object] = set()

    def note_failure(self, error: CallError) -> None:
        """Store a notice if a wrong set-up caused this failure of a call."""
        if isinstance(error, RedirectedError) and error.is_marketplace:
            self._notices.add(_REDIRECTED, str(error), self._clock())
            if error.move not in self._moves_told:
                self._moves_told.add(error.move)
                self._tell(f"needs a person: {error}")
        if not isinstance(error, MarketplaceError) or error.status not in _REFUSED:
            return
        if error.status == HTTPStatus.FORBIDDEN and self.has_answered:
            return  # The marketplace refuses only this order.
        if not self._is_refused:
            self._is_refused = True
            text = f"the marketplace refuses every call ({error}); are token and --vendor right?"
            self._notices.add(_REFUSED_CALLS, text, self._clock())
            self._tell(f"needs a person: {text}")

    def note_all_unknown(self) -> None:
        """Store a notice that the marketplace has answered every call with 404."""
        text = (
            "the marketplace has answered every call with 404; is --url right? It must be the address alone, without"
            " /merchants/ecommerce"
        )
        if self._notices.add(_UNKNOWN, text, self._clock()):
            self._tell(f"needs a person: {text}")

    def note_answer(self) -> None:
        """Settle the notices about address and token, because the marketplace has answered a call."""
        self._is_refused = False
        self.has_answered = True
        for topic in (_REDIRECTED, _REFUSED_CALLS, _UNKNOWN):
            self._notices.settle(topic)

    def compare_clocks(self, marketplace_time: float | None) -> None:
        """Store a notice while this machine's clock is wrong, because signatures then fail and warnings of deadlines
        come at a wrong time.

        `marketplace_time` is in seconds since 1970; None if unknown.
        """
        ahead_seconds = 0.0 if marketplace_time is None else self._clock() - marketplace_time
        if abs(ahead_seconds) <= _CLOCK_TOLERANCE_SECONDS:
            self._notices.settle(_CLOCK)
            self._is_clock_told = False
            return
        side = "ahead of" if ahead_seconds > 0 else "behind"
        text = f"this machine's clock is {side} the marketplace's by {abs(ahead_seconds):.0f} s; set it by NTP"
        # Reported once, not for every second of drift.
        if self._notices.add(_CLOCK, text, self._clock()) and not self._is_clock_told:
            self._tell(f"needs a person: {text}")
        self._is_clock_told = True
