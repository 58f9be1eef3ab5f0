"""The declared start: `[[shops]]` and `[[faults]]` of a settings file, read and checked (docs/declared-start.md).

This module is pure. It turns the content of the file into a `Declaration`, or into a sentence for each mistake in the
file. `declared_start.py` applies a declaration to the database.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

from msgspec import UNSET, Meta, Struct
from msgspec.structs import asdict

from kalathi.marketplace.kernel.money import as_amount, as_rate
from kalathi.marketplace.kernel.targets import BadUrl, parse_target
from kalathi.marketplace.sandbox.declared_tables import Mistake, find_mistakes, read_table
from kalathi.marketplace.sandbox.fault_checks import find_rule_mistakes
from kalathi.marketplace.sandbox.faults import FaultPlace, FaultRule, Faults
from kalathi.marketplace.shops.commands import make_listing, make_variations
from kalathi.marketplace.shops.model import (
    MOST_LISTINGS,
    MOST_LOCATIONS,
    Location,
    NewListing,
    NewLocation,
    NewShop,
    Shop,
    Text,
    hash_token,
)
from kalathi.marketplace.shops.store import ListingInStock, VariationInStock
from kalathi.toml_lines import Path, find_line, lines_by_path

# As many as `Faults` takes.
MOST_RULES: Final = 100
_Id = Annotated[str, Meta(min_length=1, max_length=50, pattern=r"\A[A-Za-z0-9_-]*\Z")]
_Token = Annotated[str, Meta(min_length=8, max_length=200, pattern=r"\A[!-~]*\Z")]
_LOCATION: Final = NewLocation(street_name="Σταδίου", street_number="1", zip="10562", city="Αθήνα", region="Αττική")
_DOMAIN: Final = "shop.example"


class _LocationTable(NewLocation, frozen=True, kw_only=True):
    id: _Id


class _ShopTable(NewShop, frozen=True, kw_only=True):
    id: _Id
    token: _Token
    products_token: _Token | None = None
    name: Text = ""
    domain: Text = _DOMAIN
    locations: Annotated[tuple[_LocationTable, ...], Meta(max_length=MOST_LOCATIONS)] = ()
    listings: Annotated[tuple[NewListing, ...], Meta(max_length=MOST_LISTINGS)] = ()
    faults: Annotated[tuple[FaultRule, ...], Meta(max_length=MOST_RULES)] = ()
    fault_seed: int = 1


class _File(Struct, frozen=True, kw_only=True):
    shops: tuple[_ShopTable, ...] = ()
    faults: Annotated[tuple[FaultRule, ...], Meta(max_length=MOST_RULES)] = ()
    fault_seed: int = 1


# Members of a shop's table that are not members of the shop itself.
_NOT_OF_THE_SHOP: Final = frozenset({"id", "token", "products_token", "locations", "listings", "faults", "fault_seed"})


class Source(NamedTuple):
    """The text of a settings file, and its name in messages."""

    name: str
    text: str

    def locate(self, path: Path) -> str:
        """Return a place as messages name it: `kalathi.toml line 14: shops[0].listings[1].unit_price`."""
        line = find_line(lines_by_path(self.text), path)
        return f"{self.name} line {line}: {_render_path(path)}"


class DeclaredShop(Struct, frozen=True, kw_only=True):
    """A shop of the file. `shop` is the shop as its first start creates it, and `given` names the members that the file
    sets again at each start. The token is known by its hash only."""

    path: Path
    shop: Shop
    given: frozenset[str]
    token_hash: bytes
    products_token_hash: bytes | None
    listings: tuple[ListingInStock, ...]
    variations: dict[str, list[VariationInStock]]
    # The shop's own rules.
    faults: Faults


class Declaration(Struct, frozen=True, kw_only=True):
    """The shops and fault rules of a settings file. `faults` are the rules of the whole marketplace; None if the file
    has no such list, so the stored rules stay."""

    source: Source = Source("", "")
    shops: tuple[DeclaredShop, ...] = ()
    faults: tuple[FaultRule, ...] | None = None
    fault_seed: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is declared."""
        return not self.shops and self.faults is None

    def shop(self, shop_id: str) -> DeclaredShop | None:
        """The declared shop with this id, or None."""
        return next((declared for declared in self.shops if declared.shop.id == shop_id), None)


NOTHING_DECLARED: Final = Declaration()

# The calls and event types that a rule may name, by place.
Calls = Mapping[FaultPlace, Collection[str]]


def read_declaration(content: Mapping[str, Any], source: Source, calls: Calls) -> Declaration | list[str]:
    """Return the declaration, or a sentence for each mistake, with its file, line and path. `content` has the declared
    members of the parsed source: `shops`, `faults` and `fault_seed`."""
    mistakes = list(find_mistakes(content, _File, ()))
    if not mistakes:
        file: _File = read_table(content, _File)
        mistakes = [*_find_shop_mistakes(file.shops), *_find_rule_mistakes(file, calls)]
        if not mistakes:
            return _make_declaration(source, content, file)
    return [f"{source.locate(path)}: {sentence}" for path, sentence in mistakes]


def _make_declaration(source: Source, content: Mapping[str, Any], file: _File) -> Declaration:
    return Declaration(
        source=source,
        shops=tuple(
            _make_shop(table, frozenset(content["shops"][number]), ("shops", number))
            for number, table in enumerate(file.shops)
        ),
        faults=file.faults if "faults" in content else None,
        fault_seed=file.fault_seed if "fault_seed" in content else None,
    )


def _make_shop(table: _ShopTable, given: frozenset[str], path: Path) -> DeclaredShop:
    members = {name: value for name, value in asdict(table).items() if name not in _NOT_OF_THE_SHOP}
    locations = tuple(Location(**asdict(location)) for location in table.locations)
    shop = Shop(
        id=table.id,
        **(members | {"name": table.name or table.id}),
        locations=locations or (Location(id=f"{table.id}-1", **asdict(_LOCATION)),),
    )
    return DeclaredShop(
        path=path,
        shop=shop,
        given=given - _NOT_OF_THE_SHOP,
        token_hash=hash_token(table.token),
        products_token_hash=None if table.products_token is None else hash_token(table.products_token),
        listings=tuple(ListingInStock(make_listing(entry), entry.quantity) for entry in table.listings),
        variations={entry.shop_uid: make_variations(entry) for entry in table.listings if entry.variations},
        faults=Faults(seed=table.fault_seed, rules=table.faults),
    )


def _find_shop_mistakes(shops: Sequence[_ShopTable]) -> Iterator[Mistake]:
    yield from _find_repeated(
        [(("shops", number, "id"), shop.id) for number, shop in enumerate(shops)], "shop has this id"
    )
    yield from _find_repeated(
        [
            (("shops", number, name), token)
            for number, shop in enumerate(shops)
            for name, token in (("token", shop.token), ("products_token", shop.products_token))
            if token is not None
        ],
        "shop has this token",
    )
    for number, shop in enumerate(shops):
        path: Path = ("shops", number)
        for name in ("webhook_url", "returns_webhook_url"):
            url = getattr(shop, name)
            if url is not None and isinstance(target := parse_target(url), BadUrl):
                yield Mistake((*path, name), f"it {target}.")
        yield from _find_repeated(
            [((*path, "locations", place, "id"), entry.id) for place, entry in enumerate(shop.locations)],
            "location of the shop has this id",
        )
        yield from _find_repeated(
            [((*path, "listings", place, "shop_uid"), entry.shop_uid) for place, entry in enumerate(shop.listings)],
            "listing of the shop has this shop_uid",
        )
        for place, entry in enumerate(shop.listings):
            yield from _find_listing_mistakes(entry, (*path, "listings", place))


def _find_listing_mistakes(entry: NewListing, path: Path) -> Iterator[Mistake]:
    if as_amount(entry.unit_price) is None:
        yield Mistake((*path, "unit_price"), "give an amount in euros, not negative, with at most two decimals.")
    for place, variation in enumerate(entry.variations):
        if variation.unit_price is not UNSET and as_amount(variation.unit_price) is None:
            where = (*path, "variations", place, "unit_price")
            yield Mistake(where, "give an amount in euros, not negative, with at most two decimals.")
    yield from _find_repeated(
        [
            ((*path, "variations", place, "variation_id"), variation.variation_id)
            for place, variation in enumerate(entry.variations)
        ],
        "variation of the listing has this variation_id",
    )
    for name in ("commission_rate", "vat_rate"):
        if as_rate(getattr(entry, name)) is None:
            yield Mistake((*path, name), "give a percentage from 0 to 100 with at most two decimals.")


def _find_rule_mistakes(file: _File, calls: Calls) -> Iterator[Mistake]:
    ids = [shop.id for shop in file.shops]
    for place, rule in enumerate(file.faults):
        path: Path = ("faults", place)
        if rule.shop_id is not None and rule.shop_id not in ids:
            yield Mistake((*path, "shop_id"), f"this file declares no shop {rule.shop_id}.")
        yield from _find_mistakes_of_rule(rule, calls, path)
    for number, shop in enumerate(file.shops):
        for place, rule in enumerate(shop.faults):
            path = ("shops", number, "faults", place)
            if rule.shop_id is not None:
                yield Mistake((*path, "shop_id"), "leave it out: the rule applies to the shop in whose table it is.")
            yield from _find_mistakes_of_rule(rule, calls, path)


def _find_mistakes_of_rule(rule: FaultRule, calls: Calls, path: Path) -> Iterator[Mistake]:
    valid = calls[rule.on]
    if rule.call is not None and rule.call not in valid:
        yield Mistake((*path, "call"), f"there is no {rule.call}; there are {', '.join(sorted(valid))}.")
    for member, sentence in find_rule_mistakes(rule):
        yield Mistake((*path, member), sentence)


def _find_repeated(values: Sequence[tuple[Path, str]], what: str) -> Iterator[Mistake]:
    counts: Counter[str] = Counter()
    for path, value in values:
        counts[value] += 1
        if counts[value] == 2:
            yield Mistake(path, f"another {what}. Choose a different one.")


def _render_path(path: Path) -> str:
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}"
    return shown.removeprefix(".")
