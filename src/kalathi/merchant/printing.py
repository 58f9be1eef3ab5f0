"""Printing: each voucher into a folder, whole or not at all; and from there, if need be, to a printer."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from kalathi.merchant.commands import PRINTING, Command, Ended, Limit, LimitMet
from kalathi.merchant.vouchers import whole_pdf

_LONGEST_NAME: Final = 60
_WITHDRAWN: Final = "cancelled"
# CUPS translates its sentences; `request id is label-42` is one of them.
_UNTRANSLATED: Final = {"LC_ALL": "C"}
# What CUPS says of a job that is not in the queue any more.
_HAS_ENDED: Final = re.compile(r"does not exist|already (?:completed|cancell?ed|aborted)", re.IGNORECASE)


class PrinterError(Exception):
    """The printer's command has failed; the file is in the folder."""


class UnsurePrinterError(PrinterError):
    """The command has not ended in time: only a look at the printer shows whether there is a label."""


class FolderPrinter:
    """Puts each voucher into a folder under the order's code."""

    # The same file again is the same file; paper would come twice.
    may_repeat = True

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """The whole path of the printed file. A later voucher of the same order replaces the earlier one.

        Raises NotAVoucherError, OSError, PrinterError.
        """
        pdf = whole_pdf(code, pdf)
        path = self._folder / _file_name(code)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(pdf)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        return path.absolute()

    def withdraw(self, code: str) -> Path | None:
        """The order is not sent any more: its voucher leaves the pile, and lies among the cancelled ones. None when it
        is not there. Raises OSError."""
        path = self._folder / _file_name(code)
        if not path.exists():
            return None
        aside = self._folder / _WITHDRAWN
        aside.mkdir(exist_ok=True)
        path.replace(aside / path.name)
        return (aside / path.name).absolute()


class CommandPrinter(FolderPrinter):
    """The same, and then a command that gets the file's path as its last argument, such as `lp -d labels`."""

    may_repeat = False

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        *,
        limit: Limit = PRINTING,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        self._limit = limit
        self._command = Command(command, limit, variables=variables)

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """The file's path, when the command has ended well."""
        path = super().print_voucher(code, pdf)
        outcome = self._command.run(str(path))
        match outcome:
            case Ended(status=0, output=output):
                self._printed(path, output)
            case LimitMet(output=output):
                self._printed(path, output)
                raise UnsurePrinterError(self._command.describe(outcome))
            case _:
                raise PrinterError(self._command.describe(outcome))
        return path

    def _printed(self, path: Path, output: str) -> None:
        """Store the id of the print job, if the command printed one."""


class QueuePrinter(CommandPrinter):
    """A queue of CUPS, by `lp`. A job that is still in the queue when its order is cancelled is removed."""

    def __init__(self, folder: Path, queue: str, *, options: Sequence[str] = (), limit: Limit = PRINTING) -> None:
        """`options` are options of `lp`, such as `media=a6`. The queue may be an instance, such as `labels/a6`."""
        words = ["lp", "-d", queue]
        for option in options:
            words += ["-o", option]
        super().__init__(folder, words, limit=limit, variables=_UNTRANSLATED)
        self._cancel = Command(["cancel"], limit, variables=_UNTRANSLATED)
        # An instance is a set of options; its jobs bear the name of the queue alone.
        self._job = re.escape(queue.partition("/")[0]) + r"-\d+"

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """The same; an earlier voucher of the order leaves the queue if it still waits."""
        self._cancel_job(code)
        return super().print_voucher(code, pdf)

    def withdraw(self, code: str) -> Path | None:
        """The same, after the print job was cancelled if it still waits. Raises OSError, PrinterError."""
        self._cancel_job(code)
        return super().withdraw(code)

    def _cancel_job(self, code: str) -> None:
        file = self._job_file(self._folder / _file_name(code))
        if not file.exists():
            return
        job = file.read_bytes().decode("utf-8", "replace")
        # The queue may be an earlier one, whose printer broke while jobs waited. Any other text is not an id.
        if re.fullmatch(r"[^\s/]+-[0-9]+", job):
            # `cancel` tries its argument as a queue's name first: if a queue is called label-42, `cancel label-42`
            # cancels that queue's current job. A slash cannot be part of a queue's name, so only the id matches.
            outcome = self._cancel.run(f"/{job}")
            # A job that has ended cannot be cancelled, which is no failure: the label is on paper.
            if not isinstance(outcome, Ended) or (outcome.status != 0 and not _HAS_ENDED.search(outcome.errors)):
                raise PrinterError(f"the print job {job} was not cancelled: {self._cancel.describe(outcome)}")
        file.unlink()

    def _printed(self, path: Path, output: str) -> None:
        # As in "request id is label-42 (1 file(s))".
        found = re.search(rf"request id is ({self._job})(?!\S)", output, re.ASCII)
        if found:
            # Whole or not at all, because half an id could be that of another job.
            unfinished = self._job_file(path).with_suffix(".job-part")
            unfinished.write_text(found.group(1), "utf-8")
            unfinished.replace(self._job_file(path))

    def _job_file(self, path: Path) -> Path:
        return path.with_suffix(".job")


def _file_name(code: str) -> str:
    """A code comes from outside: only letters, digits and dashes become part of a path."""
    return re.sub(r"[^\w-]", "_", code)[:_LONGEST_NAME] + ".pdf"
