"""The webhook receiver: what is answered 200 is on disk; the rest is told apart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kalathi.contract.signatures import secret_text, signed_headers
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.receiver import LARGEST_BODY_BYTES, Answer, Receiver, WebhookHandler
from kalathi.merchant.sources import SourceRangesError, keep_ranges, ranges_of_file, read_ranges

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
SECRET = secret_text(b"k" * 32)
NOW = 1_800_000_000


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "inbox.db")
    yield opened
    opened.close()


def test_the_same_event_twice_is_one_event_whatever_its_headers_say(inbox: Inbox) -> None:
    rung: list[int] = []
    handler = WebhookHandler(inbox, received=lambda: rung.append(1))
    for headers in ({}, {"webhook-id": "a"}, {"Webhook-Id": "b"}):
        assert handler.handle(b"{}", headers) == Answer(200)
    assert [event.body for event in inbox.new_events()] == [b"{}"]
    assert len(rung) == 1


def test_what_cannot_be_read_is_kept_all_the_same(inbox: Inbox) -> None:
    for body in (b"", b"\xff", b"not json"):
        assert WebhookHandler(inbox).handle(body, {}).status == 200
    assert [event.body for event in inbox.new_events()] == [b"", b"\xff", b"not json"]
    assert WebhookHandler(inbox).handle(b"x" * (LARGEST_BODY_BYTES + 1), {}).status == 413


def test_what_cannot_be_written_down_is_not_answered_with_success(inbox: Inbox) -> None:
    handler = WebhookHandler(inbox)
    inbox.close()
    assert handler.handle(b"{}", {}).status == 500


def test_with_a_secret_only_what_is_signed_is_taken(inbox: Inbox) -> None:
    handler = WebhookHandler(inbox, secrets=[SECRET], clock=lambda: NOW)
    signed = signed_headers([SECRET], "id", NOW, b"{}")
    shouted = {name.upper(): value for name, value in signed.items()}
    assert handler.handle(b"{}", shouted).status == 200
    without_id = {name: value for name, value in signed.items() if name != "webhook-id"}
    other = signed_headers([secret_text(b"x" * 32)], "id", NOW, b"{}")
    old = signed_headers([SECRET], "id", NOW - 3600, b"{}")
    for headers, body in (({}, b"{}"), (without_id, b"{}"), (other, b"{}"), (old, b"{}"), (signed, b"{ }")):
        assert handler.handle(body, headers).status == 401
    # The same bytes under another id are the same event still.
    assert handler.handle(b"{}", signed_headers([SECRET], "another", NOW, b"{}")).status == 200
    assert len(inbox.new_events()) == 1


def test_with_ranges_only_what_comes_from_there_is_taken(inbox: Inbox) -> None:
    ranges = read_ranges((EXAMPLES / "ip_ranges.json").read_bytes())
    handler = WebhookHandler(inbox, ranges=ranges)
    inside = str(ranges.networks[0][1])
    for source, status in ((inside, 200), (f"::ffff:{inside}", 200), ("8.8.8.8", 403), (None, 403), ("nonsense", 403)):
        assert handler.handle(b"{}", {}, source).status == status


def test_ranges_are_kept_in_a_file_and_nonsense_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    content = (EXAMPLES / "ip_ranges.json").read_bytes()
    assert keep_ranges(path, content).networks == ranges_of_file(path).networks
    for nonsense in (b"", b"{}", b'{"ipv4": ["0.0.0.0/0"]}', b'{"ipv4": ["x"]}', b'{"ipv4": 1}', b"\xff"):
        with pytest.raises(SourceRangesError):
            keep_ranges(path, nonsense)
    assert path.read_bytes() == content
    with pytest.raises(SourceRangesError, match="No such file"):
        ranges_of_file(tmp_path / "none.json")


async def _post(receiver: Receiver, path: str, *, method: str = "POST", client: str = "1.2.3.4", **scope: Any) -> int:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.request", "body": b"}"}]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-forwarded-for", b"9.9.9.9, 5.6.7.8")]
    whole = {"type": "http", "path": path, "method": method, "headers": headers, "client": (client, 1), **scope}
    await receiver(whole, receive, send)
    return int(sent[0]["status"])


async def test_it_is_an_application_to_mount_on_a_path_that_may_be_a_secret(inbox: Inbox) -> None:
    receiver = Receiver(WebhookHandler(inbox), "/hook/secret")
    assert await _post(receiver, "/hook/secret") == 200
    assert await _post(receiver, "/shop/hook/secret", root_path="/shop") == 200
    assert [event.body for event in inbox.new_events()] == [b"{}"]
    for path in ("/hook/secre", "/hook/secret/", "/", "/hook/\u03ba"):
        assert await _post(receiver, path) == 404
    assert await _post(receiver, "/hook/secret", method="GET") == 405


async def test_behind_a_proxy_the_source_is_what_the_proxy_has_added(inbox: Inbox) -> None:
    ranges = read_ranges(b'{"ipv4": ["5.6.7.0/24"]}')
    handler = WebhookHandler(inbox, ranges=ranges)
    assert await _post(Receiver(handler, "/"), "/") == 403
    assert await _post(Receiver(handler, "/", trusts_forwarded=True), "/") == 200
    assert await _post(Receiver(handler, "/"), "/", client="5.6.7.1") == 200


def test_a_secret_that_is_none_is_told_at_the_start(inbox: Inbox) -> None:
    with pytest.raises(ValueError, match="secret"):
        WebhookHandler(inbox, secrets=["whsec_%%%"])


def test_what_a_rehearsal_receives_is_in_the_real_inbox_too(inbox: Inbox, tmp_path: Path) -> None:
    rehearsal = Inbox(tmp_path / "rehearsal.db")
    assert WebhookHandler(rehearsal, copy_to=inbox).handle(b"{}", {}).status == 200
    assert [event.body for event in inbox.new_events()] == [event.body for event in rehearsal.new_events()] == [b"{}"]
    rehearsal.close()
