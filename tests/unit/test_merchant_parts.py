"""The merchant's inbox and printer, on real files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kalathi.merchant.inbox import Inbox, InboxInUseError, InboxVersionError
from kalathi.merchant.inbox.reservations import Claim
from kalathi.merchant.inbox.subjects import Subject
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.vouchers import NotAVoucherError
from tests.pdfs import a_pdf


def _csv(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_an_event_is_stored_once_in_order_and_survives_a_restart(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    assert inbox.events.put(b"one")
    assert inbox.events.put(b"two")
    assert not inbox.events.put(b"one")
    assert inbox.next_at() == 0
    inbox.plan_from_event(inbox.events.unread()[0], Subject.ORDER, "o1")
    inbox.close()
    inbox = Inbox(tmp_path / "inbox.db")
    assert [event.body for event in inbox.events.unread()] == [b"two"]
    assert not inbox.events.put(b"one"), "what is done is not taken again"
    inbox.events.put_aside(inbox.events.unread()[0], "look at this")
    assert inbox.events.unread() == []
    assert inbox.aside() == [(b"two", "look at this")]
    assert inbox.events.put(b"two"), "a resend of what was put aside is looked at again"
    assert [event.body for event in inbox.events.unread()] == [b"two"]
    assert inbox.aside() == []
    inbox.close()


def test_a_postponed_job_counts_its_tries_until_a_new_event(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    for code in ("stuck", "fine"):
        inbox.jobs.plan(Subject.ORDER, code)
    stuck = next(look for look in inbox.jobs.due(0) if look.code == "stuck")
    inbox.jobs.postpone(stuck, 100.0)
    assert [look.code for look in inbox.jobs.due(99)] == ["fine"]
    assert [(look.code, look.tries) for look in inbox.jobs.due(100)] == [("fine", 0), ("stuck", 1)]
    inbox.jobs.plan(Subject.ORDER, "stuck")
    assert [(look.code, look.tries) for look in inbox.jobs.due(0)] == [("fine", 0), ("stuck", 0)]
    inbox.close()


def test_an_event_that_arrives_during_a_job_causes_another(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.jobs.plan(Subject.ORDER, "o1")
    [look] = inbox.jobs.due(0)
    inbox.jobs.plan(Subject.ORDER, "o1")
    inbox.subjects.note_state(Subject.ORDER, "o1", "open", 50.0)
    inbox.jobs.finish(look, 1.0)
    [again] = inbox.jobs.due(0)
    inbox.subjects.note_state(Subject.ORDER, "o1", "accepted", None)
    inbox.jobs.finish(again, 2.0)
    assert inbox.jobs.due(10) == []
    assert [(known.code, known.seen, known.answer_until) for known in inbox.subjects.in_state("accepted")] == [
        ("o1", "accepted", None)
    ]
    inbox.close()


def test_a_deadline_is_reported_once(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.jobs.plan(Subject.ORDER, "o1")
    [look] = inbox.jobs.due(0)
    inbox.subjects.note_state(Subject.ORDER, "o1", "open", 50.0)
    inbox.jobs.finish(look, 1.0, "Order o1: who knows")
    assert inbox.subjects.list_unwarned(49, 49) == []
    [known] = inbox.subjects.list_unwarned(50, 50)
    assert inbox.subjects.list_unwarned(50, 50) == [known], "told it is when it was told"
    inbox.subjects.mark_warned(known)
    inbox.subjects.note_state(Subject.ORDER, "o1", "open", 50.0)
    assert inbox.subjects.list_unwarned(60, 60) == []
    inbox.subjects.note_state(Subject.ORDER, "o1", "open", 90.0)
    assert [entry.answer_until for entry in inbox.subjects.list_unwarned(90, 90)] == [90.0], (
        "an extension is another deadline"
    )
    inbox.close()


def test_hand_overs_of_one_order_are_sequential_without_repeats(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    for code in ("o1", "o2"):
        inbox.jobs.plan(Subject.ORDER, code)
    assert inbox.handovers.queue(Subject.ORDER, "o1", b"first")
    assert not inbox.handovers.queue(Subject.ORDER, "o1", b"first")
    assert inbox.handovers.queue(Subject.ORDER, "o1", b"second")
    assert inbox.handovers.queue(Subject.ORDER, "o2", b"other")
    first, other = inbox.handovers.due(0)
    assert (first.body, other.body) == (b"first", b"other")
    inbox.handovers.postpone(first, 5.0)
    assert [entry.body for entry in inbox.handovers.due(0)] == [b"other"], "the second waits behind the first"
    inbox.handovers.finish(first)
    assert [entry.body for entry in inbox.handovers.due(0)] == [b"second", b"other"]
    inbox.close()


def test_read_events_are_deleted_except_the_newest(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    for number in range(10):
        inbox.events.put(f"event {number}".encode())
    for event in inbox.events.unread()[:8]:
        inbox.plan_from_event(event, Subject.ORDER, "o1")
    assert inbox.events.forget_read(5) == 5
    assert inbox.counts()["events_done"] == 3
    assert len(inbox.events.unread()) == 2
    inbox.close()


def test_a_second_connector_on_one_inbox_is_refused(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    with pytest.raises(InboxInUseError, match="Another connector"):
        Inbox(tmp_path / "inbox.db")
    inbox.close()


def test_a_voucher_is_written_whole_into_its_folder_with_any_code(tmp_path: Path) -> None:
    printer = FolderPrinter(tmp_path / "out")
    path = printer.print_voucher("261124-0000001", a_pdf())
    assert path == (tmp_path / "out" / "261124-0000001.pdf")
    assert path.read_bytes() == a_pdf()
    escaped = printer.print_voucher("../../etc/passwd", a_pdf())
    assert escaped.parent == tmp_path / "out"
    assert printer.print_voucher("x" * 5000, a_pdf()).exists()
    with pytest.raises(NotAVoucherError):
        printer.print_voucher("page", b"<html>log in first</html>")
    assert sorted(file.suffix for file in (tmp_path / "out").iterdir()) == [".pdf", ".pdf", ".pdf"]


def test_an_inbox_of_the_previous_version_is_upgraded_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    with closing(Inbox(path)) as inbox:
        inbox.reservations.reserve("o1", [Claim(("A",), 2)])
    with closing(sqlite3.connect(path)) as database, database:
        tables = list(database.execute("SELECT sql FROM sqlite_schema ORDER BY name"))
        database.execute("ALTER TABLE reservations DROP COLUMN shown_until")
        for table in ("publications", "batches", "moved"):
            database.execute(f"DROP TABLE {table}")
        database.execute("PRAGMA user_version = 3")
    with pytest.raises(InboxVersionError, match="First start the connector"):
        Inbox(path, beside=True)
    for _ in range(2):
        with closing(Inbox(path)) as inbox:
            assert inbox.reservations.of("o1") == {"A": 2}
            inbox.reservations.reserve("o2", [Claim(("A",), 1)])
    with closing(sqlite3.connect(path)) as database:
        assert len(list(database.execute("SELECT shown_until FROM reservations"))) == 2
        assert len(list(database.execute("SELECT sql FROM sqlite_schema"))) == len(tables)


def test_an_unfinished_inbox_is_recreated_and_a_newer_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    path.touch()
    inbox = Inbox(path)
    assert inbox.events.put(b"one")
    inbox.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(InboxVersionError, match="another --data"):
        Inbox(path)
