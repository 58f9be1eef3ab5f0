"""Checks of a batch's body (docs/contract.md#section-10). Types are strict here, unlike those of orders: the
marketplace refuses a price in euros or a digit string, because a wrong price would be sold."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET

from kalathi.contract.products import MOST_PRODUCTS, ProductUpdate, VariationUpdate
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.products.refusals import InvalidFormat, TooManyProducts

_MOST_SENTENCES: Final = 100
_LONGEST_ID_SHOWN: Final = 100
_VALUES: Final[Mapping[str, type]] = {"quantity": int, "enabled": bool, "price": int}


def read_batch(body: Any) -> list[ProductUpdate]:
    """Return the products of a decoded body, in its order. Raises PRODUCTS_FORMAT with one sentence for each wrong
    member, PRODUCTS_BATCH_SIZE."""
    if not isinstance(body, dict) or body.get("data") is None:
        raise refuse(InvalidFormat("", "data", is_missing=True))
    entries = body["data"]
    if not isinstance(entries, list):
        raise refuse(InvalidFormat("", "data", is_missing=False))
    if len(entries) > MOST_PRODUCTS:
        raise refuse(TooManyProducts())
    wrong: list[InvalidFormat] = []
    for entry in entries:
        wrong += _find_mistakes(entry)
        if len(wrong) >= _MOST_SENTENCES:
            break
    if wrong:
        raise refuse(*wrong[:_MOST_SENTENCES])
    return [_make_product(entry) for entry in entries]


def _find_mistakes(entry: Any) -> Iterator[InvalidFormat]:
    if not isinstance(entry, dict):
        yield InvalidFormat("", "data", is_missing=False)
        return
    yield from _find_wrong_members(entry, "product_id", "Product")
    variations = entry.get("variations")
    if variations is None:
        return
    if not isinstance(variations, list) or not all(isinstance(variation, dict) for variation in variations):
        yield InvalidFormat(_name(entry, "product_id", "Product"), "variations", is_missing=False)
        return
    for variation in variations:
        yield from _find_wrong_members(variation, "variation_id", "Variation")


def _find_wrong_members(entry: dict[str, Any], id_name: str, kind: str) -> Iterator[InvalidFormat]:
    owner = _name(entry, id_name, kind)
    for name, wanted in ((id_name, str), *_VALUES.items()):
        value = entry.get(name)
        if value is None or value == "":
            yield InvalidFormat(owner, name, is_missing=True)
        # A bool is an int in Python, but not on the wire.
        elif type(value) is not wanted:
            yield InvalidFormat(owner, name, is_missing=False)


def _name(entry: dict[str, Any], id_name: str, kind: str) -> str:
    named = entry.get(id_name)
    return f"{kind} {named[:_LONGEST_ID_SHOWN]}" if isinstance(named, str) and named else ""


def _make_product(entry: dict[str, Any]) -> ProductUpdate:
    variations = [
        VariationUpdate(variation_id=variation["variation_id"], **_values_of(variation))
        for variation in entry.get("variations") or ()
    ]
    return ProductUpdate(product_id=entry["product_id"], variations=variations or UNSET, **_values_of(entry))


def _values_of(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in _VALUES}
