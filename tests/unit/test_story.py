"""The narration of the demo."""

from typing import Any

import pytest

from kalathi.simulation.story import Story

CODE = "261130-1234567"


def _detail(event: str) -> dict[str, Any]:
    timeline = [{"version": 1, "event": "place"}, {"version": 2, "event": event}]
    deliveries = [
        {
            "id": f"s.{CODE}.{version}",
            "event_type": "order_updated",
            "state": "delivered",
            "attempts": [{"status": 200}],
        }
        for version in (1, 2)
    ]
    return {
        "order": {"code": CODE, "courier_tracking_codes": ["SLM1"]},
        "timeline": timeline,
        "deliveries": deliveries,
    }


@pytest.mark.parametrize(
    ("event", "line", "told"),
    [
        ("reject", f"rejected {CODE}: USB Stick: 1 of 3 available", "reject (USB Stick: 1 of 3 available)"),
        ("accept", f"accepted {CODE}: all in stock", "accept (all in stock)"),
        ("issue_voucher", f"printed {CODE}: /tmp/a.pdf", "/tmp/a.pdf"),
    ],
)
def test_a_step_is_told_once_the_connector_has_said_its_reason(
    capsys: pytest.CaptureFixture[str], event: str, line: str, told: str
) -> None:
    story, detail = Story(), _detail(event)
    story.follow("a shop", detail)
    assert not story.has_told(detail), "the marketplace was quicker than the connector's line"
    story.hear(line)
    story.follow("a shop", detail)
    assert story.has_told(detail)
    assert told in capsys.readouterr().out
