"""Readers take every recorded body (docs/contract.md#section-1: older recordings lack many fields)."""

from pathlib import Path

import msgspec
import pytest

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode, encode
from kalathi.contract.errors import ErrorEnvelope
from kalathi.contract.orders import Order, OrderBody, Success
from kalathi.contract.requests import AcceptRequest, RejectRequest
from kalathi.contract.returns import ReturnBody
from kalathi.contract.webhooks import OrderChanges, OrderEvent, ReturnEvent, decode_event

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"


def _named(pattern: str) -> list[object]:
    paths = sorted(EXAMPLES.glob(pattern))
    assert paths, pattern
    return [pytest.param(path, id=path.stem) for path in paths]


def _without_unsent(value: object) -> object:
    """A body without nulls, so that a reader's defaults can be compared with what was recorded."""
    if isinstance(value, dict):
        return {key: _without_unsent(entry) for key, entry in value.items() if entry is not None}
    return [_without_unsent(entry) for entry in value] if isinstance(value, list) else value


def _contains(read: object, recorded: object, at: str = "$") -> None:
    if isinstance(recorded, dict):
        assert isinstance(read, dict), at
        for key, entry in recorded.items():
            assert key in read, f"{at}.{key} was lost"
            _contains(read[key], entry, f"{at}.{key}")
    elif isinstance(recorded, list):
        assert isinstance(read, list), at
        assert len(read) == len(recorded), at
        for index, (left, right) in enumerate(zip(read, recorded, strict=True)):
            _contains(left, right, f"{at}[{index}]")
    else:
        assert read == recorded, at


@pytest.mark.parametrize("path", _named("api/orders/DEMO-*.json") + _named("api/orders/show.json"))
def test_every_recorded_order_is_read_without_loss(path: Path) -> None:
    body = decode(path.read_bytes(), OrderBody)
    recorded = msgspec.json.decode(path.read_bytes())
    _contains(msgspec.json.decode(encode(body)), _without_unsent(recorded))


@pytest.mark.parametrize("path", _named("webhooks/orders/*.json"))
def test_every_recorded_order_webhook_is_read_without_loss(path: Path) -> None:
    content = path.read_bytes()
    if "event_type" in msgspec.json.decode(content):
        event = decode_event(content)
        assert isinstance(event, OrderEvent)
        read = encode(event)
    else:
        # Recording 18 is a bare order without an event type.
        read = encode(decode(content, OrderBody))
    _contains(msgspec.json.decode(read), _without_unsent(msgspec.json.decode(content)))


@pytest.mark.parametrize("path", _named("webhooks/returns/*.json"))
def test_every_recorded_return_webhook_is_read_without_loss(path: Path) -> None:
    event = decode_event(path.read_bytes())
    assert isinstance(event, ReturnEvent)
    _contains(msgspec.json.decode(encode(event)), _without_unsent(msgspec.json.decode(path.read_bytes())))


@pytest.mark.parametrize("path", _named("api/returns/*show.json") + _named("api/returns/DEMO-RETURN.json"))
def test_every_recorded_return_is_read(path: Path) -> None:
    body = decode(path.read_bytes(), ReturnBody)
    assert encode(body) == encode(decode(encode(body), ReturnBody))


@pytest.mark.parametrize("path", _named("api/orders/fragments/*.json"))
def test_recorded_fragments_of_orders_are_read_without_loss(path: Path) -> None:
    shown = msgspec.json.decode(path.read_bytes())["order"] | {"line_items": []}
    order = decode(msgspec.json.encode(shown), Order)
    _contains(msgspec.json.decode(encode(order)), shown)


@pytest.mark.parametrize("path", _named("webhooks/orders/fragments/*.json"))
def test_the_changes_of_a_partial_event_are_read(path: Path) -> None:
    changes = msgspec.json.decode(path.read_bytes())["changes"]
    assert msgspec.json.decode(encode(decode(msgspec.json.encode(changes), OrderChanges))) == changes


@pytest.mark.parametrize("path", _named("errors/*.json"))
def test_every_recorded_error_has_the_envelope(path: Path) -> None:
    envelope = decode(path.read_bytes(), ErrorEnvelope)
    assert envelope.errors[0].messages
    assert msgspec.json.decode(encode(envelope)) == msgspec.json.decode(path.read_bytes())


def test_the_recorded_requests_of_a_shop_are_read() -> None:
    accept = decode((EXAMPLES / "requests" / "accept.json").read_bytes(), AcceptRequest)
    assert (accept.pickup_location, accept.pickup_window, accept.number_of_parcels) == ("YlpD0KROym", 2, 1)
    reject = decode((EXAMPLES / "requests" / "reject-line-items.json").read_bytes(), RejectRequest)
    assert [line.available_quantity for line in reject.line_items or []] == [None, 1]
    other = decode((EXAMPLES / "requests" / "reject-other.json").read_bytes(), RejectRequest)
    assert other.rejection_reason_other == "Our store is closed for personal reasons"
    assert decode((EXAMPLES / "api" / "orders" / "accept.json").read_bytes(), Success).success


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": "\xff"}', b"[" * 100_000, b'{"a":1} x', b"NaN"])
def test_bytes_that_are_not_json_raise_unreadable_body_error(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        decode(body, OrderBody)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"order": {"code": 1}}', b"null", b'{"event_type": "unheard_of"}'])
def test_a_wrong_shape_raises_unexpected_shape_error(body: bytes) -> None:
    with pytest.raises(UnexpectedShapeError):
        decode(body, OrderBody)
    with pytest.raises(UnexpectedShapeError):
        decode_event(body)
