"""The words under which an order is found, pure.

Accents, case and the final sigma do not matter: `Γιώργος`, `ΓΙΩΡΓΟΣ` and `γιωργοσ` are one word. The words of an order
come from its code, its customer, its products with their SKUs, and its tracking codes. Marks such as `=courier=ACS` are
in the same index. No word begins as a mark does.
"""

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

from msgspec import UNSET

from kalathi.marketplace.orders.model import Order

# A longer word is found by its beginning.
_LONGEST_WORD: Final = 40
_MOST_WORDS: Final = 8
# Orders repeat the names of products. With their words in memory, the words of an order take a third of the time.
_MOST_TEXTS: Final = 2_000
# The mark of orders that still have their customer.
PERSONAL: Final = "=personal"
_WORD: Final = re.compile(r"[^\W_]+")


class OrderKind(StrEnum):
    """A kind of orders that a list can be limited to."""

    EXPRESS = "express"
    STORE_PICKUP = "store_pickup"
    INVOICE = "invoice"
    FBS = "fbs"


@lru_cache(_MOST_TEXTS)
def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a text as the index has them, in the text's order."""
    # Signs such as ™ become letters first, so that these have no case either. `casefold` also changes the final sigma.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(letter for letter in folded if not unicodedata.combining(letter))
    return tuple(word[:_LONGEST_WORD] for word in _WORD.findall(unicodedata.normalize("NFC", bare)))


def read_search(text: str) -> tuple[str, ...]:
    """Return the beginnings of words that an order must have, from a user's text; the first eight."""
    return tuple(dict.fromkeys(split_words(text)))[:_MOST_WORDS]


def mark_courier(courier: str) -> str:
    """Return the mark of orders with this courier."""
    return f"=courier={courier}"


def mark_kind(kind: OrderKind) -> str:
    """Return the mark of orders of this kind."""
    return f"=kind={kind}"


def mark_cart(cart_id: str) -> str:
    """Return the mark of the orders of this cart."""
    return f"=cart={cart_id}"


def list_words(order: Order) -> set[str]:
    """Return all words and marks of an order."""
    return list_lasting_words(order) | list_shipping_words(order)


def list_lasting_words(order: Order) -> set[str]:
    """Return the words and marks that an order has from its placing to its end."""
    customer = order.recipient()
    texts = [order.code, customer.first_name, customer.last_name]
    if order.invoice_details is not UNSET:
        texts.append(order.invoice_details.company)
    for line in order.lines():
        texts += [line.product_name, line.shop_uid]
        texts += [text for text in (line.shop_variation_uid, line.ean, line.mpn) if text is not UNSET]
    return _split_all(texts) | _list_marks(order)


def list_shipping_words(order: Order) -> set[str]:
    """Return the words and marks that later transitions can change: tracking codes and the courier."""
    marks = {mark_courier(order.courier)} if order.courier else set()
    return _split_all(order.courier_tracking_codes) | marks


def _list_marks(order: Order) -> set[str]:
    kinds = {
        OrderKind.EXPRESS: order.express,
        OrderKind.STORE_PICKUP: order.store_pickup,
        OrderKind.INVOICE: order.invoice,
        OrderKind.FBS: order.fulfilled_by_skroutz,
    }
    marks = {mark_kind(kind) for kind, has in kinds.items() if has} | {mark_cart(order.cart_id)}
    return marks if order.anonymised else marks | {PERSONAL}


def _split_all(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in split_words(text)}
