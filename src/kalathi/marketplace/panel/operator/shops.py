"""Pages of shops: their list, a new shop, and the settings and listings of each."""

import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET

from kalathi.contract.signatures import SECRET_BYTES, secret_text
from kalathi.contract.words import Courier, FulfillmentMode
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.ids import opaque_id, secret_token
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.entrance import SHOP_HOME
from kalathi.marketplace.panel.forms import read_amount, read_as
from kalathi.marketplace.panel.lists import locate_page, read_page
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoSuchChoice, NoSuchPage
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.people import commands as people
from kalathi.marketplace.people import store as people_store
from kalathi.marketplace.people.model import Role
from kalathi.marketplace.shops import commands, store
from kalathi.marketplace.shops.model import (
    Listing,
    ListingSource,
    NewListing,
    NewLocation,
    NewShop,
    ShopChanges,
    ShopStatus,
    hash_token,
)
from kalathi.marketplace.shops.store import VariationInStock
from kalathi.marketplace.warehouse import store as warehouse

_COURIERS: Final = tuple(courier.value for courier in Courier)
_MODES: Final = tuple(mode.value for mode in FulfillmentMode)
_SWITCHES: Final = ("webhook_enabled", "returns_webhook_enabled", "set_as_ready_required", "takes_product_updates")
_LATEST_PURCHASE_ORDERS: Final = 20


async def list_shops(visit: Visit) -> Answer:
    """List all shops, with the form for a new one."""
    found = await visit.context.database.read_list(store.shops)
    content = {
        "problems": visit.problems,
        "given": visit.form.given,
        "shops": sorted(found, key=lambda shop: shop.name.casefold()),
        "couriers": _COURIERS,
        "modes": _MODES,
    }
    return Shown("operator/shops.html", content)


async def add_shop(visit: Visit) -> Answer:
    """Add a shop with its first location. Only this page shows its API token. Raises INVALID_PARAMETER."""
    content = visit.form.nested()
    place = {name: content[name] for name in NewLocation.__struct_fields__ if name in content}
    new = read_as(content | {"locations": [place]}, NewShop)
    token = secret_token()
    changes, shop = commands.add_shop(new, [opaque_id(), opaque_id()], token, own_domain_only=_production(visit))
    await visit.context.database.commit(changes)
    return Shown("operator/secret.html", {"kind": "token", "secret": token, "shop": shop})


async def show_shop(visit: Visit) -> Answer:
    """Show a shop's settings, its listings, and its purchase orders."""
    shop_id, page = visit.parts["shop_id"], read_page(visit.query)

    def query(view: View) -> dict[str, Any]:
        shop = commands.find_shop(view, shop_id)
        listings, count = store.page_of_listings(view, shop_id, page.per, page.offset)
        return {
            "shop": shop,
            "listings": listings,
            "position": locate_page(page, count),
            "has_products_token": store.has_products_token(view, shop_id),
            "people": people_store.people(view, shop_id),
            "signs": len(store.signing_secrets(view, shop_id)),
            "purchase_orders": warehouse.purchase_orders(view, shop_id, _LATEST_PURCHASE_ORDERS, 0)[0],
        }

    content = await visit.context.database.read_list(query)
    more = {
        "problems": visit.problems,
        "given": visit.form.given,
        "couriers": _COURIERS,
        "modes": _MODES,
        "statuses": tuple(status.value for status in ShopStatus),
    }
    return Shown("operator/shop.html", content | more)


async def change_shop(visit: Visit) -> Answer:
    """Save the form's settings of a shop. Raises NOT_FOUND, INVALID_PARAMETER."""
    form, shop_id = visit.form, visit.parts["shop_id"]
    texts: dict[str, Any] = {
        name: form.text(name) for name in ("name", "domain", "courier", "fulfillment_mode") if form.text(name)
    }
    urls = {name: form.text(name) or None for name in ("webhook_url", "returns_webhook_url")}
    changes = read_as(texts | urls | {name: form.has(name) for name in _SWITCHES}, ShopChanges)
    await visit.context.database.run(
        lambda view: commands.change_shop(view, shop_id, changes, own_domain_only=_production(visit))
    )
    return See(_path(visit), done="settings")


async def renew_token(visit: Visit) -> Answer:
    """Replace the shop's API token, and show the new one once. The old token and the shop's sessions end."""
    token = secret_token()
    shop = await visit.context.database.run(lambda view: commands.renew_token(view, visit.parts["shop_id"], token))
    return Shown("operator/secret.html", {"kind": "token", "secret": token, "shop": shop})


async def renew_products_token(visit: Visit) -> Answer:
    """Create or replace the shop's token of the Products API, and show it once."""
    token, shop_id = secret_token(), visit.parts["shop_id"]
    shop = await visit.context.database.run(lambda view: commands.renew_products_token(view, shop_id, token))
    return Shown("operator/secret.html", {"kind": "products", "secret": token, "shop": shop})


async def renew_signing_secret(visit: Visit) -> Answer:
    """Sign webhooks with a new secret, and show it once. The previous secret remains valid too."""
    secret, shop_id = secret_text(secrets.token_bytes(SECRET_BYTES)), visit.parts["shop_id"]
    shop = await visit.context.database.run(lambda view: commands.renew_signing_secret(view, shop_id, secret))
    return Shown("operator/secret.html", {"kind": "signing", "secret": secret, "shop": shop})


async def end_signing(visit: Visit) -> Answer:
    """Turn off signing of webhooks."""
    await visit.context.database.run(lambda view: commands.end_signing(view, visit.parts["shop_id"]))
    return See(_path(visit), done="signing_ended")


async def add_location(visit: Visit) -> Answer:
    """Add a pickup location. Raises NOT_FOUND, INVALID_PARAMETER."""
    shop_id, location_id, new = visit.parts["shop_id"], opaque_id(), visit.form.read(NewLocation)
    await visit.context.database.run(lambda view: commands.add_location(view, shop_id, new, location_id))
    return See(_path(visit), done="location")


async def put_listing(visit: Visit) -> Answer:
    """Add a listing, or change price, commission rate and quantity of the listing with this code; other members stay.
    Raises NOT_FOUND, INVALID_PARAMETER."""
    shop_id, content = visit.parts["shop_id"], visit.form.nested()
    for name in ("unit_price", "commission_rate"):
        if name in content:
            content[name] = read_amount(content[name], name)
    new = read_as(content, NewListing)

    def command(view: View) -> Any:
        known = store.listings(view, shop_id, [new.shop_uid]).get(new.shop_uid)
        present = store.variations(view, shop_id, [new.shop_uid]).get(new.shop_uid, {})
        written = new if known is None else change_listing(known.listing, present, new)
        return commands.put_listings(view, shop_id, [written], visit.context.clock.now(), ListingSource.PAGE)

    await visit.context.database.run(command)
    return See(_path(visit), done="listing")


async def invite_owner(visit: Visit) -> Answer:
    """Make a link with which an owner joins the shop, and show it once. Raises NOT_FOUND, INVALID_PARAMETER."""
    shop_id, token, now_millis = visit.parts["shop_id"], secret_token(), visit.context.real()

    def command(view: View) -> tuple[ChangeSet, object]:
        commands.find_shop(view, shop_id)
        invited_by = visit.visitor.actor.name
        return people.invite(view, shop_id, Role.OWNER, hash_token(token), invited_by=invited_by, now_millis=now_millis)

    await visit.context.database.run(command)
    address = f"{visit.context.terms.public_url}/invitation/{token}"
    return Shown("operator/invited.html", {"address": address, "person": None, "root": "/operator"})


async def change_status(visit: Visit) -> Answer:
    """`status=`: suspend, close or reopen a shop. Closing needs the tick. Raises NOT_FOUND, INVALID_PARAMETER."""
    status, shop_id = visit.form.text("status"), visit.parts["shop_id"]
    if status not in set(ShopStatus):
        raise refuse(NoSuchChoice())
    if status == ShopStatus.CLOSED:
        visit.form.check_confirmed()
    changes = ShopChanges(status=ShopStatus(status))
    await visit.context.database.run(lambda view: commands.change_shop(view, shop_id, changes))
    return See(_path(visit), done="status")


async def open_shop(visit: Visit) -> Answer:
    """Open the shop's pages to the operator of a sandbox, without its token. Raises NOT_FOUND, also in production."""
    shop = await visit.context.database.read(lambda view: commands.find_shop(view, visit.parts["shop_id"]))
    cookie = await visit.panel.sessions.open_shop(shop, visit.browser, visit.visitor)
    if cookie is None:
        raise refuse(NoSuchPage())
    return See(SHOP_HOME, session=cookie)


def change_listing(known: Listing, variations: Mapping[str, VariationInStock], new: NewListing) -> NewListing:
    """Return the known listing with its variations, and with the values of `new` that the form has."""
    kept: dict[str, Any] = {
        name: value
        for name, value in msgspec.structs.asdict(known).items()
        if value is not UNSET and name in NewListing.__struct_fields__
    }
    kept["variations"] = [
        {name: value for name, value in msgspec.structs.asdict(entry.variation).items() if value is not UNSET}
        | {"quantity": entry.quantity}
        for entry in variations.values()
    ]
    fresh = {name: getattr(new, name) for name in ("product_name", "unit_price", "commission_rate", "quantity")}
    return msgspec.convert(msgspec.to_builtins(kept, builtin_types=(Decimal,)) | fresh, NewListing)


def _production(visit: Visit) -> bool:
    return visit.context.terms.settings.mode == "production"


def _path(visit: Visit) -> str:
    return f"/operator/shops/{visit.parts['shop_id']}"
