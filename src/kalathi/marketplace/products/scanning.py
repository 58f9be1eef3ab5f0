"""The state in which a shop's products cannot be changed by batches (docs/contract.md#section-10): the marketplace is
reading its XML feed, or the operator has turned batches off."""

from datetime import datetime
from typing import Final

from kalathi.marketplace.kernel.clock import ATHENS
from kalathi.marketplace.products.refusals import FeedScanning, UpdatesOff
from kalathi.marketplace.shops.model import Shop

# The first hour in Athens in which feeds are read. The last one ends at midnight.
_FIRST_HOUR: Final = 8


def find_obstacle(shop: Shop, scan_minutes: int, now: datetime) -> FeedScanning | UpdatesOff | None:
    """Return the reason why the shop's batches are refused at this time, or None.

    `scan_minutes` is the length of the hourly scan, from the beginning of each hour between 08:00 and 00:00 in Athens.
    """
    if not shop.takes_product_updates:
        return UpdatesOff()
    if shop.feed_scan_until is not None and now < shop.feed_scan_until:
        return FeedScanning()
    local = now.astimezone(ATHENS)
    return FeedScanning() if local.hour >= _FIRST_HOUR and local.minute < scan_minutes else None
