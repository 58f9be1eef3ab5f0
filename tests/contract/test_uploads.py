"""Invoices and credit invoices: type detected by content, limited, replaced, served as a download."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.marketplace.orders.uploads import LARGEST_UPLOAD_BYTES, mime_type
from kalathi.marketplace.web.multipart import read_parts
from tests.market import Shop, open_market

pytestmark = pytest.mark.anyio

PDF = b"%PDF-1.7\n1 0 obj\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPG = b"\xff\xd8\xff\xe0" + bytes(20)
BOTH = pytest.mark.parametrize(
    ("action", "field", "title"),
    [("invoices", "invoice_file", "invoice"), ("credit_invoices", "credit_invoice_file", "credit invoice")],
)


async def _refused(shop: Shop, code: str, action: str, field: str, content: bytes) -> tuple[int, str, str]:
    before = await shop.market.order(code)
    answer = await shop.upload(code, action, field, content)
    assert await shop.market.order(code) == before
    [error] = answer.json["errors"]
    return answer.status, error["code"], error["messages"][0]


@pytest.mark.parametrize(("content", "extension"), [(PDF, "pdf"), (PNG, "png"), (JPG, "jpg")])
async def test_an_invoice_is_stored_by_detected_type_and_linked_by_the_order(
    tmp_path: Path, content: bytes, extension: str
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        told = await shop.sent_updates(code)
        answer = await shop.upload(code, "invoices", "invoice_file", content, "page.html")
        assert answer.json == {"success": True}
        url = (await shop.show(code))["uploaded_invoice_file"]
        assert url.endswith(f".{extension}")
        file = await market.call("GET", url.removeprefix("http://market"))
        assert (file.status, file.body) == (200, content)
        assert file.headers["x-content-type-options"] == "nosniff"
        assert file.headers["content-disposition"].startswith("attachment")
        assert await shop.sent_updates(code) == told, "the contract names no event for an upload"
        wrong = url.removeprefix("http://market").rpartition(".")[0] + ".html"
        assert (await market.call("GET", wrong)).status == 404


async def test_a_later_upload_replaces_the_earlier_file_and_its_link(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        urls = []
        for content in (PDF, PNG):
            assert (await shop.upload(code, "invoices", "invoice", content)).json == {"success": True}
            urls.append((await shop.show(code))["uploaded_invoice_file"].removeprefix("http://market"))
        assert (await market.call("GET", urls[0])).status == 404
        assert (await market.call("GET", urls[1])).body == PNG


async def test_a_credit_invoice_shows_in_the_operators_view_only_and_also_after_the_order_has_ended(
    tmp_path: Path,
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        await market.operate("POST", f"/marketplace/orders/{code}/cancel")
        before = await shop.show(code)
        for content in (PNG, PDF):
            answer = await shop.upload(code, "credit_invoices", "credit_invoice_file", content)
            assert answer.json == {"success": True}
        assert await shop.show(code) == before
        url = (await market.order(code))["credit_invoice"]
        assert (await market.call("GET", url.removeprefix("http://market"))).body == PDF


@BOTH
async def test_an_upload_without_a_valid_file_is_refused(tmp_path: Path, action: str, field: str, title: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        missing = (400, field, f"Missing {title} file")
        assert await _refused(shop, code, action, "other", PDF) == missing
        for body, content_type in (
            (b"", "multipart/form-data; boundary=x"),
            (b"--x\r\n", "multipart/form-data; boundary=x"),
            (b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
            (b"nonsense", "multipart/form-data"),
            (PDF, "application/pdf"),
        ):
            answer = await shop.call("POST", f"/orders/{code}/{action}", body, **{"Content-Type": content_type})
            assert answer.status == 400, body
            assert answer.json == {"errors": [{"code": field, "messages": [missing[2]]}]}
        assert await _refused(shop, code, action, field, b"") == missing, "a form in which no file was chosen"
        kinds = [
            (b"PK\x03\x04zip", "application/zip"),
            (b"<!DOCTYPE html><script>", "text/html"),
            (b"hello", "text/plain"),
            (b"\x00\xff\x00", "application/octet-stream"),
        ]
        for content, kind in kinds:
            message = f"{title.capitalize()} file {kind} mime-type is not accepted"
            assert await _refused(shop, code, action, field, content) == (422, field, message)


@pytest.mark.parametrize("before", [b"", b"This is a message with multiple parts in MIME format.\r\n"])
@pytest.mark.parametrize(
    "disposition",
    [
        "form-data; name=invoice_file",
        "form-data; name=\"invoice_file\"; filename*=UTF-8''%CE%A4%CE%B9%CE%BC.pdf",
        'form-data; name="invoice_file"; filename=""',
    ],
)
async def test_every_form_of_a_file_field_is_accepted(tmp_path: Path, disposition: str, before: bytes) -> None:
    body = before + f"--x\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + PDF + b"\r\n--x--\r\n"
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (await shop.call("POST", f"/orders/{code}/invoices", body, **headers)).json == {"success": True}
        url = (await shop.show(code))["uploaded_invoice_file"]
        assert (await market.call("GET", url.removeprefix("http://market"))).body == PDF


FIELD = b'Content-Disposition: form-data; name="invoice_file"'
EMPTY = b'--x\r\nContent-Disposition: form-data; name="invoice_file"; filename=""\r\n\r\n\r\n'
OTHER_NAME = b'Content-Disposition: form-data; name="invoice"'


@pytest.mark.parametrize(
    ("form", "content"),
    [
        (b"--x \t\r\n" + FIELD + b"\r\n\r\n" + PDF + b"\r\n--x--", PDF),
        (b"--x\n" + FIELD + b"\n\n" + PDF + b"\n--x--\n", PDF),
        (b"--x\n" + FIELD + b"\n\n" + PDF + b"\r\n--x--\n", PDF + b"\r"),
        (b"--x\r\nContent-Disposition: form-data;\r\n\tname=invoice_file\r\n\r\n" + PDF + b"\r\n--x--", PDF),
        (b"--x\r\n" + FIELD.replace(b"_file", b"_file[]") + b"\r\n\r\n" + PDF + b"\r\n--x--", PDF),
        (b"--x\r\n" + FIELD.replace(b"_file", b"_file[0]") + b"\r\n\r\n" + PDF + b"\r\n--x--", PDF),
        (EMPTY + b"--x\r\n" + FIELD + b"\r\n\r\n" + PDF + b"\r\n--x--", PDF),
        (EMPTY + b"--x\r\n" + OTHER_NAME + b"\r\n\r\n" + PDF + b"\r\n--x--", PDF),
        (b"--x\r\n" + OTHER_NAME + b"\r\n\r\nother\r\n--x\r\n" + FIELD + b"\r\n\r\n" + PDF + b"\r\n--x--", PDF),
        (b"--x\r\n\r\nno header\r\n--x\r\n" + FIELD + b"\r\n\r\n" + PDF + b"--xy\r\n--x--", PDF + b"--xy"),
    ],
)
async def test_the_forms_of_real_clients_are_read(tmp_path: Path, form: bytes, content: bytes) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await shop.call("POST", f"/orders/{code}/invoices", form, **headers)
        assert answer.json == {"success": True}
        url = (await shop.show(code))["uploaded_invoice_file"]
        assert (await market.call("GET", url.removeprefix("http://market"))).body == content


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"--x\r\n",
        b"--x--",
        EMPTY + b"--x--",
        b"--x\r\n" + FIELD + b"\r\n\r\n" + PDF,
        b"--x\r\n" + FIELD + b"\r\n\r\n" + PDF + b"--x--",
        b"--x\r\n" + OTHER_NAME.replace(b"invoice", b"other") + b"\r\n\r\n" + PDF + b"\r\n--x--",
        (b"--x\r\n" + OTHER_NAME.replace(b"invoice", b"other") + b"\r\n\r\n\r\n") * 20_000 + b"--x--",
    ],
)
async def test_a_form_without_a_whole_file_is_refused(tmp_path: Path, form: bytes) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await shop.call("POST", f"/orders/{code}/invoices", form, **headers)
        assert (answer.status, answer.json["errors"][0]["messages"]) == (400, ["Missing invoice file"])


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_break_the_reader_of_forms(noise: bytes, at: int) -> None:
    form = b"--x\r\n" + FIELD + b"\r\n\r\n" + PDF + b"\r\n--x--\r\n"
    for body in (noise, form[:at] + noise + form[at:], b"--x\r\n" + noise + b"\r\n--x--"):
        for part in read_parts(body, b"x"):
            assert part.content in body


@pytest.mark.parametrize("before", [b"\n", b"\xef\xbb\xbf", b" \r\n", b"<br />\nNotice: x in y.php\n", b"\0" * 1019])
async def test_a_pdf_with_other_bytes_before_it_is_a_pdf(tmp_path: Path, before: bytes) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        assert (await shop.upload(code, "invoices", "invoice_file", before + PDF)).json == {"success": True}


async def test_an_order_of_the_marketplaces_warehouse_was_accepted(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        for code in ("DEMO-FBS", "DEMO-FBS-DISPATCHED"):
            assert (await shop.upload(code, "invoices", "invoice_file", PDF)).json == {"success": True}
            assert (await shop.upload(code, "credit_invoices", "credit_invoice_file", PDF)).json == {"success": True}


@BOTH
async def test_a_file_of_seven_megabytes_is_accepted_and_a_larger_one_is_not(
    tmp_path: Path, action: str, field: str, title: str
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        assert LARGEST_UPLOAD_BYTES == 7 * 1024 * 1024
        largest = PDF.ljust(LARGEST_UPLOAD_BYTES, b"x")
        assert (await shop.upload(code, action, field, largest)).json == {"success": True}
        message = f"{title.capitalize()} file is larger than 7 MB"
        for size in (LARGEST_UPLOAD_BYTES + 1, LARGEST_UPLOAD_BYTES * 2):
            assert await _refused(shop, code, action, field, PDF.ljust(size, b"x")) == (422, field, message)


@BOTH
async def test_an_order_that_was_never_accepted_refuses_documents(
    tmp_path: Path, action: str, field: str, title: str
) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        rejected = await shop.cart(A=1)
        await shop.call("POST", f"/orders/{rejected}/reject", {"rejection_reason_other": "closed"})
        for code in (await shop.cart(A=1), rejected):
            message = f"Failed to upload {title}. Order must be accepted first."
            assert await _refused(shop, code, action, field, PDF) == (422, field, message)


def test_a_file_type_is_detected_from_the_first_bytes() -> None:
    assert mime_type(PDF) == "application/pdf"
    assert mime_type("Ελλάδα".encode()) == "text/plain"
    assert mime_type(b"MZ\x90") == "application/x-msdownload"
    assert mime_type(b"RIFF\x00\x00\x00\x00WEBPVP8 ") == "image/webp"
    assert mime_type(b"\x00\x00\x00\x18ftypheic\x00\x00") == "image/heic"
    assert mime_type(b"\x00\x00\x00\x18ftypavif\x00\x00") == "image/avif"
    for svg in (b"<svg xmlns", b'<?xml version="1.0"?>\n<svg>', b"\xef\xbb\xbf <!-- made by -->\n<svg/>"):
        assert mime_type(svg) == "image/svg+xml"
    assert mime_type(b"<?xml version='1.0'?><Invoice/>") == "application/xml"
    assert mime_type(b"\xff\xfe" * 510 + b"%PDF-1.4"[:4]) == "application/octet-stream"


_NAMED = b'Content-Disposition: form-data; name="invoice_file"'
_HOSTILE = {
    "100,000 parts": b"".join(b"--x\r\n" + _NAMED + b"\r\n\r\n\r\n" for _ in range(100_000)) + b"--x--",
    "line feeds and no boundary": b"\n" * 7_000_000,
    "starts of a boundary": b"\n--x" * 1_700_000,
    "a boundary and blanks": b"\n--x" + b" " * 7_000_000,
    "a million headers": b"--x\r\n" + b"A: b\r\n" * 1_000_000 + b"\r\nx\r\n--x--",
    "folded headers": b"--x\r\n" + b"A: b\r\n c\r\n" * 600_000 + b"\r\nx\r\n--x--",
    "a million options": b"--x\r\n" + _NAMED + b'; a="b"' * 900_000 + b"\r\n\r\nx\r\n--x--",
    "escapes in a name": b"--x\r\n" + _NAMED[:-1] + b'\\"' * 3_000_000 + b'"\r\n\r\nx\r\n--x--',
}


@pytest.mark.parametrize("body", _HOSTILE.values(), ids=_HOSTILE)
def test_a_hostile_file_form_is_parsed_in_bounded_time(body: bytes) -> None:
    """The slowest of these took 1.4 s. CPU time, as the machine may be busy."""
    before = time.process_time()
    parts = list(read_parts(body, b"x"))
    assert len(parts) <= 100
    assert time.process_time() - before < 0.25


async def test_linked_files_are_not_cached_and_not_rendered_as_pages(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted()
        await shop.upload(code, "invoices", "invoice_file", PDF)
        order, demo = await shop.show(code), await shop.show("DEMO-ACCEPTED")
        for url in (order["courier_voucher"], order["uploaded_invoice_file"], demo["courier_voucher"]):
            answer = await market.call("GET", url.removeprefix("http://market"))
            assert answer.status == 200
            assert answer.headers["cache-control"] == "private, no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")


@pytest.mark.parametrize(("length", "count"), [(99_000, 1), (100_001, 0)])
def test_text_before_the_first_boundary_is_ignored_up_to_a_bound(length: int, count: int) -> None:
    body = b"x" * length + b"\n--x\n" + _NAMED + b"\n\ncontent\n--x--"
    assert len(list(read_parts(body, b"x"))) == count
