"""Reset one shop of a sandbox: delete all that happened to it, and keep its settings."""

from typing import Final

from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.sandbox import store as sandbox
from kalathi.marketplace.sandbox.declared import Declaration
from kalathi.marketplace.sandbox.declared_start import set_listings
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Shop

# The shop's settings and people, and the streams that are connected to it now.
_KEPT: Final = frozenset(
    {"shops", "api_tokens", "products_tokens", "extra_tokens", "signing_secrets", "listeners"}
    | {"people", "invitations", "history"}
)
# Every other table with rows of shops: a new table is reset too.
RESET_TABLES: Final = tuple(
    name for name, table in METADATA.tables.items() if "shop_id" in table.columns and name not in _KEPT
)


async def run_reset(database: Database, shop_id: str, declaration: Declaration) -> Shop:
    """Reset a shop. A declared shop gets its declared listings again. Raises NOT_FOUND, CONFLICT.

    It deletes twice. A change set of the same group can insert rows after the first deletion, because a group runs its
    deletions before its inserts: for example the attempt of a webhook in flight. After the first commit no order and no
    due job is left on which such a change set could depend.
    """
    await database.run(lambda view: reset_shop(view, shop_id))
    shop = await database.run(lambda view: reset_shop(view, shop_id))
    declared = declaration.shop(shop_id)
    if declared is not None:
        await database.run(lambda view: (set_listings(view, declared), None))
    return shop


def reset_shop(view: View, shop_id: str) -> tuple[ChangeSet, Shop]:
    """Return the deletion of the shop's orders, returns, events, due jobs, documents, listings, stock, fault rules and
    remembered answers, and the shop. Raises NOT_FOUND."""
    shop = shop_commands.find_shop(view, shop_id)
    # The new version of the shop ends the kept answers to its calls (docs/decisions/0057).
    changes = ChangeSet(shops.update_shop(shop, shops.shop_version(view, shop_id)))
    changes.add(*(Delete(table, {"shop_id": shop_id}, touches=None) for table in RESET_TABLES))
    changes.add(*sandbox.drop_shop_faults(shop_id))
    changes.add(Delete("idempotency_keys", {"owner": shop_id}, touches=None))
    return changes, shop
