"""Apply a declaration at the start: one change set for all declared shops and fault rules.

A declared shop is created, or set to its declared state again. Shops that are not declared stay as they are, and so do
orders, listings and locations that a declared shop has besides the declared ones.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.marketplace.kernel.storage.changes import ChangeSet, InsertMany, UpdateMany
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.sandbox import store as sandbox
from kalathi.marketplace.sandbox.declared import Declaration, DeclaredShop
from kalathi.marketplace.sandbox.faults import Faults
from kalathi.marketplace.shops import store
from kalathi.marketplace.shops.model import ListingSource, Shop
from kalathi.marketplace.shops.store import ListingInStock, VariationInStock


def apply_declaration(
    view: View, declaration: Declaration, operator_token_hash: bytes, *, turns_rough_on: bool = False
) -> tuple[ChangeSet, list[str]]:
    """Return the change set of a start, and a sentence for each reason why the declaration cannot be applied. With such
    a sentence, the change set is empty. If everything is in its declared state already, it is empty too.

    With `turns_rough_on`, the start turns on the rough mixture that an earlier run turned off.
    """
    changes = ChangeSet()
    stored = sandbox.load_faults(view)
    reasons = list(_find_taken_tokens(view, declaration, operator_token_hash))
    if reasons:
        return changes, reasons
    marketplace = stored.marketplace or Faults()
    faults = _replace_declared(marketplace, declaration)
    if turns_rough_on and faults.is_empty:
        # A stored set without rules would turn the mixture off.
        changes.add(*(sandbox.drop_faults() if stored.marketplace else ()))
    elif faults != marketplace:
        changes.add(*sandbox.replace_faults(faults))
    changes.extend([_set_products_tokens(view, declaration)])
    for declared in declaration.shops:
        own = stored.by_shop.get(declared.shop.id, Faults())
        changes.extend([_set_shop(view, declared), set_listings(view, declared), _set_faults(declared, own)])
    return changes, []


def set_listings(view: View, declared: DeclaredShop) -> ChangeSet:
    """Return the changes that set the declared listings, with their quantities. Other listings stay."""
    shop_id = declared.shop.id
    present = {entry.listing.shop_uid: entry for entry in store.all_listings(view, shop_id)}
    variations = store.variations(view, shop_id, store.find_varied(present.values()))
    wanted = [
        entry
        for entry in declared.listings
        if _as_declared(present.get(entry.listing.shop_uid)) != entry
        or variations.get(entry.listing.shop_uid, {}) != _by_id(declared.variations.get(entry.listing.shop_uid, []))
    ]
    changed = [entry for entry in wanted if entry.listing.shop_uid in present]
    new = [entry for entry in wanted if entry.listing.shop_uid not in present]
    changes = ChangeSet()
    if changed:
        batches = {entry.listing.shop_uid: present[entry.listing.shop_uid].listing.batch for entry in changed}
        rows = [
            (
                entry.quantity,
                encode(replace(entry.listing, batch=batches[entry.listing.shop_uid])),
                shop_id,
                entry.listing.shop_uid,
            )
            for entry in changed
        ]
        changes.add(UpdateMany("listings", ("quantity", "document"), ("shop_id", "shop_uid"), (), rows))
    if new:
        columns = ("shop_id", "shop_uid", "quantity", "document")
        added = [(shop_id, entry.listing.shop_uid, entry.quantity, encode(entry.listing)) for entry in new]
        changes.add(InsertMany("listings", columns, added))
    for entry in wanted:
        shop_uid = entry.listing.shop_uid
        if shop_uid in variations:
            changes.add(store.drop_variations(shop_id, shop_uid))
        if shop_uid in declared.variations:
            changes.add(store.insert_variations(shop_id, shop_uid, declared.variations[shop_uid]))
    return changes


def _by_id(variations: list[VariationInStock]) -> dict[str, VariationInStock]:
    return {entry.variation.variation_id: entry for entry in variations}


def _as_declared(present: ListingInStock | None) -> ListingInStock | None:
    """Return a stored listing without the members that no declaration has."""
    if present is None:
        return None
    plain = replace(present.listing, changed_at=None, changed_by=ListingSource.OPERATOR, batch=0)
    return present._replace(listing=plain)


def _find_taken_tokens(view: View, declaration: Declaration, operator_token_hash: bytes) -> Iterator[str]:
    declared_ids = {declared.shop.id for declared in declaration.shops}
    for declared in declaration.shops:
        place = declaration.source.locate((*declared.path, "token"))
        if declared.token_hash == operator_token_hash:
            yield f"{place}: it is the operator's token. Choose a different one."
            continue
        holder = store.shop_id_of_token(view, declared.token_hash)
        if declared.products_token_hash is not None:
            other = store.shop_of_products_token(view, declared.products_token_hash)
            where = declaration.source.locate((*declared.path, "products_token"))
            if declared.products_token_hash == operator_token_hash:
                yield f"{where}: it is the operator's token. Choose a different one."
            elif other is not None and other.id not in declared_ids:
                yield f"{where}: it is the token of shop {other.id} already. Choose a different one."
        # A declared holder gets its own declared token in the same change set.
        if holder and holder not in declared_ids:
            yield f"{place}: it is the token of shop {holder} already. Choose a different one."


def _set_shop(view: View, declared: DeclaredShop) -> ChangeSet:
    old = store.shop(view, declared.shop.id)
    changes = ChangeSet()
    if old is None:
        changes.add(store.insert_shop(declared.shop), store.insert_token(declared.shop.id, declared.token_hash))
        return changes
    new = _with_declared_members(old, declared)
    if new != old:
        changes.add(store.update_shop(new, store.shop_version(view, old.id)))
    if new.returns_url != old.returns_url:
        changes.add(store.forget_openings(old.id))
    if store.shop_id_of_token(view, declared.token_hash) != old.id:
        changes.add(store.drop_token(old.id), store.insert_token(old.id, declared.token_hash))
    return changes


def _set_products_tokens(view: View, declaration: Declaration) -> ChangeSet:
    """Return the changes that set the declared tokens of the Products API. Without one, a shop's stored token stays,
    unless another shop has that token now."""
    new: dict[str, bytes] = {}
    dropped: set[str] = set()
    for declared in declaration.shops:
        token_hash, shop_id = declared.products_token_hash, declared.shop.id
        holder = None if token_hash is None else store.shop_of_products_token(view, token_hash)
        if token_hash is not None and (holder is None or holder.id != shop_id):
            new[shop_id] = token_hash
            dropped |= {shop_id} if holder is None else {shop_id, holder.id}
    return ChangeSet(
        *(store.drop_products_token(shop_id) for shop_id in sorted(dropped)),
        *(store.insert_products_token(shop_id, token_hash) for shop_id, token_hash in new.items()),
    )


def _with_declared_members(old: Shop, declared: DeclaredShop) -> Shop:
    members = {name: getattr(declared.shop, name) for name in declared.given}
    ids = {location.id for location in declared.shop.locations}
    # Orders may name the other locations.
    others = tuple(location for location in old.locations if location.id not in ids)
    return replace(old, **members, locations=(*declared.shop.locations, *others))


def _set_faults(declared: DeclaredShop, own: Faults) -> ChangeSet:
    """Return the changes that set the shop's own fault rules."""
    if declared.faults.is_empty:
        return ChangeSet() if own.is_empty else ChangeSet(*sandbox.drop_shop_faults(declared.shop.id))
    if declared.faults == own:
        return ChangeSet()
    return ChangeSet(*sandbox.replace_shop_faults(declared.shop.id, declared.faults))


def _replace_declared(stored: Faults, declaration: Declaration) -> Faults:
    """Return the rules of the marketplace with the declared rules and seed in place of the stored ones."""
    if declaration.faults is not None:
        stored = Faults(seed=stored.seed, rules=declaration.faults)
    return stored if declaration.fault_seed is None else replace(stored, seed=declaration.fault_seed)
