"""Print vouchers: write each one to a folder atomically, and optionally send the file to a printer."""

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
# The errors of `cancel` for a job that is no longer in the queue.
_HAS_ENDED: Final = re.compile(r"does not exist|already (?:completed|cancell?ed|aborted)", re.IGNORECASE)


class PrinterError(Exception):
    """The print command failed. The file is in the folder."""


class UnsurePrinterError(PrinterError):
    """The print command reached its time limit. A person must check at the printer whether there is a label."""


class FolderPrinter:
    """Write each voucher to a folder, under the order's code."""

    # Printing again only replaces the file. A printer would print a second label.
    may_repeat = True

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """Write the voucher and return the file's absolute path. A later voucher of the same order replaces the
        earlier.

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
        """Move the voucher of an order that will not be sent to the subfolder `cancelled`. Return its new path, or None
        if there is no voucher. Raises OSError."""
        path = self._folder / _file_name(code)
        if not path.exists():
            return None
        aside = self._folder / _WITHDRAWN
        aside.mkdir(exist_ok=True)
        path.replace(aside / path.name)
        return (aside / path.name).absolute()


class CommandPrinter(FolderPrinter):
    """Write each voucher to a folder, then run a command such as `lp -d labels` with the file's path as last
    argument."""

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
        """Write the file, run the command, and return the file's path. Raises what FolderPrinter raises."""
        path = super().print_voucher(code, pdf)
        outcome = self._command.run(str(path))
        match outcome:
            case Ended(status=0, output=output):
                self._note_job(path, output)
            case LimitMet(output=output):
                self._note_job(path, output)
                raise UnsurePrinterError(self._command.describe(outcome))
            case _:
                raise PrinterError(self._command.describe(outcome))
        return path

    def _note_job(self, path: Path, output: str) -> None:
        """Store the id of the print job, if the command printed one."""


class QueuePrinter(CommandPrinter):
    """Print through a CUPS queue, with `lp`. If an order is cancelled, its job is removed from the queue."""

    def __init__(self, folder: Path, queue: str, *, options: Sequence[str] = (), limit: Limit = PRINTING) -> None:
        """`options` are options of `lp`, such as `media=a6`. The queue may be an instance, such as `labels/a6`."""
        words = ["lp", "-d", queue]
        for option in options:
            words += ["-o", option]
        super().__init__(folder, words, limit=limit, variables=_UNTRANSLATED)
        self._cancel = Command(["cancel"], limit, variables=_UNTRANSLATED)
        # An instance is a set of options. The ids of its jobs contain only the name of the queue.
        self._job = re.escape(queue.partition("/")[0]) + r"-\d+"

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """Print as CommandPrinter does, but first cancel the order's earlier job if it is still in the queue."""
        self._cancel_job(code)
        return super().print_voucher(code, pdf)

    def withdraw(self, code: str) -> Path | None:
        """Cancel the print job if it is still in the queue, then withdraw the file. Raises OSError, PrinterError."""
        self._cancel_job(code)
        return super().withdraw(code)

    def _cancel_job(self, code: str) -> None:
        file = self._job_file(self._folder / _file_name(code))
        if not file.exists():
            return
        job = file.read_bytes().decode("utf-8", "replace")
        # The job may be in another queue that was configured before, for example until its printer broke. Any other
        # text is not an id.
        if re.fullmatch(r"[^\s/]+-[0-9]+", job):
            # `cancel` tries its argument as a queue's name first: if a queue is called label-42, `cancel label-42`
            # cancels that queue's current job. A slash cannot be part of a queue's name, so only the id matches.
            outcome = self._cancel.run(f"/{job}")
            # A job that has ended cannot be cancelled. That is not a failure.
            if not isinstance(outcome, Ended) or (outcome.status != 0 and not _HAS_ENDED.search(outcome.errors)):
                raise PrinterError(f"the print job {job} was not cancelled: {self._cancel.describe(outcome)}")
        file.unlink()

    def _note_job(self, path: Path, output: str) -> None:
        # As in "request id is label-42 (1 file(s))".
        found = re.search(rf"request id is ({self._job})(?!\S)", output, re.ASCII)
        if found:
            # Write atomically, because a truncated id could be the id of another job.
            unfinished = self._job_file(path).with_suffix(".job-part")
            unfinished.write_text(found.group(1), "utf-8")
            unfinished.replace(self._job_file(path))

    def _job_file(self, path: Path) -> Path:
        return path.with_suffix(".job")


def _file_name(code: str) -> str:
    """Return a safe file name for a code. Codes come from outside, so keep only letters, digits, `_` and `-`."""
    return re.sub(r"[^\w-]", "_", code)[:_LONGEST_NAME] + ".pdf"
