"""The marketplace's terms for orders, computed from the settings once at the start."""

from typing import Final

from kalathi.contract.returns import ReturningAddress
from kalathi.marketplace.couriers.windows import WindowSchedule
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.orders.answer_checks import Offer
from kalathi.marketplace.orders.uploads import extension_of
from kalathi.marketplace.shops.model import Shop

# The same size as the cache of shop documents.
_MOST_OFFERS: Final = 4096


def _address(text: str) -> ReturningAddress:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 5 or not all(parts):
        raise ValueError("warehouse_address must name street, number, postcode, city and region, with commas between.")
    street, number, postcode, city, region = parts
    return ReturningAddress(
        street_name=street, street_number=number, zip=postcode, city=city, region=region, country_code="GR"
    )


class Terms:
    """The marketplace's terms: its settings, the pickup windows, and the public URL for links."""

    def __init__(self, settings: Settings, public_url: str) -> None:
        """Read the settings. Raises ValueError for an invalid setting."""
        self.settings = settings
        self.public_url = public_url
        self.schedule = WindowSchedule(settings.pickup_hours, settings.pickup_days)
        self.warehouse_address = _address(settings.warehouse_address)
        self._offers: dict[str, tuple[Shop, Offer]] = {}
        self._parcel_counts = list(range(1, settings.largest_parcel_count + 1))

    def offer(self, shop: Shop) -> Offer:
        """Return the valid choices of an accept for this shop; cached while the shop stays the same."""
        known = self._offers.get(shop.id)
        if known is not None and known[0] is shop:
            return known[1]
        offer = Offer(shop.locations, self.schedule, self._parcel_counts)
        if len(self._offers) >= _MOST_OFFERS:
            self._offers.clear()
        self._offers[shop.id] = (shop, offer)
        return offer

    def voucher_url(self, shop_id: str, link: str) -> str:
        """Return the absolute, unguessable URL of a voucher (docs/decisions/0014)."""
        return f"{self.public_url}/vouchers/{shop_id}/{link}.pdf"

    def upload_url(self, shop_id: str, link: str, mime_type: str) -> str:
        """Return the absolute, unguessable URL of an uploaded file (docs/decisions/0014)."""
        return f"{self.public_url}/uploads/{shop_id}/{link}.{extension_of(mime_type)}"
