"""Shops in the database: reads, and the rows of their change sets."""

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from kalathi.contract.codec import decode, encode
from kalathi.marketplace.kernel.storage.changes import Add, AtLeast, Delete, Insert, InsertMany, Update, Value
from kalathi.marketplace.kernel.storage.database import View, pad_rows
from kalathi.marketplace.shops.model import Listing, Shop, Variation


class ListingInStock(NamedTuple):
    """A listing, and the number of pieces in stock."""

    listing: Listing
    quantity: int


class VariationInStock(NamedTuple):
    """A variation of a listing, and the number of pieces in stock."""

    variation: Variation
    quantity: int


class StoredListing(NamedTuple):
    """A listing in stock, and its stored document, which guards a change."""

    entry: ListingInStock
    document: bytes


# The variations of several listings, by the listing's uid and their own id.
VariationsByListing = dict[str, dict[str, VariationInStock]]


@lru_cache(maxsize=4096)
def shop_of(document: bytes) -> Shop:
    """Decode a shop's document. The struct is immutable, and the same document is read often, so the bytes are a safe
    cache key."""
    return decode(document, Shop)


def shop(view: View, shop_id: str) -> Shop | None:
    """The shop, or None."""
    row = view.one("SELECT document FROM shops WHERE shop_id = :shop_id", {"shop_id": shop_id})
    return shop_of(row[0]) if row else None


def shop_version(view: View, shop_id: str) -> int:
    """Return the version that guards a change of the shop; 0 if there is no such shop."""
    row = view.one("SELECT version FROM shops WHERE shop_id = :shop_id", {"shop_id": shop_id})
    return row[0] if row else 0


def shop_id_of_token(view: View, token_hash: bytes) -> str:
    """Return the id of a token's shop; empty for an unknown token."""
    row = view.one("SELECT shop_id FROM api_tokens WHERE token_hash = :token_hash", {"token_hash": token_hash})
    return row[0] if row else ""


def shop_of_products_token(view: View, token_hash: bytes) -> Shop | None:
    """Return the shop of a token of the Products API, or None for an unknown token."""
    row = view.one(
        "SELECT document FROM shops"
        " WHERE shop_id = (SELECT shop_id FROM products_tokens WHERE token_hash = :token_hash)",
        {"token_hash": token_hash},
    )
    return shop_of(row[0]) if row else None


def has_products_token(view: View, shop_id: str) -> bool:
    """Whether the shop has a token of the Products API."""
    sql = "SELECT 1 FROM products_tokens WHERE shop_id = :shop_id"
    return view.one(sql, {"shop_id": shop_id}) is not None


def shops(view: View) -> list[Shop]:
    """Every shop, by id."""
    return [decode(row[0], Shop) for row in view.all("SELECT document FROM shops ORDER BY shop_id", {})]


def count_shops(view: View) -> int:
    """Return the number of shops."""
    row = view.one("SELECT count(*) FROM shops", {})
    return row[0] if row else 0


def shops_by_id(view: View, shop_ids: Collection[str]) -> dict[str, Shop]:
    """Return the existing shops among these ids, by id."""
    if not shop_ids:
        return {}  # There is no statement for no keys.
    names, parameters = _name_values("id", pad_rows([*shop_ids]))
    rows = view.all(f"SELECT document FROM shops WHERE shop_id IN ({names})", parameters)  # noqa: S608  (names only)
    return {found.id: found for found in (shop_of(row[0]) for row in rows)}


def listings(view: View, shop_id: str, shop_uids: Collection[str]) -> dict[str, ListingInStock]:
    """Return the shop's existing listings among these uids, by uid."""
    return {shop_uid: stored.entry for shop_uid, stored in stored_listings(view, shop_id, shop_uids).items()}


def stored_listings(view: View, shop_id: str, shop_uids: Collection[str]) -> dict[str, StoredListing]:
    """Return the shop's existing listings among these uids with their documents, by uid."""
    if not shop_uids:
        return {}  # SQL has no empty IN list.
    names, parameters = _name_values("uid", shop_uids)
    sql = f"SELECT document, quantity FROM listings WHERE shop_id = :shop_id AND shop_uid IN ({names})"  # noqa: S608  (names only)
    found = [
        StoredListing(ListingInStock(decode(document, Listing), quantity), document)
        for document, quantity in view.all(sql, {"shop_id": shop_id, **parameters})
    ]
    return {stored.entry.listing.shop_uid: stored for stored in found}


def all_listings(view: View, shop_id: str) -> list[ListingInStock]:
    """Every listing of the shop, by uid."""
    sql = "SELECT document, quantity FROM listings WHERE shop_id = :shop_id ORDER BY shop_uid"
    return [ListingInStock(decode(row[0], Listing), row[1]) for row in view.all(sql, {"shop_id": shop_id})]


def variations(view: View, shop_id: str, shop_uids: Collection[str]) -> VariationsByListing:
    """Return the variations of these listings. Listings without any are left out."""
    if not shop_uids:
        return {}
    names, parameters = _name_values("uid", shop_uids)
    sql = (
        "SELECT shop_uid, document, quantity FROM listing_variations WHERE shop_id = :shop_id"  # noqa: S608  (names only)
        f" AND shop_uid IN ({names}) ORDER BY shop_uid, variation_id"
    )
    found: VariationsByListing = {}
    for shop_uid, document, quantity in view.all(sql, {"shop_id": shop_id, **parameters}):
        variation = decode(document, Variation)
        found.setdefault(shop_uid, {})[variation.variation_id] = VariationInStock(variation, quantity)
    return found


def find_varied(entries: Iterable[ListingInStock]) -> list[str]:
    """Return the uids of the listings with variations."""
    return [entry.listing.shop_uid for entry in entries if entry.listing.has_variations]


def page_of_listings(view: View, shop_id: str, limit: int, offset: int) -> tuple[list[ListingInStock], int]:
    """Return a page of the shop's listings, by uid, and their total number."""
    sql = (
        "SELECT document, quantity FROM listings WHERE shop_id = :shop_id ORDER BY shop_uid LIMIT :limit OFFSET :offset"
    )
    rows = view.all(sql, {"shop_id": shop_id, "limit": limit, "offset": offset})
    counted = view.one("SELECT count(*) FROM listings WHERE shop_id = :shop_id", {"shop_id": shop_id})
    return [ListingInStock(decode(row[0], Listing), row[1]) for row in rows], counted[0] if counted else 0


def insert_shop(new: Shop) -> Insert:
    """A new shop."""
    return Insert("shops", {"shop_id": new.id, "version": 1, "document": encode(new)})


def update_shop(new: Shop, version: int) -> Update:
    """Return the update of a shop. It fails if the shop is no longer at the version that was read."""
    values: dict[str, Value | Add] = {"version": version + 1, "document": encode(new)}
    return Update("shops", {"shop_id": new.id}, values, when={"version": version})


def forget_openings(shop_id: str) -> Delete:
    """Return the deletion of the shop's openings. Its return webhook has a new URL or was switched, and that URL has
    received no return yet."""
    return Delete("openings", {"shop_id": shop_id}, touches=None)


def drop_token(shop_id: str) -> Delete:
    """Return the deletion of the shop's token, if it has one."""
    return Delete("api_tokens", {"shop_id": shop_id}, touches=None)


def insert_token(shop_id: str, token_hash: bytes) -> Insert:
    """The shop's one live token."""
    return Insert("api_tokens", {"token_hash": token_hash, "shop_id": shop_id})


def drop_access(shop_id: str) -> list[Delete]:
    """Return the deletion of everything that opens the shop's calls and pages: its tokens, invitations and sessions."""
    tables = ("api_tokens", "products_tokens", "extra_tokens", "invitations")
    deletions = [Delete(table, {"shop_id": shop_id}, touches=None) for table in tables]
    return [*deletions, Delete("sessions", {"place": shop_id}, touches=None)]


def drop_products_token(shop_id: str) -> Delete:
    """Return the deletion of the shop's token of the Products API, if it has one."""
    return Delete("products_tokens", {"shop_id": shop_id}, touches=None)


def insert_products_token(shop_id: str, token_hash: bytes) -> Insert:
    """The shop's one live token of the Products API."""
    return Insert("products_tokens", {"token_hash": token_hash, "shop_id": shop_id})


def signing_secrets_by_shop(view: View, shop_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the active signing secrets by shop, the newest last. Shops that do not sign are left out."""
    names, parameters = _name_values("id", pad_rows([*shop_ids]))
    secrets: dict[str, list[str]] = {}
    for shop_id, secret in view.all(
        f"SELECT shop_id, secret FROM signing_secrets WHERE shop_id IN ({names}) ORDER BY shop_id, number",  # noqa: S608  (names only)
        parameters,
    ):
        secrets.setdefault(shop_id, []).append(secret)
    return secrets


def signing_secrets(view: View, shop_id: str) -> dict[int, str]:
    """Return the active signing secrets by number; the newest has the highest."""
    rows = view.all(
        "SELECT number, secret FROM signing_secrets WHERE shop_id = :shop_id ORDER BY number", {"shop_id": shop_id}
    )
    return dict(rows)


def insert_signing_secret(shop_id: str, number: int, secret: str) -> Insert:
    """Another live secret."""
    return Insert("signing_secrets", {"shop_id": shop_id, "number": number, "secret": secret})


def drop_signing_secret(shop_id: str, number: int) -> Delete:
    """Return the deletion of a secret."""
    return Delete("signing_secrets", {"shop_id": shop_id, "number": number}, touches=None)


def insert_listing(shop_id: str, listing: Listing, quantity: int) -> Insert:
    """A new listing."""
    row: dict[str, Value] = {
        "shop_id": shop_id,
        "shop_uid": listing.shop_uid,
        "quantity": quantity,
        "document": encode(listing),
    }
    return Insert("listings", row)


def replace_listing(shop_id: str, listing: Listing, quantity: int) -> Update:
    """Set the listing to the operator's values, whatever it was."""
    return Update(
        "listings",
        {"shop_id": shop_id, "shop_uid": listing.shop_uid},
        {"quantity": quantity, "document": encode(listing)},
    )


def drop_variations(shop_id: str, shop_uid: str) -> Delete:
    """Return the deletion of all variations of a listing."""
    return Delete("listing_variations", {"shop_id": shop_id, "shop_uid": shop_uid}, touches=None)


def insert_variations(shop_id: str, shop_uid: str, entries: Collection[VariationInStock]) -> InsertMany:
    """New variations of a listing."""
    rows = [
        (shop_id, shop_uid, entry.variation.variation_id, entry.quantity, encode(entry.variation)) for entry in entries
    ]
    return InsertMany("listing_variations", _VARIATION_COLUMNS, rows)


def take_variation(shop_id: str, shop_uid: str, variation_id: str, quantity: int) -> Update:
    """Return the update that takes pieces of a variation. It fails if fewer pieces are left."""
    key = _variation_key(shop_id, shop_uid, variation_id)
    return Update("listing_variations", key, {"quantity": Add(-quantity)}, when={"quantity": AtLeast(quantity)})


def give_back_variation(shop_id: str, shop_uid: str, variation_id: str, quantity: int) -> Update:
    """Return the update that puts pieces back. It does nothing if there is no such variation."""
    key = _variation_key(shop_id, shop_uid, variation_id)
    return Update("listing_variations", key, {"quantity": Add(quantity)}, touches=None)


def set_variation_stock(shop_id: str, shop_uid: str, variation_id: str, quantity: int) -> Update:
    """Return the update that sets a variation's stock. It does nothing if there is no such variation."""
    key = _variation_key(shop_id, shop_uid, variation_id)
    return Update("listing_variations", key, {"quantity": quantity}, touches=None)


def take_stock(shop_id: str, shop_uid: str, quantity: int) -> Update:
    """Return the update that takes pieces for an order. It fails if fewer pieces are left (docs/decisions/0003)."""
    key: dict[str, Value] = {"shop_id": shop_id, "shop_uid": shop_uid}
    return Update("listings", key, {"quantity": Add(-quantity)}, when={"quantity": AtLeast(quantity)})


def give_back_stock(shop_id: str, shop_uid: str, quantity: int) -> Update:
    """Return the update that puts an order's pieces back into stock. It does nothing if the listing was deleted in the
    meantime."""
    key: dict[str, Value] = {"shop_id": shop_id, "shop_uid": shop_uid}
    return Update("listings", key, {"quantity": Add(quantity)}, touches=None)


def set_stock(shop_id: str, shop_uid: str, quantity: int) -> Update:
    """Return the update that sets the stock that the shop itself has reported."""
    return Update("listings", {"shop_id": shop_id, "shop_uid": shop_uid}, {"quantity": quantity}, touches=None)


_VARIATION_COLUMNS: Final = ("shop_id", "shop_uid", "variation_id", "quantity", "document")


def _variation_key(shop_id: str, shop_uid: str, variation_id: str) -> dict[str, Value]:
    return {"shop_id": shop_id, "shop_uid": shop_uid, "variation_id": variation_id}


def _name_values(prefix: str, values: Collection[str]) -> tuple[str, dict[str, Value]]:
    """Return the names of an IN list, such as `:uid0, :uid1`, and their values."""
    parameters: dict[str, Value] = {f"{prefix}{number}": value for number, value in enumerate(values)}
    return ", ".join(f":{name}" for name in parameters), parameters
