"""Refusals: the status decides the class; code and messages refine it, in any shape of body."""

from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kalathi.merchant as public
from kalathi.contract.errors import ErrorEntry
from kalathi.merchant import MarketplaceError
from kalathi.merchant.client.core import Retries, Send
from kalathi.merchant.client.error_bodies import read_entries
from kalathi.merchant.client.failures import ERRORS_BY_CODE, marketplace_error
from kalathi.merchant.client.flows import Flows
from kalathi.merchant.client.transport import HttpAnswer
from tests.unit.test_client import OK, Kind, both

WORDS = [*ERRORS_BY_CODE, "EcommerceMerchantUnauthorized", "Unauthorized", "too_many", "", "4711"]
OF_STATUS = {
    401: public.UnauthorizedError,
    403: public.UnauthorizedError,
    406: public.NotAcceptableError,
    409: public.ConflictError,
    429: public.RateLimitedError,
    503: public.UnavailableError,
}


def _kind(status: int, *words: str) -> type[MarketplaceError]:
    return type(marketplace_error(status, [ErrorEntry(code=word, messages=["No."]) for word in words], None))


@pytest.mark.parametrize("status", OF_STATUS)
@pytest.mark.parametrize("word", WORDS)
def test_the_status_decides_the_class_of_an_error(status: int, word: str) -> None:
    if (status, word) == (401, "purchase_order_error"):
        # The contract's own: a purchase order of another shop.
        assert _kind(status, word) is public.PurchaseOrderError
    else:
        assert _kind(status, word) is OF_STATUS[status]
    assert _kind(status) is OF_STATUS[status]


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (404, ["not_found"], public.NotFoundError),
        (404, ["order_error"], public.OrderError),
        (404, ["supplier_error"], public.SupplierError),
        (404, ["purchase_order_error"], public.PurchaseOrderError),
        (404, ["unauthorized"], public.NotFoundError),
        (404, ["order_status"], public.NotFoundError),
        (404, ["EcommerceOrderNotFound"], public.NotFoundError),
        (404, [], public.NotFoundError),
        (422, ["order_error"], public.OrderError),
        (422, ["order_status"], public.OrderStatusError),
        (422, ["something_new", "invalid_parameter"], public.InvalidParameterError),
        (422, ["unauthorized"], MarketplaceError),
        (422, ["rate_limited"], MarketplaceError),
        (422, ["not_found"], MarketplaceError),
        (422, [], MarketplaceError),
        (400, ["invoice_file"], public.InvoiceFileError),
        (413, ["invoice_file"], public.InvoiceFileError),
        (500, ["unauthorized"], MarketplaceError),
        (502, ["order_status"], MarketplaceError),
        (418, ["teapot"], MarketplaceError),
    ],
)
def test_an_error_code_chooses_among_the_classes_of_its_status(
    status: int, words: list[str], kind: type[MarketplaceError]
) -> None:
    assert _kind(status, *words) is kind


def test_errors_401_and_403_may_pass() -> None:
    assert marketplace_error(403, [], None).may_pass
    assert marketplace_error(401, [], None).may_pass


@pytest.mark.parametrize(
    ("body", "codes", "messages"),
    [
        ({"errors": [{"code": "order_status", "messages": ["One.", "Two."]}]}, ["order_status"], ["One.", "Two."]),
        ({"errors": [{"code": "order_status", "messages": "One."}]}, ["order_status"], ["One."]),
        ({"errors": [{"code": 4711, "messages": ["One."]}]}, ["4711"], ["One."]),
        ({"errors": [{"code": None, "messages": ["One.", None, 2]}]}, ["unknown"], ["One.", "2"]),
        ({"errors": [{"code": "a", "messages": None}, {"messages": ["One."]}]}, ["a", "unknown"], ["One."]),
        ({"errors": [None, "One.", {"code": "b", "message": "Two."}]}, ["unknown", "b"], ["One.", "Two."]),
        ({"errors": {"code": "order_status", "messages": ["One."]}}, ["order_status"], ["One."]),
        ({"errors": {"pickup_window": ["is wrong"], "x": "y"}}, ["pickup_window", "x"], ["is wrong", "y"]),
        ({"errors": "One."}, ["unknown"], ["One."]),
        ({"errors": ["One.", "Two."]}, ["unknown", "unknown"], ["One.", "Two."]),
        ({"errors": []}, ["unknown"], []),
        ({"errors": None, "message": "One."}, ["unknown"], ["One."]),
        ({"error": "invalid_token", "error_description": "One."}, ["unknown"], ["One."]),
        ({"error": {"code": "Unauthorized", "message": "One."}}, ["Unauthorized"], ["One."]),
        ({"code": "Unauthorized", "message": "One."}, ["Unauthorized"], ["One."]),
        ({"type": "about:blank", "title": "No", "detail": "One."}, ["about:blank"], ["One."]),
        ([{"code": "a", "messages": {"x": "One."}}], ["a"], ["One."]),
        ("One.", ["unknown"], ["One."]),
        (None, ["unknown"], []),
    ],
)
def test_messages_are_found_in_any_error_body(body: Any, codes: list[str], messages: list[str]) -> None:
    for content in (msgspec.json.encode(body), b"\xef\xbb\xbf" + msgspec.json.encode(body)):
        entries = read_entries(content)
        assert [entry.code for entry in entries] == codes
        assert marketplace_error(422, entries, None).messages == messages


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<!DOCTYPE html><html><head><title>\n 502 Bad\n Gateway &amp; more</title></head><body>secret</body></html>",
         '502: a web page instead of an answer ("502 Bad Gateway & more")'),
        (b"\r\n <html><body>secret</body></html>", "502: a web page instead of an answer"),
        (b"", "502: no message"),
        (b"upstream is away", "502: upstream is away"),
        (b"\xff\xfe", "502: \ufffd\ufffd"),
        ("Κάτι λείπει".encode(), "502: Κάτι λείπει"),
    ],
)  # fmt: skip
def test_only_the_title_of_an_html_answer_is_shown(body: bytes, told: str) -> None:
    assert str(marketplace_error(502, read_entries(body), None)) == told


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["errors", "error", "code", "messages", "message", "x"]), inner, max_size=3),
                    max_leaves=12))  # fmt: skip
def test_every_json_body_is_read_into_codes_and_texts(body: Any) -> None:
    entries = read_entries(msgspec.json.encode(body))
    assert entries
    assert all(type(entry.code) is str and all(type(text) is str for text in entry.messages) for entry in entries)


@both
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b'{"errors": {"code": 7, "messages": "No."}}'])
def test_an_odd_body_does_not_change_the_class_of_a_refusal(kind: Kind, body: bytes) -> None:
    for status, expected in OF_STATUS.items():
        network = kind(*[HttpAnswer(status, body)] * 4)
        with pytest.raises(expected) as refused:
            network.call("order", "o1")
        assert refused.value.status == status
        assert "<" not in str(refused.value)


@both
def test_after_a_lost_answer_an_already_done_text_is_success(kind: Kind) -> None:
    done = HttpAnswer(422, b'{"errors": {"code": 12, "messages": "Order already accepted."}}')
    network = kind(HttpAnswer(502, b""), done)
    assert network.call("accept", "o1", "loc", 7) is None


@both
@pytest.mark.parametrize("status", [200, 201, 202])
def test_each_2xx_is_an_answer_and_no_refusal(kind: Kind, status: int) -> None:
    assert kind(OK._replace(status=status)).call("accept", "o1", "loc", 7) is None


@both
def test_a_retry_after_may_be_a_date(kind: Kind) -> None:
    now = 1_790_000_000.0
    headers = {"retry-after": formatdate(now + 12, usegmt=True), "date": formatdate(now, usegmt=True)}
    network = kind(HttpAnswer(429, b"slow down", headers), OK)
    network.call("set_as_ready", "o1")
    assert network.pauses == [12.0], "counted from the answer's own clock, whatever ours says"
    network = kind(HttpAnswer(503, b"", {**headers, "retry-after": formatdate(now + 3600, usegmt=True)}))
    with pytest.raises(public.UnavailableError) as refused:
        network.call("order", "o1")
    assert refused.value.retry_after_seconds == 3600
    for text in (formatdate(now - 60, usegmt=True), "soon", "-5", "1e3"):
        network = kind(HttpAnswer(503, b"", {**headers, "retry-after": text}), OK)
        network.call("accept", "o1", "loc")
        assert network.pauses[0] <= 0.5, text


def test_without_a_date_of_the_answer_our_own_clock_counts() -> None:
    flows = Flows("http://market", "secret", vendor="skroutz", retries=Retries(attempts=1), clock=lambda: 1_790_000_000)
    for text in ("Mon, 21 Sep 2026 14:13:27 GMT", "Monday, 21-Sep-26 14:13:27 GMT", "Mon Sep 21 14:13:27 2026"):
        flow = flows.order("o1", action_options=False)
        assert isinstance(flow.send(None), Send)
        with pytest.raises(public.UnavailableError) as refused:
            flow.send(HttpAnswer(503, b"", {"retry-after": text}))
        assert refused.value.retry_after_seconds == 7, text
