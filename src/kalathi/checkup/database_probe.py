"""A probe that reads the shop's database."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from kalathi.checkup.evidence import ProbeAnswer
from kalathi.checkup.probes import ProbeError, read_answer


class SqlProbe:
    """A database, with two statements of the shop: `order` has the columns orders, state, total, customer and
    tracking_codes, or some of them, for `:code`; `stock` has the pieces for `:sku`."""

    def __init__(self, url: str, order: str, stock: str) -> None:
        try:
            self._engine = create_engine(url)
        except (SQLAlchemyError, ModuleNotFoundError) as error:
            raise ProbeError(f"--probe: the database cannot be opened: {error}") from None
        self._order = order
        self._stock = stock

    async def ask(self, code: str, uids: Sequence[str]) -> ProbeAnswer:
        """Run the statements on a thread, and return their values."""
        return await asyncio.to_thread(self._read, code, uids)

    def _read(self, code: str, uids: Sequence[str]) -> ProbeAnswer:
        members: dict[str, Any] = {}
        try:
            with self._engine.connect() as connection:
                if code and self._order:
                    row = connection.execute(text(self._order), {"code": code}).mappings().first()
                    members = {"orders": 0} if row is None else {"orders": 1, **_plain(dict(row))}
                if self._stock:
                    found = {uid: connection.execute(text(self._stock), {"sku": uid}).scalar() for uid in uids}
                    members["stock"] = {uid: int(value) for uid, value in found.items() if value is not None}
        except (SQLAlchemyError, ValueError, TypeError) as error:
            raise ProbeError(f"--probe: the database answered: {getattr(error, 'orig', None) or error}.") from None
        return read_answer(json.dumps(members), "--probe")

    async def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _plain(members: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it. Tracking codes in one text are separated by commas."""
    if isinstance(codes := members.get("tracking_codes"), str):
        members["tracking_codes"] = [code.strip() for code in codes.split(",") if code.strip()]
    if members.get("total") is not None:
        members["total"] = float(members["total"])
    return {name: value for name, value in members.items() if value is not None}
