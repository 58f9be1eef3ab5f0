"""Print commands and CUPS: each label once, and the label of a cancelled order leaves the queue."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kalathi.cli.command_options import COMMAND_OPTIONS
from kalathi.cli.merchant import merchant
from kalathi.cli.merchant_parts import PartError, printer_of, recipient_of
from kalathi.merchant.client.network import AsyncNetwork
from kalathi.merchant.commands import HANDING_OVER, PRINTING, Limit
from kalathi.merchant.handing_over import HandoverError
from kalathi.merchant.printing import CommandPrinter, PrinterError, QueuePrinter, UnsurePrinterError
from tests.pdfs import a_pdf

SHORT = Limit(0.2, PRINTING.setting)
# It numbers its jobs, and speaks German unless it is run in the C locale, as CUPS does.
LP = """
printf '%s\\n' "$@" > "$HERE/arguments"; echo "$LC_ALL $LANG" > "$HERE/locale"
echo job >> "$HERE/jobs"; number=$(wc -l < "$HERE/jobs")
if [ "$LC_ALL" = C ]
then echo "request id is ${2%%/*}-$number (1 file(s))"
else echo "Anfrage-ID ist ${2%%/*}-$number (1 Datei(en))"
fi"""
CANCEL = """
[ ! -e "$HERE/broken" ] || { echo "cancel: Unable to connect to server." >&2; exit 1; }
echo "$@" >> "$HERE/cancelled"
[ ! -e "$HERE/ended" ] || { echo "cancel: cancel-job failed: Job #1 is already completed." >&2; exit 1; }"""


class Cups:
    """`lp` and `cancel` on the path; what they were given stands in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"

    def put(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\nHERE='{self.folder}'\n{script}\n", "utf-8")
        path.chmod(0o755)

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text("utf-8").splitlines() if path.exists() else []


@pytest.fixture
def cups(tmp_path: Path) -> Iterator[Cups]:
    (tmp_path / "bin").mkdir()
    made = Cups(tmp_path)
    made.put("lp", LP)
    made.put("cancel", CANCEL)
    before = dict(os.environ)
    os.environ.update(PATH=f"{tmp_path}/bin:{before['PATH']}", LANG="el_GR.UTF-8", LC_ALL="el_GR.UTF-8")
    yield made
    os.environ.clear()
    os.environ.update(before)


QUEUES = ["labels", "Zebra+Dach", "Ετικέτες.1", "labels-7", "a.*(b)[c]|d$^?", "Zebra_2nd-floor"]


@pytest.mark.parametrize("queue", QUEUES)
def test_a_cancelled_label_leaves_a_queue_of_any_name_in_any_locale(cups: Cups, queue: str) -> None:
    printer = QueuePrinter(cups.out, queue)
    printer.print_voucher("o1", a_pdf())
    assert cups.lines("locale") == ["C el_GR.UTF-8"]
    assert printer.withdraw("o1") == cups.out / "cancelled" / "o1.pdf"
    assert cups.lines("cancelled") == [f"/{queue}-1"]
    assert printer.withdraw("o1") is None
    assert cups.lines("cancelled") == [f"/{queue}-1"], "once"


def test_printing_a_new_voucher_cancels_the_earlier_job(cups: Cups) -> None:
    printer = QueuePrinter(cups.out, "labels")
    for width in (100, 101):
        printer.print_voucher("o1", a_pdf(width))
    assert cups.lines("cancelled") == ["/labels-1"]
    printer.withdraw("o1")
    assert cups.lines("cancelled") == ["/labels-1", "/labels-2"]


@pytest.mark.parametrize(
    "answer",
    [
        "request id is Zebra+Dach-4 (1 file(s))",
        "request id is Zebra-Dach-4 (1 file(s))",
        "request id is xZebra-4 (1 file(s))",
        "request id is Zebra-4x (1 file(s))",
        "request id is Zebra-٤ (1 file(s))",
        "request id is Zebra",
        "",
    ],
)
def test_an_answer_of_lp_without_a_job_of_the_queue_is_ignored(cups: Cups, answer: str) -> None:
    cups.put("lp", f"echo '{answer}'")
    printer = QueuePrinter(cups.out, "Zebra")
    printer.print_voucher("o1", a_pdf())
    printer.withdraw("o1")
    assert cups.lines("cancelled") == []


@pytest.mark.parametrize(
    "kept",
    [
        b"Zebra",
        b"Zebra-",
        b"-",
        b"",
        b"Zebra-7x",
        b"a queue-7",
        b"a/queue-7",
        b"-a",
        b"Zebra\n-1",
        b"Zebra-\xd9\xa4",
        b"Zebra-1\n",
        b"\xff",
    ],
)
def test_a_job_file_that_names_no_job_of_the_queue_cancels_nothing(cups: Cups, kept: bytes) -> None:
    """An earlier version wrote `Zebra` for a job of `Zebra+Dach`, and `cancel Zebra` takes what that queue prints."""
    printer = QueuePrinter(cups.out, "Zebra")
    (cups.out / "o1.job").write_bytes(kept)
    assert printer.withdraw("o1") is None
    assert cups.lines("cancelled") == []
    assert not (cups.out / "o1.job").exists()


def test_a_label_that_is_on_paper_already_is_withdrawn_from_the_folder(cups: Cups) -> None:
    printer = QueuePrinter(cups.out, "labels")
    printer.print_voucher("o1", a_pdf())
    (cups.folder / "ended").touch()
    assert printer.withdraw("o1") == cups.out / "cancelled" / "o1.pdf"


def test_a_job_of_an_earlier_queue_is_cancelled_too(cups: Cups) -> None:
    QueuePrinter(cups.out, "Zebra").print_voucher("o1", a_pdf())
    assert QueuePrinter(cups.out, "Brother").withdraw("o1") == cups.out / "cancelled" / "o1.pdf"
    assert cups.lines("cancelled") == ["/Zebra-1"]


@pytest.mark.parametrize(
    "answer", ["Forbidden", "Unauthorized", "Internal Server Error", "Error - add '/version=1.1' to server name.", ""]
)
def test_a_failed_cancellation_is_retried_and_keeps_the_label(cups: Cups, answer: str) -> None:
    printer = QueuePrinter(cups.out, "labels")
    printer.print_voucher("o1", a_pdf())
    cups.put("cancel", f'echo "cancel: cancel-job failed: {answer}" >&2; exit 1')
    for _ in range(2):
        with pytest.raises(PrinterError, match=f"the print job labels-1 was not cancelled: .*{answer}"):
            printer.withdraw("o1")
    assert (cups.out / "o1.pdf").exists()
    cups.put("cancel", CANCEL)
    assert printer.withdraw("o1") == cups.out / "cancelled" / "o1.pdf"
    assert cups.lines("cancelled") == ["/labels-1"]


@pytest.mark.parametrize(
    "answer",
    ["Job #1 does not exist.", "Job #1 is already completed - can't cancel.", "Job #1 is already canceled - can't."],
)
def test_a_job_that_has_ended_needs_no_cancelling(cups: Cups, answer: str) -> None:
    printer = QueuePrinter(cups.out, "labels")
    printer.print_voucher("o1", a_pdf())
    cups.put("cancel", f'echo "cancel: cancel-job failed: {answer}" >&2; exit 1')
    assert printer.withdraw("o1") == cups.out / "cancelled" / "o1.pdf"


def test_a_job_is_cancelled_later_when_cups_cannot_be_reached(cups: Cups) -> None:
    printer = QueuePrinter(cups.out, "labels", limit=SHORT)
    printer.print_voucher("o1", a_pdf())
    (cups.folder / "broken").touch()
    with pytest.raises(PrinterError, match="Unable to connect to server"):
        printer.withdraw("o1")
    (cups.folder / "broken").unlink()
    cups.put("cancel", "sleep 300")
    with pytest.raises(PrinterError, match=r"cancel did not end within 0.2 s \(--print-seconds\)$") as raised:
        printer.withdraw("o1")
    assert not isinstance(raised.value, UnsurePrinterError), "a label comes out at most once all the same"
    cups.put("cancel", CANCEL)
    assert printer.withdraw("o1") == cups.out / "cancelled" / "o1.pdf"
    assert cups.lines("cancelled") == ["/labels-1"]


def test_options_and_an_instance_are_given_to_lp_and_the_job_bears_the_queues_name(cups: Cups) -> None:
    printer = printer_of(cups.out, "labels/a6", "", options=" media=a6  fit-to-page 'job-sheets=none,a b' ")
    path = printer.print_voucher("o1", a_pdf())
    options = ["-o", "media=a6", "-o", "fit-to-page", "-o", "job-sheets=none,a b"]
    assert cups.lines("arguments") == ["-d", "labels/a6", *options, str(path)]
    printer.withdraw("o1")
    assert cups.lines("cancelled") == ["/labels-1"]


@pytest.mark.parametrize(
    ("queue", "options", "told"),
    [
        ("labels", "-o media=a6", "leave out -o"),
        ("labels", "media='a6", "--printer-options: No closing quotation"),
        ("", "media=a6", "of the queue of --printer"),
    ],
)
def test_unusable_options_are_refused_at_the_start(tmp_path: Path, queue: str, options: str, told: str) -> None:
    with pytest.raises(PartError, match=told):
        printer_of(tmp_path, queue, "", options=options)


def test_blank_options_are_not_passed_to_lp(cups: Cups) -> None:
    printer_of(cups.out, "labels", "", options=" ").print_voucher("o1", a_pdf())
    assert cups.lines("arguments")[:2] == ["-d", "labels"]
    assert len(cups.lines("arguments")) == 3


def test_a_timeout_of_lp_is_reported_and_its_job_can_still_be_cancelled(cups: Cups) -> None:
    cups.put("lp", "echo 'request id is labels-9 (1 file(s))'; sleep 300; true")
    printer = QueuePrinter(cups.out, "labels", limit=SHORT)
    with pytest.raises(UnsurePrinterError, match=r"^lp did not end within 0.2 s \(--print-seconds\): request"):
        printer.print_voucher("o1", a_pdf())
    printer.withdraw("o1")
    assert cups.lines("cancelled") == ["/labels-9"]


def test_a_print_command_with_a_background_child_has_printed(tmp_path: Path) -> None:
    script = f'sleep 300 & echo $! > {tmp_path}/child; echo "$1" >> {tmp_path}/printed'
    begun = time.monotonic()
    path = CommandPrinter(tmp_path / "out", ["sh", "-c", script, "print"]).print_voucher("o1", a_pdf())
    os.kill(int((tmp_path / "child").read_text("utf-8")), 9)
    assert time.monotonic() - begun < 10
    assert (tmp_path / "printed").read_text("utf-8").splitlines() == [str(path)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sh", "-c", "echo no paper >&2; exit 2"], "^sh ended with status 2: no paper$"),
        (["no-such-command"], "^no-such-command cannot be started: No such file or directory$"),
    ],
)
def test_a_failed_print_command_can_be_retried(tmp_path: Path, words: list[str], told: str) -> None:
    with pytest.raises(PrinterError, match=told) as raised:
        CommandPrinter(tmp_path, words).print_voucher("o1", a_pdf())
    assert not isinstance(raised.value, UnsurePrinterError)


def test_the_limits_are_settings_and_their_defaults_are_those_of_the_commands() -> None:
    defaults = {option.opts[0]: option.default for option in merchant.params}
    for limit in (PRINTING, HANDING_OVER):
        assert defaults[limit.setting] == limit.seconds
    assert len(COMMAND_OPTIONS) == 4


@pytest.mark.anyio
async def test_the_settings_reach_the_commands(tmp_path: Path) -> None:
    slow = "sh -c 'sleep 300; true'"
    with pytest.raises(UnsurePrinterError, match=r"^sh did not end within 0.2 s \(--print-seconds\)"):
        printer_of(tmp_path, "", slow, seconds=0.2).print_voucher("o1", a_pdf())
    recipient = recipient_of(f"command:{slow}", AsyncNetwork(1.0), seconds=0.3)
    assert recipient is not None
    with pytest.raises(HandoverError, match=r"^sh did not end within 0.3 s \(--hand-over-seconds\)"):
        await recipient.receive("o1", b"{}")
