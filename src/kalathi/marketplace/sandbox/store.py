"""The sandbox in the database: the stored fault rules."""

from typing import Final

from kalathi.contract.codec import decode, encode
from kalathi.marketplace.kernel.storage.changes import Delete, Insert
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.sandbox.faults import Faults

_NAME: Final = "faults"


def faults(view: View) -> Faults | None:
    """The stored fault rules, or None."""
    row = view.one("SELECT document FROM sandbox_faults WHERE name = :name", {"name": _NAME})
    return None if row is None else decode(row[0], Faults)


def replace_faults(new: Faults) -> list[Delete | Insert]:
    """Return the rows that replace the stored fault rules."""
    return [
        Delete("sandbox_faults", {"name": _NAME}, touches=None),
        Insert("sandbox_faults", {"name": _NAME, "document": encode(new)}),
    ]
