"""Check a feed: find faults that the marketplace would refuse, and differences from the stock source. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from msgspec import Struct

from kalathi.contract.reading import ATHENS
from kalathi.merchant.feed.parsing import MOST_VARIATIONS, FeedElement, FeedProduct, FeedStart
from kalathi.merchant.stock.shelf import Shelf

_QUANTITY: Final = re.compile(r"[0-9]{1,7}")
_AMOUNT: Final = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,2})?")
_RATE: Final = re.compile(r"(100|[0-9]{1,2})(?:\.[0-9]{1,2})?")
_EAN: Final = re.compile(r"[0-9]{8}|[0-9]{12,14}")
_ID: Final = ("uniqueid", "id", "uid")
_TIMES: Final = ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M")
# The feed is read about once an hour, so a feed of yesterday means that its export has stopped.
_OLDEST: Final = timedelta(hours=24)
_LARGEST_PLAIN_BYTES: Final = 10 * 1024 * 1024


class Fault(StrEnum):
    """A kind of fault. `refused` ones keep the product from being sold."""

    NO_ID = "no_id"
    DUPLICATE_ID = "duplicate_id"
    NO_NAME = "no_name"
    NO_QUANTITY = "no_quantity"
    BAD_QUANTITY = "bad_quantity"
    NO_PRICE = "no_price"
    BAD_PRICE = "bad_price"
    NO_VAT = "no_vat"
    BAD_VAT = "bad_vat"
    BAD_EAN = "bad_ean"
    DUPLICATE_EAN = "duplicate_ean"
    SIZES_WITHOUT_VARIATIONS = "sizes_without_variations"
    VARIATION_WITHOUT_ID = "variation_without_id"
    DUPLICATE_VARIATION = "duplicate_variation"
    SIZES_DIFFER = "sizes_differ"
    QUANTITIES_DIFFER = "quantities_differ"
    NO_CREATED_AT = "no_created_at"
    BAD_CREATED_AT = "bad_created_at"
    OLD = "old"
    NOT_COMPRESSED = "not_compressed"
    NO_PRODUCTS = "no_products"
    NOT_IN_STOCK = "not_in_stock"
    NOT_IN_FEED = "not_in_feed"
    STOCK_DIFFERS = "stock_differs"


# The marketplace takes these, but they cost sales or show that the export is wrong.
WARNINGS: Final = frozenset(
    {
        *(Fault.SIZES_WITHOUT_VARIATIONS, Fault.SIZES_DIFFER, Fault.QUANTITIES_DIFFER, Fault.DUPLICATE_EAN),
        *(Fault.NOT_IN_STOCK, Fault.NOT_IN_FEED, Fault.STOCK_DIFFERS),
    }
)


class Finding(Struct, frozen=True, kw_only=True):
    """A fault, with its product and its line; `product` is empty and `line` is 0 for a fault of the whole file."""

    fault: Fault
    product: str = ""
    line: int = 0
    sentence: str

    @property
    def is_warning(self) -> bool:
        """Whether the marketplace takes the product all the same."""
        return self.fault in WARNINGS


class FeedChecker:
    """Checks the products of one feed in their order. It keeps the ids of all products, and nothing else of them."""

    def __init__(self, now: datetime, shelf: Shelf | None = None) -> None:
        """`now` has a time zone. `shelf` is the stock source, if the feed is compared with it."""
        self._now = now
        self._shelf = shelf
        self._lines: dict[str, int] = {}
        self._eans: dict[str, str] = {}
        self._counted: set[str] = set()
        self._has_start = False
        self.products = 0
        self.counts: Counter[Fault] = Counter()

    def check(self, entry: FeedProduct | FeedStart) -> list[Finding]:
        """Return the findings of the creation time or of one product."""
        if isinstance(entry, FeedStart):
            found = list(self._check_start(entry)) if not self._has_start else []
            self._has_start = True
        else:
            self.products += 1
            found = list(self._check_product(entry))
        self.counts.update(finding.fault for finding in found)
        return found

    def end(self, size: int, *, is_compressed: bool) -> list[Finding]:
        """Return the findings of the whole file. `size` is that of the XML in bytes."""
        found = list(self._check_file(size, is_compressed=is_compressed))
        self.counts.update(finding.fault for finding in found)
        return found

    def _check_start(self, start: FeedStart) -> Iterator[Finding]:
        created_at = _read_time(start.created_at)
        if created_at is None:
            sentence = f"created_at is {_quote(start.created_at)}; write it as 2026-11-30 09:30"
            yield Finding(fault=Fault.BAD_CREATED_AT, sentence=sentence)
        elif self._now - created_at > _OLDEST:
            hours = int((self._now - created_at).total_seconds() // 3600)
            yield Finding(
                fault=Fault.OLD, sentence=f"the feed was made {hours} hours ago; is its export still running?"
            )

    def _check_file(self, size: int, *, is_compressed: bool) -> Iterator[Finding]:
        if not self._has_start:
            yield Finding(fault=Fault.NO_CREATED_AT, sentence="created_at is missing")
        if not self.products:
            yield Finding(fault=Fault.NO_PRODUCTS, sentence="there is no element product")
        if size > _LARGEST_PLAIN_BYTES and not is_compressed:
            sentence = f"the file has {size / 1024**2:.0f} MB; above 10 MB it must be compressed (gzip or zip)"
            yield Finding(fault=Fault.NOT_COMPRESSED, sentence=sentence)
        if self._shelf is None:
            return
        for uid in (*self._shelf.pieces, *self._shelf.unreadable):
            if uid not in self._counted and uid not in self._lines:
                yield Finding(fault=Fault.NOT_IN_FEED, product=uid, sentence="the stock source has it, the feed not")

    def _check_product(self, product: FeedProduct) -> Iterator[Finding]:
        element = product.element
        uid = element.find(*_ID) or ""
        for fault, sentence in self._find_faults(uid, product):
            yield Finding(fault=fault, product=uid, line=element.line, sentence=sentence)
        if uid:
            self._lines.setdefault(uid, element.line)

    def _find_faults(self, uid: str, product: FeedProduct) -> Iterator[tuple[Fault, str]]:
        element = product.element
        if not uid:
            yield Fault.NO_ID, "the product has no id"
        elif uid in self._lines:
            yield Fault.DUPLICATE_ID, f"the product of line {self._lines[uid]} has the same id"
        if not element.find("name", "title"):
            yield Fault.NO_NAME, "the product has no name"
        yield from _check_numbers(element, "")
        vat = element.find("vat")
        if not vat:
            yield Fault.NO_VAT, "vat is missing"
        elif not _RATE.fullmatch(vat):
            yield Fault.BAD_VAT, f"vat is {_quote(vat)}; write a percentage such as 24.00"
        yield from self._check_ean(uid, element)
        yield from self._check_variations(uid, product)
        if self._shelf is not None and uid and not product.variations:
            yield from self._compare(uid, element, self._shelf)

    def _check_ean(self, uid: str, element: FeedElement) -> Iterator[tuple[Fault, str]]:
        ean = element.find("ean", "barcode")
        if not ean:
            return
        if not is_ean(ean):
            yield Fault.BAD_EAN, f"ean is {_quote(ean)}, which is no EAN: 8, 12, 13 or 14 digits with a check digit"
            return
        other = self._eans.setdefault(ean, uid)
        if other != uid:
            yield Fault.DUPLICATE_EAN, f"product {other} has the same ean {ean}"

    def _check_variations(self, uid: str, product: FeedProduct) -> Iterator[tuple[Fault, str]]:
        sizes = [size.strip() for size in (product.element.find("size") or "").split(",") if size.strip()]
        if not product.variations:
            if len(sizes) > 1:
                sentence = f"it names {len(sizes)} sizes, and no variations with their quantities"
                yield Fault.SIZES_WITHOUT_VARIATIONS, sentence
            return
        seen: set[str] = set()
        total = 0
        for variation in product.variations:
            variation_id = variation.find("variationid", *_ID) or ""
            if not variation_id:
                yield Fault.VARIATION_WITHOUT_ID, f"the variation in line {variation.line} has no id"
            elif variation_id in seen:
                yield Fault.DUPLICATE_VARIATION, f"the variation {variation_id} comes twice"
            seen.add(variation_id)
            yield from _check_numbers(variation, f"variation {variation_id}: ", needs_price=False)
            quantity = variation.find("quantity") or ""
            total += int(quantity) if _QUANTITY.fullmatch(quantity) else 0
            if self._shelf is not None and variation_id:
                yield from self._compare(variation_id, variation, self._shelf)
        # A product with more variations has some that are not kept.
        is_whole = len(product.variations) < MOST_VARIATIONS
        if is_whole and sizes and len(sizes) != len(product.variations):
            yield (
                Fault.SIZES_DIFFER,
                f"size names {len(sizes)} sizes, and there are {len(product.variations)} variations",
            )
        quantity = product.element.find("quantity") or ""
        if is_whole and _QUANTITY.fullmatch(quantity) and int(quantity) != total:
            yield Fault.QUANTITIES_DIFFER, f"the quantity is {quantity}, and that of its variations together {total}"
        if uid:
            self._counted.add(uid)

    def _compare(self, uid: str, element: FeedElement, shelf: Shelf) -> Iterator[tuple[Fault, str]]:
        self._counted.add(uid)
        quantity = element.find("quantity") or ""
        if not shelf.names(uid):
            yield Fault.NOT_IN_STOCK, f"the stock source does not name {uid}"
        elif uid in shelf.pieces and _QUANTITY.fullmatch(quantity) and int(quantity) != shelf.pieces[uid]:
            yield Fault.STOCK_DIFFERS, f"the feed has {quantity} of {uid}, the stock source {shelf.pieces[uid]}"


def _check_numbers(element: FeedElement, owner: str, *, needs_price: bool = True) -> Iterator[tuple[Fault, str]]:
    quantity, price = element.find("quantity", "stock"), element.find("pricewithvat", "price")
    if not quantity:
        yield Fault.NO_QUANTITY, f"{owner}quantity is missing"
    elif not _QUANTITY.fullmatch(quantity):
        sentence = f"{owner}quantity is {_quote(quantity)}; write a whole number from 0 to 9999999"
        yield Fault.BAD_QUANTITY, sentence
    if not price:
        if needs_price:
            yield Fault.NO_PRICE, f"{owner}price_with_vat is missing"
    elif not _AMOUNT.fullmatch(price) or not Decimal(price):
        yield Fault.BAD_PRICE, f"{owner}price_with_vat is {_quote(price)}; write euros such as 10.40"


def is_ean(text: str) -> bool:
    """Whether a text is an EAN or GTIN with a right check digit (GS1 General Specifications, section 7.9)."""
    if not _EAN.fullmatch(text):
        return False
    digits = [int(digit) for digit in reversed(text)]
    return sum(digit * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10 == 0


def check_feed(entries: Iterable[FeedProduct | FeedStart], checker: FeedChecker) -> Iterator[Finding]:
    """Yield the findings of every entry."""
    for entry in entries:
        yield from checker.check(entry)


def _read_time(text: str) -> datetime | None:
    """Return the time in Athens, or None if it cannot be read."""
    for form in _TIMES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=ATHENS)
        except ValueError:
            continue
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=ATHENS)


def _quote(text: str) -> str:
    return f'"{text[:40]}..."' if len(text) > 40 else f'"{text}"'
