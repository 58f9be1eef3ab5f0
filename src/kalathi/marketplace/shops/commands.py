"""The operator's commands on shops, one function each. Each returns the change set and its answer."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET

from kalathi.contract.orders import Size
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.money import as_amount, as_rate
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.targets import BadUrl, mask_url, parse_target
from kalathi.marketplace.shops import refusals, store
from kalathi.marketplace.shops.model import (
    MOST_LOCATIONS,
    Listing,
    ListingSource,
    Location,
    NewListing,
    NewLocation,
    NewShop,
    Shop,
    ShopChanges,
    ShopStatus,
    Variation,
    hash_token,
)
from kalathi.marketplace.shops.store import VariationInStock


def add_shop(new: NewShop, ids: Sequence[str], token: str, *, own_domain_only: bool = False) -> tuple[ChangeSet, Shop]:
    """Add a shop with its locations and its first token. `ids` are new: one for the shop, one for each location.

    Raises INVALID_PARAMETER. With `own_domain_only` (production mode), a webhook URL must be https on the shop's own
    domain.
    """
    _check_urls(new, own_domain_only=own_domain_only)
    shop_id, *location_ids = ids
    shop = Shop(
        id=shop_id,
        name=new.name,
        domain=new.domain,
        webhook_url=new.webhook_url,
        webhook_enabled=new.webhook_enabled,
        returns_webhook_url=new.returns_webhook_url,
        returns_webhook_enabled=new.returns_webhook_enabled,
        courier=new.courier,
        fulfillment_mode=new.fulfillment_mode,
        set_as_ready_required=new.set_as_ready_required,
        locations=tuple(
            _location(location_id, location) for location_id, location in zip(location_ids, new.locations, strict=True)
        ),
    )
    return ChangeSet(store.insert_shop(shop), store.insert_token(shop.id, hash_token(token))), shop


def change_shop(
    view: View, shop_id: str, changes: ShopChanges, *, own_domain_only: bool = False
) -> tuple[ChangeSet, Shop]:
    """Change the named settings and keep the rest. Raises NOT_FOUND, INVALID_PARAMETER."""
    old = find_shop(view, shop_id)
    given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    for name in ("webhook_url", "returns_webhook_url"):
        present = getattr(old, name)
        if present is not None and given.get(name) == mask_url(present):
            del given[name]  # The caller sent the masked URL back, so the stored one stays.
    new = msgspec.structs.replace(old, **given)
    _check_urls(new, own_domain_only=own_domain_only)
    written = ChangeSet(store.update_shop(new, store.shop_version(view, shop_id)))
    if new.returns_url != old.returns_url:
        written.add(store.forget_openings(shop_id))
    if new.status is ShopStatus.CLOSED:
        written.add(*store.drop_access(shop_id))
    return written, new


def add_location(view: View, shop_id: str, new: NewLocation, location_id: str) -> tuple[ChangeSet, Shop]:
    """Add a pickup location. Raises NOT_FOUND, INVALID_PARAMETER if the shop has the largest number of locations."""
    old = find_shop(view, shop_id)
    if len(old.locations) >= MOST_LOCATIONS:
        raise refuse(refusals.TooManyLocations(MOST_LOCATIONS))
    shop = msgspec.structs.replace(old, locations=(*old.locations, _location(location_id, new)))
    return ChangeSet(store.update_shop(shop, store.shop_version(view, shop_id))), shop


def change_location(view: View, shop_id: str, location_id: str, new: NewLocation) -> tuple[ChangeSet, Shop]:
    """Change the address of a pickup location. Accepted orders keep the address for which they were accepted. Raises
    NOT_FOUND."""
    old = find_shop(view, shop_id)
    if old.location(location_id) is None:
        raise refuse(refusals.NoSuchLocation())
    changed = _location(location_id, new)
    locations = tuple(changed if place.id == location_id else place for place in old.locations)
    shop = msgspec.structs.replace(old, locations=locations)
    return ChangeSet(store.update_shop(shop, store.shop_version(view, shop_id))), shop


def remove_location(view: View, shop_id: str, location_id: str) -> tuple[ChangeSet, Shop]:
    """Remove a pickup location. Orders that were accepted for it are still collected there. Raises NOT_FOUND,
    INVALID_PARAMETER for the only one."""
    old = find_shop(view, shop_id)
    locations = tuple(place for place in old.locations if place.id != location_id)
    if len(locations) == len(old.locations):
        raise refuse(refusals.NoSuchLocation())
    if not locations:
        raise refuse(refusals.LastLocation())
    shop = msgspec.structs.replace(old, locations=locations)
    return ChangeSet(store.update_shop(shop, store.shop_version(view, shop_id))), shop


def renew_token(view: View, shop_id: str, token: str) -> tuple[ChangeSet, Shop]:
    """Replace the shop's token. The old one stops working at the same moment. Raises NOT_FOUND."""
    shop = find_open_shop(view, shop_id)
    return ChangeSet(store.drop_token(shop.id), store.insert_token(shop.id, hash_token(token))), shop


def renew_products_token(view: View, shop_id: str, token: str) -> tuple[ChangeSet, Shop]:
    """Replace the shop's token of the Products API, or create its first one. Raises NOT_FOUND."""
    shop = find_open_shop(view, shop_id)
    drop, insert = store.drop_products_token(shop.id), store.insert_products_token(shop.id, hash_token(token))
    return ChangeSet(drop, insert), shop


def renew_signing_secret(view: View, shop_id: str, secret: str) -> tuple[ChangeSet, Shop]:
    """Add a signing secret. Webhooks are signed with it and with the one before it, until the next renewal; older
    secrets are deleted. Raises NOT_FOUND."""
    shop = find_shop(view, shop_id)
    numbers = list(store.signing_secrets(view, shop_id))
    changes = ChangeSet(store.insert_signing_secret(shop_id, max(numbers, default=0) + 1, secret))
    changes.add(*(store.drop_signing_secret(shop_id, number) for number in numbers[:-1]))
    return changes, shop


def end_signing(view: View, shop_id: str) -> tuple[ChangeSet, Shop]:
    """Turn off signing: webhooks are sent without a signature, as in the contract. Raises NOT_FOUND."""
    shop = find_shop(view, shop_id)
    drops = [store.drop_signing_secret(shop_id, number) for number in store.signing_secrets(view, shop_id)]
    return ChangeSet(*drops), shop


def put_listings(
    view: View,
    shop_id: str,
    entries: Sequence[NewListing],
    now: datetime,
    changed_by: ListingSource = ListingSource.OPERATOR,
) -> tuple[ChangeSet, Shop]:
    """Add or replace the given listings with their variations, all or none. Raises NOT_FOUND, INVALID_PARAMETER."""
    shop = find_shop(view, shop_id)
    uids = [entry.shop_uid for entry in entries]
    if len(set(uids)) < len(uids):
        raise refuse(refusals.ListedTwice())
    present = store.listings(view, shop_id, uids)
    changes = ChangeSet()
    for entry in entries:
        before = present.get(entry.shop_uid)
        write = store.insert_listing if before is None else store.replace_listing
        batch = 0 if before is None else before.listing.batch
        listing = msgspec.structs.replace(
            make_listing(entry), changed_at=athens(now), changed_by=changed_by, batch=batch
        )
        changes.add(write(shop_id, listing, entry.quantity))
        if before is not None and before.listing.has_variations:
            changes.add(store.drop_variations(shop_id, entry.shop_uid))
        if entry.variations:
            changes.add(store.insert_variations(shop_id, entry.shop_uid, make_variations(entry)))
    return changes, shop


def find_open_shop(view: View, shop_id: str) -> Shop:
    """Return the shop. Raises NOT_FOUND, CONFLICT for a closed one."""
    shop = find_shop(view, shop_id)
    if shop.status is ShopStatus.CLOSED:
        raise refuse(refusals.ShopClosed())
    return shop


def find_shop(view: View, shop_id: str) -> Shop:
    """The shop of this id. Raises NOT_FOUND."""
    shop = store.shop(view, shop_id)
    if shop is None:
        raise refuse(refusals.ShopNotFound())
    return shop


def make_listing(entry: NewListing) -> Listing:
    """Return the listing of an entry, with exact amounts. Raises INVALID_PARAMETER for an amount or a rate that is out
    of bounds."""
    unit_price, commission_rate = as_amount(entry.unit_price), as_rate(entry.commission_rate)
    vat_rate = as_rate(entry.vat_rate)
    if unit_price is None:
        raise refuse(refusals.NotAPrice(entry.shop_uid))
    if commission_rate is None:
        raise refuse(refusals.NotACommission(entry.shop_uid))
    if vat_rate is None:
        raise refuse(refusals.NotAVatRate(entry.shop_uid))
    fields = msgspec.structs.asdict(entry)
    del fields["quantity"], fields["variations"]
    fields["has_variations"] = bool(entry.variations)
    size = UNSET if entry.size is UNSET else Size(**msgspec.structs.asdict(entry.size))
    exact = {"unit_price": unit_price, "commission_rate": commission_rate, "vat_rate": vat_rate, "size": size}
    return Listing(**(fields | exact))


def make_variations(entry: NewListing) -> list[VariationInStock]:
    """Return the variations of an entry with exact amounts. Raises INVALID_PARAMETER."""
    ids = [new.variation_id for new in entry.variations]
    if len(set(ids)) < len(ids):
        raise refuse(refusals.VariationListedTwice(entry.shop_uid))
    made = []
    for new in entry.variations:
        unit_price = as_amount(entry.unit_price if new.unit_price is UNSET else new.unit_price)
        if unit_price is None:
            raise refuse(refusals.NotAPrice(f"{entry.shop_uid}, {new.variation_id}"))
        size = UNSET if new.size is UNSET else Size(**msgspec.structs.asdict(new.size))
        variation = Variation(variation_id=new.variation_id, unit_price=unit_price, enabled=new.enabled, size=size)
        made.append(VariationInStock(variation, new.quantity))
    return made


def _location(location_id: str, new: NewLocation) -> Location:
    return Location(id=location_id, **msgspec.structs.asdict(new))


def _check_urls(shop: NewShop | Shop, *, own_domain_only: bool) -> None:
    domain = shop.domain if own_domain_only else None
    _check_url("webhook_url", shop.webhook_url, domain)
    _check_url("returns_webhook_url", shop.returns_webhook_url, domain)


def _check_url(name: str, url: str | None, domain: str | None) -> None:
    """Check a webhook URL. With a domain, it must be https there or on a subdomain (docs/contract.md#section-4). Raises
    INVALID_PARAMETER."""
    if url is None:
        return
    target = parse_target(url)
    if isinstance(target, BadUrl):
        raise refuse(refusals.BadAddress(name, target))
    host = target.host
    if domain is not None and not (target.is_tls and (host == domain.lower() or host.endswith("." + domain.lower()))):
        raise refuse(refusals.ForeignDomain(name, domain))
