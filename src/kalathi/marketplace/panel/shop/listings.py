"""A shop's listings: their stock and prices, changes by hand and by file, and the cost of rejections."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import count, takewhile, zip_longest
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import UNSET

from kalathi.contract.products import ProductResult, ProductStatus, ProductUpdate, VariationUpdate
from kalathi.marketplace.kernel.clock import athens, to_millis
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, refuse
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import shortages
from kalathi.marketplace.panel.forms import Form, read_amount
from kalathi.marketplace.panel.lists import locate_page, read_page
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoSuchPage, NotANumber
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.products.csv_text import read_listings, render_listings
from kalathi.marketplace.products.refusals import ListingFailed
from kalathi.marketplace.shops import store
from kalathi.marketplace.shops.model import Listing, ListingSource, Variation
from kalathi.marketplace.shops.store import ListingInStock, VariationInStock
from kalathi.marketplace.web.reply import SECRET_FILE, Reply

LISTINGS: Final = "/shop/listings"
_COST_DAYS: Final = 30
_MOST_FAILURES: Final = 10
_CSV: Final = (
    (b"content-type", b"text/csv; charset=utf-8"),
    (b"content-disposition", b'attachment; filename="listings.csv"'),
    (b"content-security-policy", b"default-src 'none'"),
    *SECRET_FILE,
)


async def list_listings(visit: Visit) -> Answer:
    """`?page=`: the shop's listings with stock, held pieces and the last change, and the cost of its rejections."""
    shop_id, page = visit.shop.id, read_page(visit.query)
    since = visit.context.clock.now() - timedelta(days=_COST_DAYS)

    def query(view: View) -> dict[str, Any]:
        found, total = store.page_of_listings(view, shop_id, page.per, page.offset)
        return {
            "listings": found,
            "variations": store.variations(view, shop_id, store.find_varied(found)),
            "held": shortages.count_held(view, shop_id),
            "cost": shortages.rejection_cost(view, shop_id, to_millis(since)),
            "position": locate_page(page, total),
        }

    content = await visit.context.database.read_list(query)
    more = {"problems": visit.problems, "cost_days": _COST_DAYS, "link_to": link_to}
    return Shown("shop/listings.html", content | more)


async def show_listing(visit: Visit) -> Answer:
    """`?uid=`: one listing, with the form for its stock, price and availability. Raises NOT_FOUND."""
    shop_id, uid = visit.shop.id, visit.query.get("uid", "") or visit.form.text("uid")
    if not uid:
        return See(LISTINGS)

    def query(view: View) -> dict[str, Any]:
        found = store.listings(view, shop_id, [uid]).get(uid)
        if found is None:
            raise refuse(NoSuchPage())
        return {"entry": found, "variations": store.variations(view, shop_id, [uid]).get(uid, {})}

    content = await visit.context.database.read(query)
    more = {"problems": visit.problems, "given": visit.form.given, "now": athens(visit.context.clock.now())}
    return Shown("shop/listing.html", content | more)


async def change_listing(visit: Visit) -> Answer:
    """Change the stock, the price and the availability of a listing and its variations. A value that the user has not
    edited stays as it is now, because customers order while the page is open. Raises NOT_FOUND, INVALID_PARAMETER."""
    form = visit.form
    edited = _read_values(form, "")
    endings = takewhile(lambda ending: form.text(f"variation{ending}"), (f"_{number}" for number in count()))
    edited_variations = {form.text(f"variation{ending}"): _read_values(form, ending) for ending in endings}

    def make(present: ListingInStock, variations: Mapping[str, VariationInStock]) -> ProductUpdate:
        varied = [
            VariationUpdate(
                variation_id=uid, **_values_of(variations[uid].variation, variations[uid].quantity) | values
            )
            for uid, values in edited_variations.items()
            if uid in variations
        ]
        values = _values_of(present.listing, present.quantity) | edited
        return ProductUpdate(product_id=present.listing.shop_uid, variations=varied or UNSET, **values)

    result = await visit.context.batches.edit(visit.shop.id, form.text("uid"), make, ListingSource.PAGE)
    if result is None:
        raise refuse(NoSuchPage())
    _check([result])
    return See(LISTINGS, done="listing")


async def export_listings(visit: Visit) -> Answer:
    """All listings as CSV."""
    shop_id = visit.shop.id

    def query(view: View) -> bytes:
        found = store.all_listings(view, shop_id)
        return render_listings(found, store.variations(view, shop_id, store.find_varied(found)))

    return Reply(200, await visit.context.database.read_list(query), _CSV)


async def import_listings(visit: Visit) -> Answer:
    """Set stock, prices and availability from a file. Products that do not exist are refused; the others are changed.
    Raises INVALID_PARAMETER with the lines that cannot be read, or the products that could not be changed."""
    products = read_listings(visit.form.file or b"")
    results = await visit.context.batches.write(visit.shop.id, products, ListingSource.CSV)
    _check(results)
    return See(LISTINGS, done="listings")


def link_to(uid: str) -> str:
    """Return the address of a listing's page. A uid may have any characters."""
    return f"/shop/listing?{urlencode({'uid': uid})}"


def _values_of(entry: Listing | Variation, quantity: int) -> dict[str, Any]:
    return {"quantity": quantity, "price": int(entry.unit_price * 100), "enabled": entry.enabled}


def _read_values(form: Form, ending: str) -> dict[str, Any]:
    """Return the values that differ from those that the page has shown. Raises INVALID_PARAMETER."""
    quantity = form.text(f"quantity{ending}")
    if not (quantity.isascii() and quantity.isdigit() and len(quantity) <= 7):
        raise refuse(NotANumber("quantity"))
    price = read_amount(form.text(f"unit_price{ending}"), "unit_price") * 100
    if price != price.to_integral_value() or not 0 < price <= 1_000_000_000:
        raise refuse(NotANumber("unit_price"))
    values = {"quantity": int(quantity), "price": int(price), "enabled": form.has(f"enabled{ending}")}
    shown = form.text(f"shown{ending}").split()
    return {
        name: value for (name, value), before in zip_longest(values.items(), shown[:3]) if before != str(int(value))
    }


def _check(results: list[ProductResult]) -> None:
    """Raise INVALID_PARAMETER with the products and variations that could not be changed."""
    failed: list[ListingFailed] = []
    for result in results:
        if result.status == ProductStatus.FAILURE:
            failed.append(ListingFailed(result.product_id, result.message or ""))
            continue
        failed += [
            ListingFailed(f"{result.product_id}, {one.variation_id}", one.message or "")
            for one in result.variations
            if one.status == ProductStatus.FAILURE
        ]
    if failed:
        raise DomainError(ErrorCode.INVALID_PARAMETER, *failed[:_MOST_FAILURES])
