"""The sandbox in the database: the stored fault rules, of the whole marketplace and of single shops; and the documents
of a shop, such as the report of its last checkup."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from kalathi.contract.codec import decode, encode
from kalathi.marketplace.kernel.storage.changes import Delete, Insert, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.sandbox.faults import Faults

# The names of a shop's documents: the report of the last checkup, and the progress of each recipe.
CHECKUP: Final = "checkup"
RECIPE: Final = "recipe:"
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


def load_document(view: View, shop_id: str, name: str) -> bytes | None:
    """Return a document of a shop in JSON; None if there is none."""
    row = view.one(
        "SELECT document FROM shop_documents WHERE shop_id = :shop_id AND name = :name",
        {"shop_id": shop_id, "name": name},
    )
    return None if row is None else row[0]


def load_documents(view: View, shop_id: str, prefix: str) -> list[bytes]:
    """Return the documents of a shop whose name begins with this prefix, by name."""
    rows = view.all(
        "SELECT name, document FROM shop_documents WHERE shop_id = :shop_id ORDER BY name", {"shop_id": shop_id}
    )
    return [row[1] for row in rows if row[0].startswith(prefix)]


def replace_document(shop_id: str, name: str, document: bytes) -> list[Delete | Insert]:
    """Return the rows that replace a document of a shop."""
    key: dict[str, Value] = {"shop_id": shop_id, "name": name}
    return [Delete("shop_documents", key, touches=None), Insert("shop_documents", {**key, "document": document})]


def _delete(name: str) -> Delete:
    return Delete("sandbox_faults", {"name": name}, touches=None)


@lru_cache(maxsize=1024)
def _decode(document: bytes) -> Faults:
    """Decode a rule set. Another process reads the same documents each second, and the struct is immutable."""
    return decode(document, Faults)
