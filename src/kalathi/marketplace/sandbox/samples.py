"""The document behind every link of a demo order: a voucher that is marked as a sample."""

import asyncio
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Final

from kalathi.marketplace.couriers.printing import DocumentPrinter, Party
from kalathi.marketplace.couriers.vouchers import VoucherFacts, render_voucher

_FACTS: Final = VoucherFacts(
    order_code="DEMO",
    courier="CourierCenter",
    sender=Party(name="Demo", lines=("Πανεπιστημίου 2", "12345 Αθήνα, Αττική")),
    recipient=Party(name="ΔΕΙΓΜΑ / SAMPLE", lines=("Πανεπιστημίου 4, 1ος όροφος", "12345 Αθήνα, Αττικής", "GR")),
    tracking_codes=("123456789",),
    made_at=datetime(2021, 6, 24, tzinfo=UTC),
)


class SampleDocument:
    """The sample document. The first request renders it."""

    def __init__(self, printer: DocumentPrinter, threads: Executor) -> None:
        self._printer = printer
        self._threads = threads
        self._pdf: bytes | None = None

    async def pdf(self) -> bytes:
        """The document's bytes."""
        if self._pdf is None:
            loop = asyncio.get_running_loop()
            self._pdf = await loop.run_in_executor(self._threads, render_voucher, self._printer, _FACTS)
        return self._pdf
