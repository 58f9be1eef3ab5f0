"""Reading of declared shops and faults: the declaration, and the message of each mistake."""

import tomllib
from decimal import Decimal
from typing import Any

import pytest

from kalathi.marketplace.sandbox.declared import Declaration, Source, read_declaration
from kalathi.marketplace.sandbox.faults import FaultKind, FaultPlace, FaultRule
from kalathi.marketplace.shops.model import hash_token

CALLS = {FaultPlace.API: ["accept", "list"], FaultPlace.WEBHOOKS: ["new_order"]}
FULL = """\
fault_seed = 5

[[faults]]
on = "api"
kind = "delay"
shop_id = "books"

[[shops]]
id = "books"
token = "books-token"
name = "Βιβλία Αθηνά"
webhook_url = "http://shop/hook"
set_as_ready_required = true
fault_seed = 7

[[shops.locations]]
id = "store"
street_name = "Ερμού"

[[shops.listings]]
shop_uid = "A"
product_name = "Βιβλίο"
unit_price = 10.4
quantity = 3
tags = ["plus_deal"]
preorder_ships_on = 2026-12-20
size = { label = "Νούμερο", value = "42" }

[[shops.listings]]
shop_uid = "B"
product_name = "Τετράδιο"
unit_price = 2
quantity = 0

[[shops.faults]]
on = "webhooks"
kind = "duplicate"
call = "new_order"

[[shops]]
id = "toys"
token = "toys-token"
"""


def _read(text: str) -> Declaration | list[str]:
    content: dict[str, Any] = tomllib.loads(text)
    return read_declaration(content, Source("kalathi.toml", text), CALLS)


def _declared(text: str) -> Declaration:
    declared = _read(text)
    assert isinstance(declared, Declaration), declared
    return declared


def test_a_file_declares_shops_with_locations_listings_and_faults() -> None:
    declared = _declared(FULL)
    books = declared.shop("books")
    assert books is not None
    assert (books.shop.name, books.shop.webhook_url) == ("Βιβλία Αθηνά", "http://shop/hook")
    assert books.given == {"name", "webhook_url", "set_as_ready_required"}
    assert books.token_hash == hash_token("books-token")
    assert [(location.id, location.street_name) for location in books.shop.locations] == [("store", "Ερμού")]
    first, second = books.listings
    assert (first.listing.unit_price, first.quantity) == (Decimal("10.40"), 3)
    assert (second.listing.shop_uid, second.quantity) == ("B", 0)
    assert books.faults.seed == 7
    assert books.faults.rules == (FaultRule(on=FaultPlace.WEBHOOKS, kind=FaultKind.DUPLICATE, call="new_order"),)
    assert declared.faults == (FaultRule(on=FaultPlace.API, kind=FaultKind.DELAY, shop_id="books"),)
    assert declared.fault_seed == 5


def test_an_id_and_a_token_are_enough_for_a_shop() -> None:
    [toys] = _declared('[[shops]]\nid = "toys"\ntoken = "toys-token"\n').shops
    assert (toys.shop.name, toys.shop.domain, toys.given) == ("toys", "shop.example", frozenset())
    assert [location.id for location in toys.shop.locations] == ["toys-1"]
    assert "toys-token" not in repr(toys)


def test_a_file_without_shops_declares_nothing() -> None:
    assert _declared("").is_empty
    assert not _declared("faults = []").is_empty


SHOP = '[[shops]]\nid = "a"\ntoken = "token-of-a"\n'
LISTING = '[[shops.listings]]\nshop_uid = "A"\nproduct_name = "A"\nunit_price = 1\nquantity = 1\n'
RULE = 'on = "api"\nkind = "error"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            SHOP + LISTING + LISTING.replace("price = 1", "price = []").replace('"A"', '"B"'),
            "line 12: shops[0].listings[1].unit_price: give a number.",
            id="number",
        ),
        pytest.param("shops = 3", "line 1: shops: write each one as [[shops]].", id="no list"),
        pytest.param("[shops]\na = 1", "line 1: shops: write each one as [[shops]].", id="one table"),
        pytest.param("shops = [1]", "line 1: shops[0]: write it as [[shops]].", id="no table"),
        pytest.param(
            '[[shops]]\nid = "a"',
            "line 1: shops[0].token: it is missing: give a text of 8 to 200 characters,"
            " letters, digits and ASCII signs only, without spaces.",
            id="no token",
        ),
        pytest.param(
            '[[shops]]\nid = "a/b"\ntoken = "short"',
            "line 2: shops[0].id: give a text of 1 to 50 characters, letters, digits, - and _ only.",
            id="unsafe id",
        ),
        pytest.param(
            '[[shops]]\nid = "a"\ntoken = "short"',
            "line 3: shops[0].token: give a text of 8 to 200"
            " characters, letters, digits and ASCII signs only, without spaces.",
            id="short token",
        ),
        pytest.param(
            f'{SHOP}webhok_url = "x"',
            "line 4: shops[0].webhok_url: there is no such member; did you mean webhook_url?",
            id="unknown member",
        ),
        pytest.param(
            f'{SHOP}webhook_url = "shop/hook"',
            "line 4: shops[0].webhook_url: it must begin with http:// or https://.",
            id="URL",
        ),
        pytest.param(f"{SHOP}webhook_enabled = 1", "line 4: shops[0].webhook_enabled: give true or false.", id="bool"),
        pytest.param(f'{SHOP}courier = "Pigeon"', '"Skroutz Last Mile", "ACS"', id="closed list"),
        pytest.param(f'{SHOP}name = "a\\u0000b"', "line 4: shops[0].name: it holds a character", id="NUL"),
        pytest.param(
            f'{SHOP}[[shops.locations]]\nid = "x"',
            "line 4: shops[0].locations[0].street_name: it is missing: give a text of 1 to 200 characters.",
            id="missing member of a location",
        ),
        pytest.param(f"{SHOP}{LISTING}quantities = 3", "line 9: shops[0].listings[0].quantities", id="unknown in list"),
        pytest.param(
            f'{SHOP}{LISTING}tags = ["no"]',
            'line 9: shops[0].listings[0].tags: give a list of "cc_installments"',
            id="list",
        ),
        pytest.param(
            f"{SHOP}{LISTING}size = 3",
            "line 9: shops[0].listings[0].size: write it as size = { ... }.",
            id="inline table",
        ),
        pytest.param(
            f'{SHOP}{LISTING}size = {{ label = "x", value = "y", sort = 1 }}',
            "line 9: shops[0].listings[0].size.sort: there is no such member",
            id="unknown in inline table",
        ),
        pytest.param(f'{SHOP}{LISTING}preorder_ships_on = "soon"', "give a date such as 2026-12-31.", id="date"),
        pytest.param(
            f"{SHOP}{LISTING}commission_rate = 101",
            "line 9: shops[0].listings[0].commission_rate: give a percentage from 0 to 100 with at most two decimals.",
            id="percentage",
        ),
        pytest.param(f"{SHOP}{LISTING}".replace("unit_price = 1", "unit_price = 1.005"), "line 7:", id="cents"),
        pytest.param(
            f"{SHOP}{LISTING}".replace("quantity = 1", "quantity = -1"),
            "give a whole number from 0 to 1000000.",
            id="whole number",
        ),
        pytest.param(
            f"{SHOP}{LISTING}{LISTING}",
            "line 10: shops[0].listings[1].shop_uid: another listing of the shop"
            " has this shop_uid. Choose a different one.",
            id="listing twice",
        ),
        pytest.param(
            f"{SHOP}{SHOP}", "line 5: shops[1].id: another shop has this id. Choose a different one.", id="id twice"
        ),
        pytest.param(
            SHOP + SHOP.replace('id = "a"', 'id = "b"'),
            "line 6: shops[1].token: another shop has this token. Choose a different one.",
            id="token twice",
        ),
        pytest.param(
            f"[[faults]]\n{RULE}probability = 0",
            "line 4: faults[0].probability: give a number above 0 and up to 1.",
            id="probability",
        ),
        pytest.param(
            f'[[faults]]\n{RULE}shop_id = "b"',
            "line 4: faults[0].shop_id: this file declares no shop b.",
            id="shop of a rule",
        ),
        pytest.param(
            f'{SHOP}[[shops.faults]]\n{RULE}shop_id = "a"',
            "line 7: shops[0].faults[0].shop_id: leave it out: the rule applies to the shop in whose table it is.",
            id="shop of a shop's rule",
        ),
        pytest.param(
            f'[[faults]]\n{RULE}call = "new_order"',
            "line 4: faults[0].call: there is no new_order; there are accept, list.",
            id="call",
        ),
        pytest.param(
            '[[faults]]\non = "api"\nkind = "duplicate"',
            "line 3: faults[0].kind: duplicate is for webhooks only.",
            id="kind",
        ),
        pytest.param('fault_seed = "x"', "line 1: fault_seed: give a whole number.", id="seed"),
    ],
)
def test_a_mistake_is_named_with_file_line_path_and_valid_values(text: str, sentence: str) -> None:
    mistakes = _read(text)
    assert isinstance(mistakes, list)
    assert any(sentence in mistake for mistake in mistakes), mistakes
    assert all(mistake.startswith("kalathi.toml line ") for mistake in mistakes)


def test_every_mistake_in_a_file_is_named_at_once() -> None:
    text = FULL.replace("= true", "= 1").replace("quantity = 3", 'quantity = "3"').replace("toys-token", "toys")
    mistakes = _read(text)
    assert isinstance(mistakes, list)
    assert [mistake.split(":")[1].strip() for mistake in mistakes] == [
        "shops[0].set_as_ready_required",
        "shops[0].listings[0].quantity",
        "shops[1].token",
    ]
