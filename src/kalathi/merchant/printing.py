"""Printing: each voucher into a folder, whole or not at all; and from there, if need be, to a printer."""

import contextlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_LONGEST_NAME: Final = 60
_COMMAND_SECONDS: Final = 60.0
_WITHDRAWN: Final = "cancelled"


class NotAVoucherError(Exception):
    """The bytes are no PDF."""


class PrinterError(Exception):
    """The printer's command has failed; the file is in the folder."""


class UnsurePrinterError(PrinterError):
    """The command has not ended in time: whether there is a label nobody knows but who looks."""


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
        if not pdf.startswith(b"%PDF"):
            raise NotAVoucherError(f"what stands behind the voucher's link of {code} is no PDF")
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

    def __init__(self, folder: Path, command: Sequence[str], *, timeout_seconds: float = _COMMAND_SECONDS) -> None:
        super().__init__(folder)
        self._command = list(command)
        self._timeout_seconds = timeout_seconds

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """The file's path, when the command has ended well."""
        path = super().print_voucher(code, pdf)
        name = self._command[0]
        try:
            ended = subprocess.run(  # noqa: S603  (the shop's own command)
                [*self._command, str(path)], capture_output=True, timeout=self._timeout_seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnsurePrinterError(f"{name} has not ended within {self._timeout_seconds:g} s") from None
        except OSError as error:
            raise PrinterError(f"{name}: {error.strerror}") from error
        if ended.returncode:
            said = ended.stderr[-200:].decode("utf-8", "replace").strip()
            raise PrinterError(f"{name} has ended with {ended.returncode}: {said}")
        self._printed(path, ended.stdout)
        return path

    def _printed(self, path: Path, said: bytes) -> None:
        """The command has ended well and has said this."""


class QueuePrinter(CommandPrinter):
    """A queue of CUPS, by `lp`. What is still in the queue when its order is cancelled is taken out of it."""

    def __init__(self, folder: Path, queue: str) -> None:
        super().__init__(folder, ["lp", "-d", queue])

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """The same; an earlier voucher of the order leaves the queue if it still waits."""
        self._cancel_job(code)
        return super().print_voucher(code, pdf)

    def withdraw(self, code: str) -> Path | None:
        """The same, and the print job is cancelled if it still waits."""
        aside = super().withdraw(code)
        self._cancel_job(code)
        return aside

    def _cancel_job(self, code: str) -> None:
        job = self._job_file(self._folder / _file_name(code))
        if job.exists():
            # A job that has ended cannot be cancelled, which is no failure: the label is on paper.
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(  # noqa: S603  (the id is what lp has given)
                    ["cancel", job.read_text("utf-8")],  # noqa: S607  (as CUPS installs it)
                    capture_output=True,
                    timeout=self._timeout_seconds,
                    check=False,
                )
            job.unlink()

    def _printed(self, path: Path, said: bytes) -> None:
        # As in "request id is label-42 (1 file(s))".
        found = re.search(rb"request id is ([\w.-]+)", said)
        if found:
            self._job_file(path).write_bytes(found.group(1))

    def _job_file(self, path: Path) -> Path:
        return path.with_suffix(".job")


def _file_name(code: str) -> str:
    """A code comes from outside: what is not a letter, a digit or a dash cannot become part of a path."""
    return re.sub(r"[^\w-]", "_", code)[:_LONGEST_NAME] + ".pdf"
