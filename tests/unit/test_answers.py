"""The answer to a webhook: the status line decides, and nothing after it can undo the status."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.marketplace.webhooks.http1.responses import MOST_HEAD_BYTES, AnswerReader

OK = b"HTTP/1.1 200 OK\r\n"
# Every odd thing that receivers were seen to send after a status line.
ODD = {
    "a header of 9,000 bytes": b"X: " + b"x" * 9000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "300 headers": b"".join(b"X-%d: 1\r\n" % number for number in range(300)) + b"Content-Length: 0\r\n\r\n",
    "a head without an end": b"X: " + b"x" * (MOST_HEAD_BYTES + 1),
    "a length in characters": b"Content-Length: 3\r\n\r\n" + "λύρα".encode(),
    "a length that is too long": b"Content-Length: 99\r\n\r\nok",
    "a length that is no number": b"Content-Length: two\r\n\r\nok",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a surplus body": b"Content-Length: 2\r\n\r\nok and more",
    "a line without a colon": b"nonsense\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": b"X : 1\r\nContent-Length: 0\r\n\r\n",
    "a folded header": b"X: 1\r\n  2\r\nContent-Length: 0\r\n\r\n",
    "no name": b": 1\r\nContent-Length: 0\r\n\r\n",
    "bytes that are no text": b"X: \xff\x00\xfe\r\nContent-Length: 0\r\n\r\n",
    "a broken chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok",
    "a chunk of the wrong length": b"Transfer-Encoding: chunked\r\n\r\n3\r\nok\r\n0\r\n\r\n",
    "another coding": b"Transfer-Encoding: gzip\r\n\r\nok",
    "nothing": b"",
}
CLEAN = {
    "length": (b"Content-Length: 2\r\n\r\nok", b"ok"),
    "no body": (b"content-length: 0\r\n\r\n", b""),
    "chunks": (b"Transfer-Encoding: Chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nT: 1\r\n\r\n", b"ok"),
    "line feeds only": (b"X: 1\nContent-Length: 2\n\nok", b"ok"),
    "mixed line ends": (b"X: 1\nContent-Length: 6\r\n\r\n\r\n\r\nok", b"\r\n\r\nok"),
}


def _read(data: bytes, *, at: list[int] | None = None, ends: bool = False) -> AnswerReader:
    reader = AnswerReader()
    last = 0
    for cut in [*sorted(at or []), len(data)]:
        if cut > last:
            reader.feed(data[last:cut])
        last = max(last, cut)
    if ends:
        reader.end()
    return reader


@pytest.mark.parametrize("status", [200, 204, 301, 404, 500, 503])
@pytest.mark.parametrize("odd", ODD)
def test_odd_bytes_after_the_status_line_only_end_the_connection(odd: str, status: int) -> None:
    reader = _read(b"HTTP/1.1 %d X\r\n%b" % (status, ODD[odd]), ends=True)
    assert (reader.status, reader.is_unreadable, reader.may_be_kept) == (status, False, False)
    assert len(reader.beginning) <= 500


@pytest.mark.parametrize("clean", CLEAN)
def test_a_valid_answer_is_read_whole_and_its_connection_is_reusable(clean: str) -> None:
    rest, body = CLEAN[clean]
    reader = _read(OK + rest)
    assert (reader.status, reader.beginning, reader.may_be_kept) == (200, body, True)


@pytest.mark.parametrize("clean", CLEAN)
def test_a_surplus_byte_ends_the_connection(clean: str) -> None:
    for reader in (_read(OK + CLEAN[clean][0] + b"!"), _read(OK + CLEAN[clean][0])):
        if reader.may_be_kept:
            reader.feed(b"!")
        assert (reader.status, reader.may_be_kept) == (200, False)


@pytest.mark.parametrize("rest", [CLEAN[clean][0] for clean in CLEAN] + list(ODD.values()))
@given(data=st.data())
def test_an_answer_reads_the_same_in_any_chunks(rest: bytes, data: st.DataObject) -> None:
    answer = OK + rest
    cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=6))
    whole, pieces = _read(answer, ends=True), _read(answer, at=cuts, ends=True)
    assert (pieces.status, pieces.beginning) == (whole.status, whole.beginning)
    assert pieces.may_be_kept is whole.may_be_kept


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 200", 200),
        (b"HTTP/1.0 200 OK", 200),
        (b"HTTP/1.1  404  Not  Found", 404),
        (b"HTTP/1.1 500 \xce\xa3\xcf\x86\xce\xac\xce\xbb\xce\xbc\xce\xb1", 500),
        (b"\r\nHTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 200OK", 200),
        (b"HTTP/1.1 999 ?", 999),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 2000", None),
        (b"HTTP/1.1 099", None),
        (b"HTTP/2 200", None),
        (b"ICY 200 OK", None),
        (b"SSH-2.0-OpenSSH_9.6", None),
        (b"<html>", None),
        (b"\x15\x03\x01\x00\x02\x02\x16", None),
    ],
)
def test_a_status_line_is_read_as_real_servers_write_it(line: bytes, status: int | None) -> None:
    reader = _read(line + b"\r\nContent-Length: 0\r\n\r\n", ends=True)
    assert (reader.status, reader.is_unreadable) == (status, status is None)


def test_bytes_that_are_not_http_are_detected_within_the_first_line() -> None:
    assert _read(b"SSH-2").is_unreadable
    assert not _read(b"HTTP/1").is_unreadable


def test_interim_answers_are_skipped_but_not_without_end() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert _read(interim * 8 + OK + b"Content-Length: 0\r\n\r\n").may_be_kept
    assert _read(interim * 9).is_unreadable
    assert _read(b"HTTP/1.1 100 Continue\r\nX: " + b"x" * MOST_HEAD_BYTES).is_unreadable
    assert b"link" not in _read(interim + OK + b"Content-Length: 0\r\n\r\n").headers


def test_http_1_0_and_connection_close_end_the_connection() -> None:
    assert not _read(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").may_be_kept
    assert not _read(OK + b"Connection: Close\r\nContent-Length: 0\r\n\r\n").may_be_kept
    assert _read(OK + b"Connection: keep-alive\r\nContent-Length: 0\r\n\r\n").may_be_kept


def test_only_the_beginning_of_a_long_body_is_read() -> None:
    for head in (b"Content-Length: 999999999\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"):
        reader = _read(OK + head + b"x" * 1000)
        assert reader.is_done
        assert (len(reader.beginning), reader.may_be_kept) == (500, False)
    assert _read(OK + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000).may_be_kept


@given(st.binary(max_size=200), st.lists(st.integers(0, 220), max_size=4))
def test_no_bytes_break_the_reader(data: bytes, cuts: list[int]) -> None:
    for answer in (data, OK + data, OK + b"Transfer-Encoding: chunked\r\n\r\n" + data):
        reader = _read(answer, at=[min(cut, len(answer)) for cut in cuts], ends=True)
        assert reader.is_done
        assert (reader.status is None) is reader.is_unreadable
