"""A probe that reads the shop's database."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from kalathi.checkup.evidence import ProbeAnswer
from kalathi.checkup.probes import ProbeError

_COLUMNS: Final = ("orders", "state", "total", "customer", "tracking_codes")


class SqlProbe:
    """A database, with two statements of the shop: `order` has the columns orders, state, total, customer and
    tracking_codes, or some of them, for `:code`; `stock` has the pieces for `:sku`. Raises ProbeError."""

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
            return msgspec.convert(members, ProbeAnswer, strict=False)
        except (SQLAlchemyError, ValueError, TypeError) as error:
            raise ProbeError(f"--probe: the database answered: {getattr(error, 'orig', None) or error}.") from None

    async def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return the known columns of a row. Tracking codes in one text are separated by commas."""
    members = {name: row[name] for name in _COLUMNS if row.get(name) is not None}
    if isinstance(codes := members.get("tracking_codes"), str):
        members["tracking_codes"] = [code.strip() for code in codes.split(",") if code.strip()]
    return members | {name: float(members[name]) for name in ("total",) if name in members}
