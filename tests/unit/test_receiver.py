"""The webhook receiver: an event answered with 200 is on disk; refusals have distinct reasons."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kalathi.contract.signatures import secret_text, sign_headers
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.receiver import LARGEST_BODY_BYTES, Answer, Receiver, WebhookHandler
from kalathi.merchant.refusals import Refusal, RefusalLog, RefusalReason, looks_like_webhook
from kalathi.merchant.sources import SourceRangesError, keep_ranges, ranges_of_file, read_ranges
from kalathi.trusted_proxies import read_trusted_proxies

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
SECRET = secret_text(b"k" * 32)
NOW = 1_800_000_000
EVENT = (EXAMPLES / "webhooks/orders/01-new-order.json").read_bytes()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "inbox.db")
    yield opened
    opened.close()


def test_the_same_body_is_one_event_with_any_headers(inbox: Inbox) -> None:
    signal: list[int] = []
    handler = WebhookHandler(inbox, received=lambda: signal.append(1))
    for headers in ({}, {"webhook-id": "a"}, {"Webhook-Id": "b"}):
        assert handler.handle(b"{}", headers) == Answer(200)
    assert [event.body for event in inbox.events.unread()] == [b"{}"]
    assert len(signal) == 1


def test_an_unreadable_event_is_stored_too(inbox: Inbox) -> None:
    for body in (b"", b"\xff", b"not json"):
        assert WebhookHandler(inbox).handle(body, {}).status == 200
    assert [event.body for event in inbox.events.unread()] == [b"", b"\xff", b"not json"]
    assert WebhookHandler(inbox).handle(b"x" * (LARGEST_BODY_BYTES + 1), {}).status == 413


def test_an_event_that_cannot_be_stored_is_answered_with_500(inbox: Inbox) -> None:
    handler = WebhookHandler(inbox)
    inbox.close()
    assert handler.handle(b"{}", {}).status == 500


def test_with_a_secret_only_signed_webhooks_are_accepted(inbox: Inbox) -> None:
    handler = WebhookHandler(inbox, secrets=[SECRET], clock=lambda: NOW)
    signed = sign_headers([SECRET], "id", NOW, b"{}")
    shouted = {name.upper(): value for name, value in signed.items()}
    assert handler.handle(b"{}", shouted).status == 200
    without_id = {name: value for name, value in signed.items() if name != "webhook-id"}
    other = sign_headers([secret_text(b"x" * 32)], "id", NOW, b"{}")
    old = sign_headers([SECRET], "id", NOW - 3600, b"{}")
    for headers, body in (({}, b"{}"), (without_id, b"{}"), (other, b"{}"), (old, b"{}"), (signed, b"{ }")):
        assert handler.handle(body, headers).status == 401
    # The same bytes under another id are the same event still.
    assert handler.handle(b"{}", sign_headers([SECRET], "another", NOW, b"{}")).status == 200
    assert len(inbox.events.unread()) == 1


def test_with_ranges_only_webhooks_from_them_are_accepted(inbox: Inbox) -> None:
    ranges = read_ranges((EXAMPLES / "ip_ranges.json").read_bytes())
    handler = WebhookHandler(inbox, ranges=ranges)
    inside = str(ranges.networks[0][1])
    for source, status in ((inside, 200), (f"::ffff:{inside}", 200), ("8.8.8.8", 403), (None, 403), ("nonsense", 403)):
        assert handler.handle(b"{}", {}, source).status == status


def test_valid_ranges_are_stored_and_invalid_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    content = (EXAMPLES / "ip_ranges.json").read_bytes()
    assert keep_ranges(path, content).networks == ranges_of_file(path).networks
    for nonsense in (b"", b"{}", b'{"ipv4": ["0.0.0.0/0"]}', b'{"ipv4": ["x"]}', b'{"ipv4": 1}', b"\xff"):
        with pytest.raises(SourceRangesError):
            keep_ranges(path, nonsense)
    assert path.read_bytes() == content
    with pytest.raises(SourceRangesError, match="No such file"):
        ranges_of_file(tmp_path / "none.json")


def _wire(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def _post(
    receiver: Receiver,
    path: str,
    *,
    method: str = "POST",
    client: str = "1.2.3.4",
    body: bytes | None = b"{}",
    **scope: Any,
) -> int:
    """The status; without a body the sender goes away before its end."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": (body or b"{")[:1], "more_body": True}]
    messages += [] if body is None else [{"type": "http.request", "body": body[1:]}]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-forwarded-for", b"9.9.9.9, 5.6.7.8")]
    whole = {"type": "http", "path": path, "method": method, "headers": headers, "client": (client, 1), **scope}
    await receiver(whole, receive, send)
    return int(sent[0]["status"])


async def test_the_receiver_can_be_mounted_on_a_secret_path(inbox: Inbox) -> None:
    receiver = Receiver(WebhookHandler(inbox), "/hook/secret")
    assert await _post(receiver, "/hook/secret") == 200
    assert await _post(receiver, "/shop/hook/secret", root_path="/shop") == 200
    assert [event.body for event in inbox.events.unread()] == [b"{}"]
    for path in ("/hook/secre", "/hook/secret//", "/", "/hook/\u03ba"):
        assert await _post(receiver, path) == 404
    assert await _post(receiver, "/hook/secret", method="GET") == 405


async def test_behind_a_proxy_the_source_is_the_address_that_it_added(inbox: Inbox) -> None:
    ranges = read_ranges(b'{"ipv4": ["5.6.7.0/24"]}')
    handler = WebhookHandler(inbox, ranges=ranges)
    assert await _post(Receiver(handler, "/"), "/") == 403
    assert await _post(Receiver(handler, "/", trusts_forwarded=True), "/") == 200
    assert await _post(Receiver(handler, "/"), "/", client="5.6.7.1") == 200


async def test_every_line_of_x_forwarded_for_counts_and_a_port_is_no_part_of_the_address(inbox: Inbox) -> None:
    handler = WebhookHandler(inbox, ranges=read_ranges(b'{"ipv4": ["5.6.7.0/24"]}'))
    trusted = read_trusted_proxies("10.0.0.0/8")
    for lines, status in (
        (["5.6.7.8:51234", "10.0.0.3"], 200),
        (["5.6.7.8:51234, 10.0.0.4:80", "10.0.0.3"], 200),
        (["5.6.7.8", "8.8.8.8:443, 10.0.0.3"], 403),
        (["5.6.7.8", "garbage", "10.0.0.3"], 403),
        ([], 403),
    ):
        headers = [(b"x-forwarded-for", line.encode()) for line in lines]
        receiver = Receiver(handler, "/", trusted_proxies=trusted)
        assert await _post(receiver, "/", client="10.0.0.2", headers=headers) == status, lines


async def test_each_refused_call_is_reported_once_with_its_reason(inbox: Inbox) -> None:
    refusals: list[Refusal] = []
    ranges = read_ranges(b'{"ipv4": ["5.6.7.0/24"]}')
    handler = WebhookHandler(inbox, ranges=ranges, secrets=[SECRET], refused=refusals.append, clock=lambda: NOW)
    receiver = Receiver(handler, "/hook?key=s3cret")
    signed = sign_headers([SECRET], "id", NOW, EVENT)
    late = sign_headers([SECRET], "id", NOW - 7200, EVENT)
    changed = signed | {"webhook-id": "other"}
    large = b"x" * (LARGEST_BODY_BYTES + 1)
    query = b"key=s3cret"
    calls: tuple[dict[str, Any], ...] = (
        {"path": "/other", "body": EVENT},
        {"path": "/hook", "query_string": b"key=wrong", "body": EVENT},
        {"path": "/other"},
        {"path": "/hook", "query_string": query, "method": "GET", "body": b""},
        {"path": "/hook", "query_string": query, "body": large},
        {"path": "/hook", "query_string": query, "body": None},
        {"path": "/hook", "query_string": query, "body": EVENT, "client": "8.8.8.8"},
        {"path": "/hook", "query_string": query, "body": EVENT},
        {"path": "/hook", "query_string": query, "body": EVENT, "headers": _wire(changed)},
        {"path": "/hook", "query_string": query, "body": EVENT, "headers": _wire(late)},
    )
    statuses = [await _post(receiver, **{"client": "5.6.7.8", "headers": [], **call}) for call in calls]
    inbox.close()
    statuses.append(
        await _post(receiver, "/hook", client="5.6.7.8", query_string=query, body=EVENT, headers=_wire(signed))
    )
    assert [refusal.status for refusal in refusals] == statuses
    assert [(refusal.status, refusal.reason, refusal.is_webhook) for refusal in refusals] == [
        (404, RefusalReason.WRONG_PATH, True),
        (404, RefusalReason.WRONG_PATH, True),
        (404, RefusalReason.WRONG_PATH, False),
        (405, RefusalReason.WRONG_METHOD, False),
        (413, RefusalReason.TOO_LARGE, True),
        (400, RefusalReason.INCOMPLETE, True),
        (403, RefusalReason.UNKNOWN_SOURCE, True),
        (401, RefusalReason.NOT_SIGNED, True),
        (401, RefusalReason.BAD_SIGNATURE, True),
        (401, RefusalReason.SIGNATURE_TOO_OLD, True),
        (500, RefusalReason.INBOX_FAILED, True),
    ]
    details = [refusal.detail for refusal in refusals]
    assert details[0].startswith("The marketplace posts to /other, this connector listens on /hook?key=***.")
    assert "/hook without the right query" in details[1]
    assert "8.8.8.8" in details[6]
    assert "clock is 7200 s ahead of the webhook's timestamp" in details[9]
    assert [refusal.clock_ahead_seconds for refusal in refusals if refusal.clock_ahead_seconds] == [7200]
    assert "closed database" in details[10]
    assert not [detail for detail in details if "s3cret" in detail or "wrong" in detail]


def test_a_slow_clock_is_reported_as_behind(inbox: Inbox) -> None:
    refusals: list[Refusal] = []
    handler = WebhookHandler(inbox, secrets=[SECRET], refused=refusals.append, clock=lambda: NOW)
    handler.handle(b"{}", sign_headers([SECRET], "id", NOW + 3601, b"{}"))
    [refusal] = refusals
    assert refusal.clock_ahead_seconds == -3601
    assert "clock is 3601 s behind the webhook's timestamp" in refusal.detail


def test_an_unknown_signature_reports_no_clock_difference(inbox: Inbox) -> None:
    refusals: list[Refusal] = []
    handler = WebhookHandler(inbox, secrets=[SECRET], refused=refusals.append, clock=lambda: NOW)
    handler.handle(b"{}", sign_headers([secret_text(b"x" * 32)], "id", 1, b"{}"))
    assert [(refusal.reason, refusal.clock_ahead_seconds) for refusal in refusals] == [
        (RefusalReason.BAD_SIGNATURE, None)
    ]


def test_a_refusal_that_cannot_be_counted_is_still_answered(inbox: Inbox) -> None:
    def refused(_: Refusal) -> None:
        raise OSError("the disk is full")

    assert WebhookHandler(inbox, secrets=[SECRET], refused=refused).handle(b"{}", {}) == Answer(401)


def test_refused_calls_log_one_line_a_minute_for_each_reason() -> None:
    now = [1000.0]
    log = RefusalLog(lambda: now[0])
    webhook = Refusal(403, RefusalReason.UNKNOWN_SOURCE, "from 8.8.8.8")
    noise = Refusal(404, RefusalReason.WRONG_PATH, "GET /.env", is_webhook=False)
    with capture_logs() as lines:
        for _ in range(480):
            log.note(webhook)
            log.note(noise)
            now[0] += 0.125
        log.note(webhook)
        now[0] -= 3600  # The clock is set back: the log goes on.
        log.note(webhook)
    shown = [(line["event"], line["log_level"], line.get("more_since_last_line")) for line in lines]
    assert shown == [
        ("webhook_refused", "warning", None),
        ("call_refused", "info", None),
        ("webhook_refused", "warning", 479),
        ("webhook_refused", "warning", 0),
    ]
    assert lines[0]["detail"] == "from 8.8.8.8"


def test_a_webhook_is_recognised_by_its_body() -> None:
    for path in (EXAMPLES / "webhooks").rglob("*.json"):
        assert looks_like_webhook(path.read_bytes()), path.name
    for body in (b'{"event_type": null, "more": 1}', b'{"order": {}}', b'{"return": 5}'):
        assert looks_like_webhook(body)
    for body in (b"", b"a=1", b"[]", b"{}", b'{"query": "{ order }"}', b"\xff", b"null", b"[" * 10_000):
        assert not looks_like_webhook(body)


def test_an_invalid_secret_is_refused_at_the_start(inbox: Inbox) -> None:
    with pytest.raises(ValueError, match="secret"):
        WebhookHandler(inbox, secrets=["whsec_%%%"])


def test_a_dry_run_copies_its_events_to_the_real_inbox(inbox: Inbox, tmp_path: Path) -> None:
    rehearsal = Inbox(tmp_path / "rehearsal.db")
    assert WebhookHandler(rehearsal, copy_to=inbox).handle(b"{}", {}).status == 200
    assert [event.body for event in inbox.events.unread()] == [b"{}"]
    assert [event.body for event in rehearsal.events.unread()] == [b"{}"]
    rehearsal.close()


async def test_the_refusal_of_an_unrelated_call_does_not_name_the_secret_path(inbox: Inbox) -> None:
    refusals: list[Refusal] = []
    receiver = Receiver(WebhookHandler(inbox, refused=refusals.append), "/hook/secret")
    assert await _post(receiver, "/.env", method="GET") == 404
    assert [refusal.detail for refusal in refusals] == ["GET /.env is not a call of the marketplace."]
