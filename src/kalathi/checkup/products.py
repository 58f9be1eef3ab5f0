"""The products of a run. Each check uses its own products, so that no check disturbs another."""

import csv
import io
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kalathi.marketplace.sandbox.scenario import Scenario, lines_of

_PLENTY: Final = 1000
_OWN: Final = "KALATHI-"
_RECIPES_FROM: Final = 90
_SEED_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_SEED_LENGTH: Final = 4
_UID_MEMBERS: Final = frozenset({"shop_uid", "shop_variation_uid"})


class Product(NamedTuple):
    """A product that the shop's system must know before the run, with its pieces and its price in euros."""

    uid: str
    name: str
    quantity: int
    price: float


def new_seed() -> str:
    """Return a random beginning for the uids of a run, without letters that look alike."""
    return "".join(secrets.choice(_SEED_LETTERS) for _ in range(_SEED_LENGTH))


def rename_uid(scenario: Scenario, seed: str, uid: str) -> str:
    """Return the uid of a scenario's product in a run: `K3F9-07-STICK`."""
    return f"{seed}-{_place_of(scenario):02}-{uid.removeprefix(_OWN)}"


def _place_of(scenario: Scenario) -> int:
    """Return a number that no other check and no other recipe has."""
    if scenario.check is not None:
        return scenario.check.place
    return _RECIPES_FROM + (scenario.recipe.place if scenario.recipe else 0)


def overrides_of(scenario: Scenario, seed: str) -> dict[str, str]:
    """Return the values by path that give the scenario's products the uids of this run."""
    return {
        path: rename_uid(scenario, seed, uid)
        for path, uid in _find_uids(scenario.order.get("line_items", []), "order.line_items")
    }


def _find_uids(content: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            if name in _UID_MEMBERS and isinstance(value, str):
                yield f"{path}.{name}", value
            else:
                yield from _find_uids(value, f"{path}.{name}")
    elif isinstance(content, list):
        for index, entry in enumerate(content):
            yield from _find_uids(entry, f"{path}[{index}]")


def products_of(scenario: Scenario, seed: str) -> list[Product]:
    """Return the products of a check, also the variations, with the pieces that the shop has."""
    stock = scenario.check.stock if scenario.check else {}
    found: dict[str, Product] = {}
    for line in lines_of(scenario):
        for uid in dict.fromkeys((line["shop_uid"], line.get("shop_variation_uid") or line["shop_uid"])):
            named = rename_uid(scenario, seed, uid)
            found[named] = Product(named, str(line["product_name"]), stock.get(uid, _PLENTY), float(line["unit_price"]))
    return list(found.values())


def render_products(products: Sequence[Product]) -> str:
    """Render the products as CSV with a header, as the connector reads it with `--stock`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("shop_uid", "quantity", "price", "name"))
    writer.writerows((product.uid, product.quantity, f"{product.price:.2f}", product.name) for product in products)
    return text.getvalue()
