"""A stock file, which is read again if it has changed."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kalathi.merchant.stock.csv_text import ReadFile, check_encoding, read_csv
from kalathi.merchant.stock.quantities import DecimalSign
from kalathi.merchant.stock.shelf import Shelf, StockError

# About a thousand rows: reading them takes less than a millisecond.
_READ_AT_ONCE_BYTES: Final = 32_768
# The resolution of a file's time can be this coarse. So a second write within this time may leave the time unchanged.
_COARSE_SECONDS: Final = 2.0
# In a file this young, a last line without a line end may be half a line.
_YOUNG_SECONDS: Final = 1.0
_TRIES: Final = 10
_PAUSE_SECONDS: Final = 0.25

_Stamp = tuple[int, int, int]


class CsvStock:
    """A file with the columns shop_uid and quantity, and optionally price."""

    sends_itself = True
    lags = True
    # An unchanged file is not read again.
    poll_seconds = 2.0

    def __init__(
        self,
        path: Path,
        *,
        encoding: str = "",
        decimal_sign: DecimalSign | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` returns seconds since 1970, like the file's time. Raises StockSetupError for an unknown encoding."""
        if encoding:
            check_encoding(encoding)
        self._path = path
        self._encoding = encoding
        self._decimal_sign = decimal_sign
        self._clock = clock
        self._stamp: _Stamp | None = None
        self._shelf = Shelf()
        self._reading = asyncio.Lock()

    async def read(self) -> Shelf:
        """Return the shelf. Raises StockError."""
        if self._stamp is not None and self._stamp == self._present_stamp():
            return self._shelf
        async with self._reading:
            stamp = self._present_stamp()
            if stamp == self._stamp:
                return self._shelf
            shelf, stamp = await self._read_whole(stamp)
            # Keep the object if the content is the same, so that callers can compare by identity.
            if shelf != self._shelf:
                self._shelf = shelf
            is_certain = abs(self._clock() - stamp[0] / 1e9) > _COARSE_SECONDS
            self._stamp = stamp if is_certain else None
            return self._shelf

    async def refresh(self) -> Shelf:
        """Read the shelf, as `read` does, because `read` always checks the file. Raises StockError."""
        return await self.read()

    async def _read_whole(self, stamp: _Stamp) -> tuple[Shelf, _Stamp]:
        """Read the file again until it does not change during the reading. Raises StockError."""
        for _ in range(_TRIES):
            read = await self._read_once()
            before, stamp = stamp, self._present_stamp()
            is_young = abs(self._clock() - stamp[0] / 1e9) < _YOUNG_SECONDS
            if before == stamp and (read.has_end or not is_young):
                return read.shelf, stamp
            await asyncio.sleep(_PAUSE_SECONDS)
        raise StockError(
            f"{self._path}: the file is being written. Write a new file beside it and rename it, so that it is whole"
        )

    async def _read_once(self) -> ReadFile:
        try:
            if self._path.stat().st_size <= _READ_AT_ONCE_BYTES:
                return read_csv(self._path, self._encoding, self._decimal_sign)
            # Read a large file in a thread, so that it does not block the event loop.
            return await asyncio.to_thread(read_csv, self._path, self._encoding, self._decimal_sign)
        except OSError as error:
            raise StockError(f"{self._path}: {error.strerror}") from error

    def _present_stamp(self) -> _Stamp:
        try:
            status = self._path.stat()
        except OSError as error:
            raise StockError(f"{self._path}: {error.strerror}") from error
        return status.st_mtime_ns, status.st_size, status.st_ino
