"""A voucher is one whole PDF, and those of a day are one document."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2
import pytest
from click.testing import CliRunner

from kalathi.cli import main
from kalathi.contract.words import OrderState
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.printed import Printed
from kalathi.merchant.overview import MergedVouchers, merge_vouchers, status_of
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.vouchers import PDFIUM, NotAVoucherError, whole_pdf
from tests.pdfs import a_pdf
from tests.unit.test_connector import LINK, VOUCHER, Shop, shop

__all__ = ["shop"]

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("before", [b"", BOM, b"\r\n", b"X-Proxy: seen\n\n", b"x" * 1023])
@pytest.mark.parametrize("after", [b"", b"\n", b"\0" * 5000, b"\n<!-- seen by a proxy -->"])
def test_bytes_around_a_pdf_are_allowed_and_those_before_it_dropped(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    path = FolderPrinter(tmp_path).print_voucher("o1", before + a_pdf() + after)
    assert path.read_bytes() == a_pdf() + after
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 1


def _without(part: bytes) -> Callable[[bytes], bytes]:
    return lambda pdf: pdf.replace(part, b"")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: b"", "the voucher of o1 is empty"),
        (lambda _: b"<html>log in first</html>", "is not a PDF: it begins with '<html>log in first</html>'"),
        (lambda pdf: b"x" * 1024 + pdf, "is not a PDF: it begins with 'xxxx"),
        (lambda pdf: pdf[: len(pdf) // 2], "is not a whole PDF: its [0-9]+ bytes have no %%EOF"),
        (lambda pdf: pdf[:-8], "is not a whole PDF"),
        (lambda pdf: pdf + b"y" * 1025, "is not a whole PDF"),
        (lambda _: b"%PDF-1.4\n%%EOF\n", "is a PDF that cannot be read: "),
        (lambda pdf: pdf + b"\n7 0 obj\n<< /Type /Page >>\nendobj\n", "is not a whole PDF"),
        (lambda pdf: pdf + b"\nxref\n0 1\ntrailer\n<< >>\nstartxref\n1", "is not a whole PDF"),
        (_without(b"/Root"), "is a PDF that cannot be read: "),
    ],
)
def test_an_incomplete_pdf_is_refused_with_the_reason_and_not_written(
    tmp_path: Path, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    with pytest.raises(NotAVoucherError, match=reason):
        FolderPrinter(tmp_path).print_voucher("o1", spoil(a_pdf()))
    assert list(tmp_path.iterdir()) == []


def test_a_pdf_without_a_page_is_refused() -> None:
    with pytest.raises(NotAVoucherError, match=r"is a PDF (without a page|that cannot be read)"):
        whole_pdf("o1", a_pdf(pages=0))


def test_every_truncated_voucher_is_refused() -> None:
    """But for the newline behind its end."""
    pdf = a_pdf(pages=3)
    for length in range(len(pdf.rstrip())):
        with pytest.raises(NotAVoucherError):
            whole_pdf("o1", pdf[:length])


def test_vouchers_are_checked_and_merged_on_many_threads_at_a_time(tmp_path: Path) -> None:
    def work(number: int) -> int:
        path = FolderPrinter(tmp_path).print_voucher(f"o{number}", a_pdf(100 + number % 8, pages=5))
        printed = [Printed("url", "o", str(path), 0.0)] * 3
        return merge_vouchers(printed, tmp_path / f"{number}-day.pdf").pages

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(200))) == [15] * 200


def test_pdfium_is_used_by_one_thread_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "0.pdf").write_bytes(a_pdf())
    printed = [Printed("url", "o0", str(tmp_path / "0.pdf"), 0.0)]
    with ThreadPoolExecutor(2) as threads:
        with PDFIUM:
            checked = threads.submit(whole_pdf, "o1", a_pdf())
            merged = threads.submit(merge_vouchers, printed, tmp_path / "day.pdf")
            assert not wait([checked], timeout=0.1).done
            assert not wait([merged], timeout=0.1).done
        assert checked.result() == a_pdf()
        assert merged.result().pages == 1


@pytest.mark.anyio
async def test_a_truncated_voucher_is_fetched_again_until_it_is_whole(shop: Shop) -> None:
    half = {LINK: VOUCHER[:200]}
    shop.market.spoiled = half
    shop.receive(shop.order("o1", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    await shop.work()
    assert not (shop.folder / "out" / "o1.pdf").exists()
    half.clear()
    await shop.work(until_seconds=10)
    assert (shop.folder / "out" / "o1.pdf").read_bytes() == VOUCHER
    assert status_of(shop.inbox, datetime.now(UTC)).needs_a_person == []


def _printed(folder: Path, count: int) -> list[Printed]:
    printed = []
    for number in range(count):
        path = folder / f"{number}.pdf"
        path.write_bytes(a_pdf(100 + number))
        printed.append(Printed(f"url{number}", f"o{number}", str(path), float(number)))
    return printed


def test_the_vouchers_of_a_day_are_one_document_in_their_order(tmp_path: Path) -> None:
    printed = _printed(tmp_path, 5)
    (tmp_path / "1.pdf").unlink()
    (tmp_path / "3.pdf").write_bytes(a_pdf()[:100])
    merged = merge_vouchers(printed, tmp_path / "day.pdf")
    assert (merged.pages, merged.gone, list(merged.unreadable)) == (3, ["o1"], ["o3"])
    with pypdfium2.PdfDocument(tmp_path / "day.pdf") as document:
        assert [document[page].get_width() for page in range(3)] == [100, 102, 104]
    assert merge_vouchers([], tmp_path / "none.pdf") == MergedVouchers(0, [], {})
    assert not (tmp_path / "none.pdf").exists()


def _day(folder: Path) -> str:
    result = CliRunner().invoke(
        main, ["merchant", "day", "--data", str(folder), "--date", "1970-01-02", "--out", str(folder / "day.pdf")]
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_day_distinguishes_unreadable_from_missing_files(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "merchant.db")
    assert _day(tmp_path) == "No voucher was printed on 02/01/1970.\n"
    for voucher in _printed(tmp_path, 4):
        inbox.vouchers.mark_printed(voucher.url, voucher.code, voucher.path, 86_400 + 43_200 + voucher.printed_at)
    (tmp_path / "0.pdf").unlink()
    (tmp_path / "1.pdf").write_bytes(b"<html>")
    (tmp_path / "2.pdf").unlink()
    (tmp_path / "2.pdf").mkdir()
    gone, spoiled, folder, pages = _day(tmp_path).splitlines()
    assert gone == "Left out, since their files are not there any more: o0."
    again = "To print it again: kalathi merchant reprint"
    assert spoiled.startswith("Left out: the file of o1 could not be read: Failed to load document")
    assert spoiled.endswith(f"{again} o1")
    assert folder == f"Left out: the file of o2 could not be read: Is a directory. {again} o2"
    assert pages == f"{tmp_path}/day.pdf: 1 pages."
    (tmp_path / "3.pdf").unlink()
    (tmp_path / "day.pdf").unlink()
    assert _day(tmp_path).splitlines()[-1] == "Nothing was written: none of the vouchers of 02/01/1970 could be read."
    (tmp_path / "1.pdf").unlink()
    (tmp_path / "2.pdf").rmdir()
    assert _day(tmp_path).splitlines()[-1] == "Nothing was written: none of the vouchers of 02/01/1970 is left."
    assert not (tmp_path / "day.pdf").exists()
    inbox.close()
