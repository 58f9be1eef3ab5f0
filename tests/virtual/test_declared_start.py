"""A declared start on a real database: new shops, shops that are set again, and everything that stays."""

import tomllib
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.sandbox.declared import Declaration, Source, read_declaration
from kalathi.marketplace.sandbox.declared_start import apply_declaration, set_listings
from kalathi.marketplace.sandbox.faults import FaultPlace
from kalathi.marketplace.shops.model import hash_token
from tests.market import OPERATOR_TOKEN, Market, Shop, open_market

pytestmark = pytest.mark.anyio

FILE = """\
fault_seed = 3

[[faults]]
on = "webhooks"
kind = "duplicate"
probability = 0.001

[[shops]]
id = "books"
token = "token-of-books"
webhook_url = "http://shop/hook"

[[shops.locations]]
id = "store"
street_name = "Ερμού"

[[shops.listings]]
shop_uid = "A"
product_name = "Βιβλίο"
unit_price = 10.4
quantity = 5

[[shops.faults]]
on = "api"
kind = "error"
call = "list"
"""
CALLS = {FaultPlace.API: ["list"], FaultPlace.WEBHOOKS: ["new_order"]}


def _declared(text: str = FILE) -> Declaration:
    declared = read_declaration(tomllib.loads(text), Source("kalathi.toml", text), CALLS)
    assert isinstance(declared, Declaration), declared
    return declared


async def _shop(market: Market, token: str = "token-of-books", shop_id: str = "books") -> Shop:
    shown = (await market.operate("GET", f"/marketplace/shops/{shop_id}"))["shop"]
    return Shop(market, shown, token, [])


async def test_a_declared_shop_takes_orders_with_its_declared_token(tmp_path: Path) -> None:
    async with open_market(tmp_path, declared=_declared()) as market:
        shop = await _shop(market)
        code = await shop.cart(A=2)
        assert (await shop.accept(code)).status == 200
        assert (await shop.show(code))["pickup_address"].startswith("Ερμού")
        assert await shop.stock() == {"A": 3}
        assert (await shop.call("GET", "/orders")).status == 503, "the declared fault"


async def test_a_second_start_sets_the_declared_state_again_and_keeps_the_rest(tmp_path: Path) -> None:
    async with open_market(tmp_path, declared=_declared()) as market:
        shop = await _shop(market)
        code = await shop.cart(A=2)
        other = await market.shop()
        await market.operate("PATCH", "/marketplace/shops/books", {"webhook_url": "http://x/", "courier": "ACS"})
        extra = {"shop_uid": "B", "product_name": "B", "unit_price": 1, "quantity": 9}
        await market.operate("PUT", "/marketplace/shops/books/listings", [extra])
        await market.operate("POST", "/marketplace/shops/books/locations", {"street_name": "Αιόλου"}, status=201)
        await market.operate("POST", "/marketplace/shops/books/api_token")
        rule = {"on": "api", "kind": "delay"}
        for path in ("/marketplace/faults", "/marketplace/shops/books/faults", f"/marketplace/shops/{other.id}/faults"):
            await market.operate("PUT", path, {"seed": 8, "rules": [rule]})
    async with open_market(tmp_path, declared=_declared()) as market:
        shop = await _shop(market)
        assert (await shop.show(code))["state"] == "open", "orders stay"
        assert await shop.stock() == {"A": 5, "B": 9}
        shown = (await market.operate("GET", "/marketplace/shops/books"))["shop"]
        assert (shown["webhook_url"], shown["courier"]) == ("http://shop/hook", "ACS"), "only declared members are set"
        assert [location["street_name"] for location in shown["locations"]] == ["Ερμού", "Αιόλου"]
        assert await (await _shop(market, other.token, other.id)).stock() == {"A": 100, "B": 100}
        faults = await market.operate("GET", "/marketplace/faults")
        assert (faults["seed"], [rule["kind"] for rule in faults["rules"]]) == (3, ["duplicate"])
        assert faults["shops"] == sorted(["books", other.id])
        own = await market.operate("GET", "/marketplace/shops/books/faults")
        assert (own["seed"], [rule["kind"] for rule in own["rules"]]) == (1, ["error"])
    without = FILE.partition("[[shops.faults]]")[0]
    async with open_market(tmp_path, declared=_declared(without)) as market:
        assert (await market.operate("GET", "/marketplace/faults"))["shops"] == [other.id]


async def test_a_declared_start_without_rules_leaves_the_rough_mixture_on(tmp_path: Path) -> None:
    rough = Settings(rough=True)
    async with open_market(tmp_path, declared=_declared("fault_seed = 3\nfaults = []\n"), settings=rough) as market:
        assert (await market.operate("GET", "/marketplace/faults"))["rough"]
    async with open_market(tmp_path, declared=_declared(), settings=rough) as market:
        faults = await market.operate("GET", "/marketplace/faults")
        assert (len(faults["rules"]), faults["rough"]) == (1, False)


async def test_a_start_with_everything_in_its_declared_state_writes_nothing(tmp_path: Path) -> None:
    async with open_market(tmp_path, declared=_declared()) as market:
        changes, reasons = await market.marketplace.database.read(
            lambda view: apply_declaration(view, _declared(), hash_token(OPERATOR_TOKEN))
        )
        assert changes.is_empty
        assert reasons == []


async def test_two_declared_shops_can_swap_their_tokens(tmp_path: Path) -> None:
    shops = '[[shops]]\nid = "a"\ntoken = "token-one"\n[[shops]]\nid = "b"\ntoken = "token-two"\n'
    swapped = shops.replace("one", "x").replace("two", "one").replace("x", "two")
    async with open_market(tmp_path, declared=_declared(shops)):
        pass
    async with open_market(tmp_path, declared=_declared(swapped)) as market:
        a = await _shop(market, "token-two", "a")
        assert (await a.call("GET", "/orders")).status == 200
        code = (await market.operate("GET", "/marketplace/shops"))["shops"]
        assert [shop["id"] for shop in code] == ["a", "b"]


@pytest.mark.parametrize("own", ["", 'products_token = "products-two"\n'])
async def test_a_products_token_can_move_to_another_declared_shop(tmp_path: Path, own: str) -> None:
    token = 'products_token = "products-one"\n'
    before = f'[[shops]]\nid = "a"\ntoken = "token-one"\n{token}[[shops]]\nid = "b"\ntoken = "token-two"\n{own}'
    after = f'[[shops]]\nid = "a"\ntoken = "token-one"\n{own}[[shops]]\nid = "b"\ntoken = "token-two"\n{token}'
    async with open_market(tmp_path, declared=_declared(before)):
        pass
    async with open_market(tmp_path, declared=_declared(after)) as market:
        b = await _shop(market, "token-two", "b")
        b.products_token = "products-one"
        status = await b.publish({"product_id": "A", "quantity": 1, "enabled": True, "price": 100})
        assert status["results"][0]["message"] == "Product not found."
        changes, _ = await market.marketplace.database.read(
            lambda view: apply_declaration(view, _declared(after), hash_token(OPERATOR_TOKEN))
        )
        assert changes.is_empty


async def test_a_products_token_that_is_the_operators_is_refused(tmp_path: Path) -> None:
    text = f'[[shops]]\nid = "a"\ntoken = "token-one"\nproducts_token = "{OPERATOR_TOKEN}"\n'
    with pytest.raises(ValueError, match="products_token: it is the operator's token"):
        async with open_market(tmp_path, declared=_declared(text)):
            pass


async def test_variations_in_any_order_are_in_their_declared_state(tmp_path: Path) -> None:
    listing = "".join(
        f'[[shops.listings.variations]]\nvariation_id = "{uid}"\nquantity = 1\n' for uid in ("A-9", "A-10")
    )
    text = FILE.replace("[[shops.faults]]", f"{listing}[[shops.faults]]")
    async with open_market(tmp_path, declared=_declared(text)) as market:
        changes, _ = await market.marketplace.database.read(
            lambda view: apply_declaration(view, _declared(text), hash_token(OPERATOR_TOKEN))
        )
        assert changes.is_empty


async def test_a_token_of_another_shop_or_of_the_operator_is_refused(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        other = await market.shop()
    text = f'[[shops]]\nid = "a"\ntoken = "{other.token}"\n\n[[shops]]\nid = "b"\ntoken = "{OPERATOR_TOKEN}"\n'
    with pytest.raises(ValueError, match="line 3") as refused:
        async with open_market(tmp_path, declared=_declared(text)):
            pass
    assert str(refused.value) == (
        f"kalathi.toml line 3: shops[0].token: it is the token of shop {other.id} already. Choose a different one."
        "\n  kalathi.toml line 7: shops[1].token: it is the operator's token. Choose a different one."
    )
    async with open_market(tmp_path) as market:
        assert len((await market.operate("GET", "/marketplace/shops"))["shops"]) == 1


async def test_a_reset_sets_the_declared_rules_of_the_shop_again(tmp_path: Path) -> None:
    async with open_market(tmp_path, declared=_declared()) as market:
        path = "/marketplace/shops/books/faults"
        before = await market.operate("GET", path)
        await market.operate("PUT", path, {"rules": [{"on": "api", "kind": "drop"}]})
        await market.operate("POST", "/marketplace/shops/books/reset")
        assert await market.operate("GET", path) == before


async def test_one_shops_listings_can_be_set_again_while_the_marketplace_runs(tmp_path: Path) -> None:
    async with open_market(tmp_path, declared=_declared()) as market:
        shop = await _shop(market)
        await shop.cart(A=4)
        declared = _declared().shop("books")
        assert declared is not None
        await market.marketplace.database.run(lambda view: (set_listings(view, declared), None))
        assert await shop.stock() == {"A": 5}
