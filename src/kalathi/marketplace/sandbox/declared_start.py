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
from kalathi.marketplace.sandbox.declared import MOST_RULES, Declaration, DeclaredShop
from kalathi.marketplace.sandbox.faults import Faults
from kalathi.marketplace.shops import store
from kalathi.marketplace.shops.model import Shop


def apply_declaration(view: View, declaration: Declaration, operator_token_hash: bytes) -> tuple[ChangeSet, list[str]]:
    """Return the change set of a start, and a sentence for each reason why the declaration cannot be applied. With such
    a sentence, the change set is empty. If everything is in its declared state already, it is empty too."""
    changes = ChangeSet()
    if declaration.is_empty:
        return changes, []
    stored = sandbox.faults(view) or Faults()
    faults = _join_faults(stored, declaration)
    reasons = list(_find_taken_tokens(view, declaration, operator_token_hash))
    if len(faults.rules) > MOST_RULES:
        reasons.append(
            f"{declaration.source.name}: with the stored ones there are {len(faults.rules)} fault rules; at most"
            f" {MOST_RULES} are possible. Remove some, or run: kalathi faults clear"
        )
    if reasons:
        return changes, reasons
    for declared in declaration.shops:
        changes.extend([_set_shop(view, declared), set_listings(view, declared)])
    if faults != stored:
        changes.add(*sandbox.replace_faults(faults))
    return changes, []


def set_listings(view: View, declared: DeclaredShop) -> ChangeSet:
    """Return the changes that set the declared listings, with their quantities. Other listings stay."""
    shop_id = declared.shop.id
    present = {entry.listing.shop_uid: entry for entry in store.all_listings(view, shop_id)}
    wanted = [entry for entry in declared.listings if present.get(entry.listing.shop_uid) != entry]
    changed = [entry for entry in wanted if entry.listing.shop_uid in present]
    new = [entry for entry in wanted if entry.listing.shop_uid not in present]
    changes = ChangeSet()
    if changed:
        rows = [(entry.quantity, encode(entry.listing), shop_id, entry.listing.shop_uid) for entry in changed]
        changes.add(UpdateMany("listings", ("quantity", "document"), ("shop_id", "shop_uid"), (), rows))
    if new:
        columns = ("shop_id", "shop_uid", "quantity", "document")
        added = [(shop_id, entry.listing.shop_uid, entry.quantity, encode(entry.listing)) for entry in new]
        changes.add(InsertMany("listings", columns, added))
    return changes


def _find_taken_tokens(view: View, declaration: Declaration, operator_token_hash: bytes) -> Iterator[str]:
    declared_ids = {declared.shop.id for declared in declaration.shops}
    for declared in declaration.shops:
        place = declaration.source.locate((*declared.path, "token"))
        if declared.token_hash == operator_token_hash:
            yield f"{place}: it is the operator's token. Choose a different one."
            continue
        holder = store.shop_id_of_token(view, declared.token_hash)
        # A declared holder gets its own declared token in the same change set.
        if holder and holder not in declared_ids:
            yield f"{place}: it is the token of shop {holder} already. Choose a different one."


def _set_shop(view: View, declared: DeclaredShop) -> ChangeSet:
    old = store.shop(view, declared.shop.id)
    if old is None:
        return ChangeSet(store.insert_shop(declared.shop), store.insert_token(declared.shop.id, declared.token_hash))
    changes = ChangeSet()
    new = _with_declared_members(old, declared)
    if new != old:
        changes.add(store.update_shop(new, store.shop_version(view, old.id)))
    if new.returns_url != old.returns_url:
        changes.add(store.forget_openings(old.id))
    if store.shop_id_of_token(view, declared.token_hash) != old.id:
        changes.add(store.drop_token(old.id), store.insert_token(old.id, declared.token_hash))
    return changes


def _with_declared_members(old: Shop, declared: DeclaredShop) -> Shop:
    members = {name: getattr(declared.shop, name) for name in declared.given}
    ids = {location.id for location in declared.shop.locations}
    # Orders may name the other locations.
    others = tuple(location for location in old.locations if location.id not in ids)
    return replace(old, **members, locations=(*declared.shop.locations, *others))


def _join_faults(stored: Faults, declaration: Declaration) -> Faults:
    """Return one rule set: the rules of the whole marketplace, those of the declared shops, and the stored rules that
    the declaration does not replace."""
    ids = {declared.shop.id for declared in declaration.shops}
    replaced = ids if declaration.faults is None else {*ids, None}
    own = [rule for declared in declaration.shops for rule in declared.faults.rules]
    kept = [rule for rule in stored.rules if rule.shop_id not in replaced]
    seeds = [declared.faults.seed for declared in declaration.shops if declared.faults.rules]
    seed = declaration.fault_seed if declaration.fault_seed is not None else (*seeds, stored.seed)[0]
    return Faults(seed=seed, rules=(*(declaration.faults or ()), *own, *kept))
