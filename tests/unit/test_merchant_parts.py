"""The merchant's inbox, stock and printer, on real files."""

import asyncio
import os
from pathlib import Path

import pytest

from kalathi.merchant.inbox import EventState, Inbox, InboxInUseError
from kalathi.merchant.printing import FolderPrinter, NotAVoucherError
from kalathi.merchant.stock import CsvStock, StockError


def _csv(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_an_event_is_kept_once_in_order_and_over_a_restart(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    assert inbox.put(b"one")
    assert inbox.put(b"two")
    assert not inbox.put(b"one")
    inbox.finish(inbox.pending(0)[0], EventState.DONE)
    inbox.close()
    inbox = Inbox(tmp_path / "inbox.db")
    assert [event.body for event in inbox.pending(0)] == [b"two"]
    assert not inbox.put(b"one"), "what is done is not taken again"
    inbox.finish(inbox.pending(0)[0], EventState.ASIDE, "look at this")
    assert inbox.pending(0) == []
    assert inbox.aside() == [(b"two", "look at this")]
    assert inbox.put(b"two"), "a resend of what was put aside is looked at again"
    assert [event.body for event in inbox.pending(0)] == [b"two"]
    assert inbox.aside() == []
    inbox.close()


def test_a_postponed_event_waits_for_its_time_and_counts_its_tries(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.put(b"stuck")
    inbox.put(b"fine")
    inbox.postpone(inbox.pending(0)[0], 100.0)
    assert [event.body for event in inbox.pending(99)] == [b"fine"]
    assert [(event.body, event.tries) for event in inbox.pending(100)] == [(b"stuck", 1), (b"fine", 0)]
    assert inbox.next_at() == 0
    inbox.close()


def test_a_second_connector_on_one_inbox_is_refused(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    with pytest.raises(InboxInUseError, match="Another connector"):
        Inbox(tmp_path / "inbox.db")
    inbox.close()


def test_reservations_are_counted_once_an_order_and_released_as_a_whole(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    for _ in range(2):
        inbox.reserve("order1", {"A": 2, "B": 1})
    inbox.reserve("order2", {"A": 1})
    assert inbox.reserved_pieces() == {"A": 3, "B": 1}
    inbox.release("order1")
    assert inbox.reserved_pieces() == {"A": 1}
    inbox.close()


def test_stock_is_the_shelf_without_what_is_reserved_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    path = _csv(tmp_path / "stock.csv", "\ufeffshop_uid,quantity,name\nA,5,Βιβλίο\nB, 2 ,x\n")
    stock = CsvStock(path, inbox)
    assert asyncio.run(stock.available()) == {"A": 5, "B": 2}
    inbox.reserve("order", {"A": 2, "Z": 1})
    assert asyncio.run(stock.available()) == {"A": 3, "B": 2}
    _csv(path, "shop_uid,quantity\nA,10\n")
    os.utime(path, ns=(1, 1))
    assert asyncio.run(stock.available()) == {"A": 8}
    inbox.close()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("uid;quantity\n", "columns"),
        ("shop_uid,quantity\nA,many\n", "line 2"),
        ("shop_uid,quantity\nA,-1\n", "-1"),
        ("shop_uid,quantity\nA,1\nA,2\n", "twice"),
    ],
)
def test_a_stock_file_that_cannot_be_read_says_where(tmp_path: Path, text: str, fault: str) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    with pytest.raises(StockError, match=fault):
        asyncio.run(CsvStock(_csv(tmp_path / "stock.csv", text), inbox).available())
    with pytest.raises(StockError, match="No such file"):
        asyncio.run(CsvStock(tmp_path / "missing.csv", inbox).available())
    (tmp_path / "greek.csv").write_bytes("shop_uid,quantity\nΑ,1\n".encode("cp1253"))
    with pytest.raises(StockError, match="UTF-8"):
        asyncio.run(CsvStock(tmp_path / "greek.csv", inbox).available())
    inbox.close()


def test_a_voucher_is_printed_whole_into_its_folder_whatever_its_code(tmp_path: Path) -> None:
    printer = FolderPrinter(tmp_path / "out")
    path = printer.print_voucher("261124-0000001", b"%PDF")
    assert path == (tmp_path / "out" / "261124-0000001.pdf")
    assert path.read_bytes() == b"%PDF"
    escaped = printer.print_voucher("../../etc/passwd", b"%PDF")
    assert escaped.parent == tmp_path / "out"
    assert printer.print_voucher("x" * 5000, b"%PDF").exists()
    with pytest.raises(NotAVoucherError):
        printer.print_voucher("page", b"<html>log in first</html>")
    assert sorted(file.suffix for file in (tmp_path / "out").iterdir()) == [".pdf", ".pdf", ".pdf"]
