"""The sandbox in the database: the stored fault rules, of the whole marketplace and of single shops."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from kalathi.contract.codec import decode, encode
from kalathi.marketplace.kernel.storage.changes import Delete, Insert
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.sandbox.faults import Faults

_MARKETPLACE: Final = "faults"
_SHOP: Final = "shop:"


class StoredFaults(NamedTuple):
    """The stored rule sets: of the marketplace, or None, and of each shop that has one."""

    marketplace: Faults | None = None
    by_shop: Mapping[str, Faults] = {}


def load_faults(view: View) -> StoredFaults:
    """Return all stored rule sets, with one statement."""
    found = {row[0]: _decode(row[1]) for row in view.all("SELECT name, document FROM sandbox_faults", {})}
    by_shop = {name.removeprefix(_SHOP): faults for name, faults in found.items() if name.startswith(_SHOP)}
    return StoredFaults(found.get(_MARKETPLACE), by_shop)


def replace_faults(new: Faults) -> list[Delete | Insert]:
    """Return the rows that replace the stored fault rules of the marketplace."""
    return [*drop_faults(), Insert("sandbox_faults", {"name": _MARKETPLACE, "document": encode(new)})]


def drop_faults() -> list[Delete]:
    """Return the deletion of the marketplace's fault rules."""
    return [_delete(_MARKETPLACE)]


def replace_shop_faults(shop_id: str, new: Faults) -> list[Delete | Insert]:
    """Return the rows that replace the stored fault rules of one shop."""
    return [*drop_shop_faults(shop_id), Insert("sandbox_faults", {"name": _SHOP + shop_id, "document": encode(new)})]


def drop_shop_faults(shop_id: str) -> list[Delete]:
    """Return the deletion of one shop's fault rules. After the commit, call `FaultRules.forget_shop`."""
    return [_delete(_SHOP + shop_id)]


def _delete(name: str) -> Delete:
    return Delete("sandbox_faults", {"name": name}, touches=None)


@lru_cache(maxsize=1024)
def _decode(document: bytes) -> Faults:
    """Decode a rule set. Another process reads the same documents each second, and the struct is immutable."""
    return decode(document, Faults)
