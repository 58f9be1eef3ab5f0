"""The outcomes of webhooks are read when each webhook was tried."""

from typing import Any, cast

import pytest

from kalathi.simulation.operator import OperatorClient
from kalathi.simulation.outcomes import webhook_outcomes

pytestmark = pytest.mark.anyio


def _entry(event_type: str, state: str, attempts: int = 0) -> dict[str, Any]:
    name = f"S.R-1.{event_type}"
    return {"id": name, "event_type": event_type, "subject": "R-1", "state": state, "attempts": attempts}


class _Log:
    """An operator whose delivery log changes with each look; the last state stays."""

    def __init__(self, *states: list[dict[str, Any]]) -> None:
        self.states = list(states)

    async def deliveries(self, subject: str) -> list[dict[str, Any]]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    async def delivery(self, name: str) -> dict[str, Any]:
        attempt = {"url": "http://shop/", "status": 200, "explanation": "", "duration_millis": 1}
        return {"attempts": [attempt]}


async def _states(*states: list[dict[str, Any]], limit_seconds: float = 5) -> list[str]:
    operator = cast(OperatorClient, _Log(*states))
    return [outcome.state for outcome in await webhook_outcomes(operator, ["R-1"], limit_seconds=limit_seconds)]


_CREATED = _entry("merchant_return_created", "delivered", 1)


async def test_an_update_of_a_return_is_awaited_after_its_first_event() -> None:
    unplanned, planned = _entry("merchant_return_updated", "not_sent"), _entry("merchant_return_updated", "pending")
    delivered = _entry("merchant_return_updated", "delivered", 1)
    assert await _states([_CREATED, unplanned], [_CREATED, planned], [_CREATED, delivered]) == ["delivered"] * 2


async def test_an_update_without_a_first_event_is_not_awaited() -> None:
    created, updated = _entry("merchant_return_created", "not_sent"), _entry("merchant_return_updated", "not_sent")
    assert await _states([created, updated], []) == ["not_sent", "not_sent"]


async def test_the_wait_has_a_limit() -> None:
    assert await _states([_CREATED, _entry("merchant_return_updated", "pending")], limit_seconds=0) == [
        "delivered",
        "pending",
    ]
