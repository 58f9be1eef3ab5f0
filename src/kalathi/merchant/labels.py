"""The labels of orders: print each voucher once, and withdraw the label of an order that will not be sent."""

import asyncio

from kalathi.contract.orders import Order
from kalathi.merchant.context import Context
from kalathi.merchant.inbox.notices import label_topic
from kalathi.merchant.printing import FolderPrinter, UnsurePrinterError


class Labels:
    """Print vouchers. Each printing is recorded in the inbox before and after, so that no label is printed twice after
    a crash."""

    def __init__(self, context: Context, printer: FolderPrinter) -> None:
        self._context = context
        self._printer = printer

    async def print(self, order: Order, url: str) -> str:
        """Print the voucher unless it is already printed. Return a sentence if a person must check whether it is."""
        printed = self._context.inbox.vouchers.find_printed(url)
        if printed is not None and printed.path:
            return ""
        unsure = f"check whether its label is there. If not, run: kalathi merchant reprint {order.code}"
        if printed is not None and not self._printer.may_repeat:
            return f"it is not known whether its voucher was printed: {unsure}"
        pdf = await self._context.client.download(url)
        is_another = self._context.inbox.vouchers.was_printed(order.code)
        self._context.inbox.vouchers.mark_printed(url, order.code, "", self._context.clock())
        printing = asyncio.ensure_future(asyncio.to_thread(self._printer.print_voucher, order.code, pdf))
        try:
            path = await asyncio.shield(printing)
        except asyncio.CancelledError:
            # An orderly stop waits for the label, so that no person has to check it.
            self._context.inbox.vouchers.mark_printed(url, order.code, str(await printing), self._context.clock())
            if is_another:
                self._note_earlier_label(order.code)
            raise
        except UnsurePrinterError as error:
            if is_another:
                self._note_earlier_label(order.code)
            return f"{error}: {unsure}"
        except Exception:
            self._context.inbox.vouchers.forget_printing(url)
            raise
        self._context.inbox.vouchers.mark_printed(url, order.code, str(path), self._context.clock())
        self._context.report("printed", order.code, f"printed {order.code}: {path}")
        if is_another:
            self._note_earlier_label(order.code)
        return ""

    async def withdraw(self, code: str) -> None:
        """Withdraw the label of an order that will not be sent. Raises PrinterError, OSError."""
        if self._context.habits.dry_run:
            return
        path = await asyncio.to_thread(self._printer.withdraw, code)
        if path is not None:
            self._context.report("withdrawn", code, f"withdrawn {code}: its voucher is in {path}")

    def _note_earlier_label(self, code: str) -> None:
        text = f"Order {code}: throw away its earlier label, there is a new one. Then: kalathi merchant settle {code}"
        if self._context.inbox.notices.add(label_topic(code), text, self._context.clock()):
            self._context.tell_person(text)
