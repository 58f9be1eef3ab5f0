"""A report as `kalathi checkup` stores it, for tests of the page."""

from typing import Any


def both(text: str) -> dict[str, str]:
    """A text in both languages."""
    return {"en": text, "el": f"ελ {text}"}


def sample_report(shop_id: str, **members: Any) -> dict[str, Any]:
    """A report with one failed check, while the run goes on."""
    finding = {
        "expected": both("one call accept"),
        "seen": both("2 calls accept"),
        "exchanges": [
            {
                "kind": "call",
                "at": "2026-11-24T12:00:00+02:00",
                "line": "POST /accept",
                "request": '{"a": "<script>"}',
                "status": 422,
                "answer": "{}",
                "curl": "curl -i http://x",
            }
        ],
    }
    result = {
        "id": "duplicate",
        "claim": "orders",
        "severity": "costs_money",
        "title": both("one order"),
        "consequence": both("sends it twice"),
        "section": 4,
        "source": "a report",
        "fell": ["a plugin"],
        "verdict": "failed",
        "codes": ["261124-1234567"],
        "findings": [finding],
    }
    return {
        "shop_id": shop_id,
        "webhook_url": "http://shop/orders",
        "claims": ["orders"],
        "seed": "TEST",
        "has_probe": True,
        "planned": 44,
        "began_at": "2026-11-24T10:00:00Z",
        "notices": [{"kind": "warning", "topic": "clock", "text": both("the clock")}],
        "results": [result],
        **members,
    }
