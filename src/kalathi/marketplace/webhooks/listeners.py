"""Listeners that stand in for a shop's webhook URL: the lease of the process to which they are connected.

While the lease lasts, only its holder delivers the shop's webhooks: `find_due` in kernel/due.py leaves the shop out for
other workers. The shop's settings stay as they are. The lease of a dead process expires.
"""

from typing import Final

from kalathi.marketplace.kernel.clock import real_millis
from kalathi.marketplace.kernel.storage.changes import Add, ChangeSet, Delete, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.webhooks.store import listener_lease

LEASE_MILLIS: Final = 20_000
# Stands for the URL of a shop that has none. With a target behind it, the URL of an attempt in the log.
LISTENER_URL: Final = "listener:"


def url_for(view: View, shop: Shop, event_type: str) -> str | None:
    """Return the URL for events of this type: the shop's own, else `LISTENER_URL` while a listener stands in for it,
    else None."""
    return shop.url_for(event_type) or (LISTENER_URL if is_listened(view, shop.id) else None)


def is_listened(view: View, shop_id: str) -> bool:
    """Whether a listener stands in for the shop's webhook URL at present."""
    lease = listener_lease(view, shop_id)
    return lease is not None and lease.expires_at > real_millis()


def take_lease(view: View, shop_id: str, holder: str, now_millis: int) -> tuple[ChangeSet, bool]:
    """Take or renew the lease. The second value says whether `holder` has it once the change set is committed. Times
    are real, in milliseconds since 1970."""
    expires_at = now_millis + LEASE_MILLIS
    lease = listener_lease(view, shop_id)
    if lease is None:
        return ChangeSet(Insert("listeners", {"shop_id": shop_id, "holder": holder, "expires_at": expires_at})), True
    if lease.holder != holder and lease.expires_at > now_millis:
        return ChangeSet(), False
    renewed: dict[str, Value | Add] = {"holder": holder, "expires_at": expires_at}
    return ChangeSet(Update("listeners", {"shop_id": shop_id}, renewed, when={"holder": lease.holder})), True


def forget_listeners() -> Delete:
    """Return the deletion of all leases."""
    return Delete("listeners", {}, touches=None)


def end_lease(shop_id: str, holder: str) -> Delete:
    """Return the deletion of a lease by its holder."""
    return Delete("listeners", {"shop_id": shop_id, "holder": holder}, touches=None)
