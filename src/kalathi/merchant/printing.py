"""Printing to a folder: one PDF an order, whole or not at all."""

import os
import re
from pathlib import Path
from typing import Final

_LONGEST_NAME: Final = 60


class NotAVoucherError(Exception):
    """The bytes are no PDF."""


class FolderPrinter:
    """Puts each voucher into a folder under the order's code."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def print_voucher(self, code: str, pdf: bytes) -> Path:
        """The whole path of the printed file. A later voucher of the same order replaces the earlier one.

        Raises NotAVoucherError, OSError.
        """
        if not pdf.startswith(b"%PDF"):
            raise NotAVoucherError(f"what stands behind the voucher's link of {code} is no PDF")
        # A code comes from outside: what is not a letter, a digit or a dash cannot become part of a path.
        name = re.sub(r"[^\w-]", "_", code)[:_LONGEST_NAME] + ".pdf"
        path = self._folder / name
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(pdf)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        return path.absolute()
