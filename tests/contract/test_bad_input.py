"""Bad input: a clear error in the envelope, and nothing changed."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.contract.orders import Fees
from kalathi.marketplace.kernel.operator_token_file import operator_token
from kalathi.marketplace.kernel.settings import Settings
from tests.market import CUSTOMER, LOCATION, OPERATOR_TOKEN, Market, Shop, open_market

pytestmark = pytest.mark.anyio


async def _refused(shop: Shop, code: str, action: str, body: object, status: int, word: str) -> str:
    """Check that the call is refused and the order unchanged. Return the message."""
    before = await shop.market.order(code)
    stock = await shop.stock()
    answer = await shop.call("POST", f"/orders/{code}/{action}", body)
    assert (answer.status, answer.json["errors"][0]["code"]) == (status, word), answer
    assert await shop.market.order(code) == before
    assert await shop.stock() == stock
    return " ".join(answer.json["errors"][0]["messages"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": "Bearer wrong", "Accept": "text/html"},
    ],
)
async def test_a_missing_or_wrong_token_is_401_with_any_accept_header(tmp_path: Path, headers: dict[str, str]) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await shop.call("GET", f"/orders/{code}", **headers)
        assert (answer.status, answer.json["errors"][0]["code"]) == (401, "unauthorized")


async def test_renewing_a_token_invalidates_the_old_one(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await market.operate("POST", f"/marketplace/shops/{shop.id}/api_token")
        assert (await shop.call("GET", f"/orders/{code}")).status == 401
        shop.token = answer["api_token"]
        assert (await shop.call("GET", f"/orders/{code}")).status == 200


@pytest.mark.parametrize(
    "accept",
    [
        *("", "*/*", "application/json", "application/vnd.skroutz+json", "application/vnd.other+json; version=3.0"),
        *(f"application/vnd.skroutz+json; version={version}" for version in ("2.0", "4", "30", "3.", "3.0.1", "x")),
    ],
)
async def test_a_wrong_accept_header_is_406_and_shows_the_right_one(tmp_path: Path, accept: str) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await shop.call("GET", f"/orders/{code}", Accept=accept)
        assert (answer.status, answer.json["errors"][0]["code"]) == (406, "not_acceptable")
        assert "application/vnd.skroutz+json; version=3.0" in answer.json["errors"][0]["messages"][0]


async def test_an_unknown_order_and_another_shops_order_are_404(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop, other = await market.shop(), await market.shop("Other")
        code = await other.cart(A=1)
        for wanted in (code, "000000-0000000", "%00", "'; DROP TABLE orders; --", "x" * 5000, "Ω"):
            for method, action in (("GET", ""), ("POST", "/accept"), ("POST", "/reject")):
                answer = await shop.call(method, f"/orders/{wanted}{action}")
                assert answer.status == 404
                assert answer.json == {"errors": [{"code": "order_error", "messages": ["Order not found"]}]}
        assert (await other.show(code))["state"] == "open"


@pytest.mark.parametrize("body", [b"{", b'{"pickup_window": }', b"\xff", b"[" * 200_000, b'{"a": 1}{'])
async def test_broken_json_is_400(tmp_path: Path, body: bytes) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        await _refused(shop, await shop.cart(A=1), "accept", body, 400, "unreadable_body")


@pytest.mark.parametrize("told", [True, False])
async def test_a_body_over_a_megabyte_is_413_with_or_without_its_length(tmp_path: Path, told: bool) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        body = b'{"rejection_reason_other": "' + b"x" * 1_000_001 + b'"}'
        headers = {"Content-Length": str(len(body))} if told else {}
        answer = await shop.call("POST", f"/orders/{code}/reject", body, **headers)
        assert (answer.status, answer.json["errors"][0]["code"]) == (413, "body_too_large")
        assert (await shop.show(code))["state"] == "open"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("accepted", "Order already accepted."),
        ("rejected", "Order already rejected."),
        ("cancelled", "Order already cancelled."),
    ],
)
async def test_answering_an_order_that_is_not_open_names_its_state(tmp_path: Path, state: str, message: str) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        if state == "accepted":
            await shop.accept(code)
        elif state == "rejected":
            await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "closed"})
        else:
            await market.operate("POST", f"/marketplace/orders/{code}/cancel")
        for action in ("accept", "reject"):
            assert await _refused(shop, code, action, {}, 422, "order_status") == message


@pytest.mark.parametrize(
    "different",
    [
        {"pickup_location": "YlpD0KROym"},
        {"pickup_location": None},
        {"pickup_location": 12},
        {"pickup_window": 1},
        {"pickup_window": "abc"},
        {"pickup_window": "²"},
        {"pickup_window": 2**70},
        {"pickup_window": None},
        {"number_of_parcels": 0},
        {"number_of_parcels": 4},
        {"number_of_parcels": "-1"},
        {"number_of_parcels": "99999999999999999999"},
    ],
)
async def test_an_invalid_choice_in_accept_is_422_with_the_valid_values(
    tmp_path: Path, different: dict[str, Any]
) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        options = (await shop.show(code))["accept_options"]
        body = {
            "pickup_location": shop.location_id,
            "pickup_window": options["pickup_window"][0]["id"],
            "number_of_parcels": 1,
            **different,
        }
        sentence = await _refused(shop, code, "accept", body, 422, "invalid_parameter")
        [parameter] = different
        valid = options[parameter]
        assert sentence.startswith(f"{parameter}:")
        assert all(str(entry["id"] if isinstance(entry, dict) else entry) in sentence for entry in valid)


@pytest.mark.parametrize("value", [True, 1.5, [], {}])
async def test_a_value_of_the_wrong_type_is_422_and_names_its_field(tmp_path: Path, value: object) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        body = {"pickup_window": value}
        sentence = await _refused(shop, await shop.cart(A=1), "accept", body, 422, "invalid_parameter")
        assert "$.pickup_window" in sentence


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([{"id": "LINE", "reason_id": 4}], id="no available quantity"),
        pytest.param([{"id": "LINE", "reason_id": 4, "available_quantity": 2}], id="as many as ordered"),
        pytest.param([{"id": "LINE", "reason_id": 4, "available_quantity": -1}], id="negative"),
        pytest.param([{"id": "LINE", "reason_id": 4, "available_quantity": "one"}], id="no number"),
        pytest.param([{"id": "LINE", "reason_id": 3}], id="unknown reason"),
        pytest.param([{"id": "LINE"}], id="no reason"),
        pytest.param([{"id": "other", "reason_id": 1}], id="unknown line"),
        pytest.param([{"id": "LINE", "reason_id": 1}] * 3, id="more lines than the order has"),
    ],
)
async def test_an_invalid_rejection_is_422_and_changes_nothing(tmp_path: Path, lines: list[Any]) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=2)
        line = (await shop.show(code))["line_items"][0]["id"]
        named = [{**entry, "id": line if entry["id"] == "LINE" else entry["id"]} for entry in lines]
        sentence = await _refused(shop, code, "reject", {"line_items": named}, 422, "invalid_parameter")
        assert sentence.startswith("line_items")


async def test_a_rejection_of_thousands_of_lines_gets_a_short_answer(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=2, B=1)
        named = [{"id": number} for number in range(20_000)]
        sentence = await _refused(shop, code, "reject", {"line_items": named}, 422, "invalid_parameter")
        assert sentence == "line_items: 20000 lines are named, the order has 2."


async def test_a_line_that_is_named_twice_is_422(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=2, B=1)
        line = (await shop.show(code))["line_items"][0]["id"]
        named = [{"id": line, "reason_id": 1}, {"id": line, "reason_id": 2}]
        sentence = await _refused(shop, code, "reject", {"line_items": named}, 422, "invalid_parameter")
        assert "named twice" in sentence


async def test_both_forms_of_a_rejection_and_neither_are_422(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=2)
        line = (await shop.show(code))["line_items"][0]["id"]
        both = {"line_items": [{"id": line, "reason_id": 1}], "rejection_reason_other": "closed"}
        assert "not both" in await _refused(shop, code, "reject", both, 422, "invalid_parameter")
        forms: tuple[dict[str, Any], ...] = ({}, {"line_items": []}, {"rejection_reason_other": "  "})
        for neither in forms:
            assert "1, 2, 4, 5, 6" in await _refused(shop, code, "reject", neither, 422, "invalid_parameter")


async def _cart_refused(market: Market, shop: Shop, change: dict[str, Any]) -> str:
    stock = await shop.stock()
    item = {"shop_id": shop.id, "shop_uid": "A", "quantity": 1}
    cart = {"customer": CUSTOMER, "payment_method": "card", "items": [{**item, **change.pop("item", {})}], **change}
    answer = await market.operate("POST", "/marketplace/carts", cart, status=422)
    assert answer["errors"][0]["code"] == "invalid_parameter"
    assert await shop.stock() == stock
    assert (await market.operate("GET", "/marketplace/orders"))["orders"] == []
    return " ".join(answer["errors"][0]["messages"])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"item": {"shop_id": "unknown"}}, id="unknown shop"),
        pytest.param({"item": {"shop_uid": "Z"}}, id="unknown listing"),
        pytest.param({"item": {"quantity": 0}}, id="no pieces"),
        pytest.param({"item": {"quantity": 6}}, id="more than in stock"),
        pytest.param({"item": {"quantity": 10**30}}, id="a huge quantity"),
        pytest.param({"item": {"unit_price": -1}}, id="negative money"),
        pytest.param({"item": {"unit_price": 1.001}}, id="parts of a cent"),
        pytest.param({"item": {"unit_price": "NaN"}}, id="not a number"),
        pytest.param({"item": {"unit_price": "Infinity"}}, id="infinity"),
        pytest.param({"payment_method": "shells"}, id="unknown payment"),
        pytest.param({"items": []}, id="empty cart"),
        pytest.param({"customer": {"address": {}}}, id="empty customer"),
        pytest.param({"customer": {"first_name": "Ε" * 501}}, id="overlong name"),
        pytest.param({"customer": {"first_name": "Ε", "address": {"city": "Α" * 501}}}, id="overlong address"),
    ],
)
async def test_an_invalid_cart_is_422_and_takes_no_stock(tmp_path: Path, change: dict[str, Any]) -> None:
    async with open_market(tmp_path, worker=False) as market:
        await _cart_refused(market, await market.shop(quantity=5), change)


@pytest.mark.parametrize("amount", ["NaN", "-Infinity"])
@pytest.mark.parametrize("place", ["unit_price", "vat_ratio", "shipping_cost", *Fees.__struct_fields__])
async def test_no_amount_of_a_cart_may_be_infinite(tmp_path: Path, place: str, amount: str) -> None:
    change: dict[str, Any] = {place: amount}
    if place in Fees.__struct_fields__:
        change = {"fees": {place: amount}}
    elif place != "shipping_cost":
        change = {"item": {place: amount}}
    async with open_market(tmp_path, worker=False) as market:
        await _cart_refused(market, await market.shop(quantity=5), change)


async def test_a_cart_with_one_bad_item_places_no_order_at_all(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop(quantity=5)
        good = {"shop_id": shop.id, "shop_uid": "A", "quantity": 3}
        for bad in ({"shop_uid": "A", "quantity": 3}, {"shop_uid": "Z", "quantity": 1}):
            await _cart_refused(market, shop, {"items": [good, {"shop_id": shop.id, **bad}]})


@pytest.mark.parametrize(
    "listing",
    [
        *({"unit_price": price} for price in (-0.01, 1.005, 1e12)),
        *({name: "NaN"} for name in ("unit_price", "commission_rate", "vat_rate")),
        *({name: "Infinity"} for name in ("unit_price", "commission_rate", "vat_rate")),
        {"quantity": -1},
        {"commission_rate": 101},
    ],
)
async def test_an_invalid_listing_is_422(tmp_path: Path, listing: dict[str, Any]) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        body = [{"shop_uid": "C", "product_name": "C", "unit_price": 1, "quantity": 1, **listing}]
        await market.operate("PUT", f"/marketplace/shops/{shop.id}/listings", body, status=422)
        assert set(await shop.stock()) == {"A", "B"}


@pytest.mark.parametrize(
    "change",
    [{"locations": []}, {"name": ""}, {"webhook_url": "ftp://x"}, {"webhook_url": "http://"}, {"courier": "Pigeon"}]
    + [{"webhook_url": f"http://shop.example/{letter}x"} for letter in ("\0", "κ", "\\", "\n", " ", "\x7f")],
)
async def test_an_invalid_shop_is_422(tmp_path: Path, change: dict[str, Any]) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = {"name": "Shop", "domain": "shop.example", "locations": [LOCATION], **change}
        await market.operate("POST", "/marketplace/shops", shop, status=422)
        assert (await market.operate("GET", "/marketplace/shops"))["shops"] == []


async def test_the_operators_api_requires_the_operators_token(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        for headers in ({}, {"Authorization": f"Bearer {shop.token}"}, {"Authorization": OPERATOR_TOKEN}):
            answer = await market.call("GET", "/marketplace/shops", headers=headers)
            assert (answer.status, answer.json["errors"][0]["code"]) == (401, "unauthorized")
        assert (await market.call("GET", "/no/such/path")).json["errors"][0]["code"] == "not_found"
        answer = await market.call("GET", f"/vouchers/{shop.id}/guess.pdf")
        assert (answer.status, answer.json["errors"][0]["code"]) == (404, "not_found")


async def test_a_wrong_path_or_method_of_the_operators_api_has_the_envelope_too(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        for method, path, status in (
            ("GET", "/marketplace/shops/", 404),
            ("GET", "/marketplace/shops/x/y", 404),
            ("GET", "/marketplace/carts", 405),
            ("DELETE", "/marketplace/shops", 405),
            ("POST", "/vouchers/a/b.pdf", 405),
        ):
            answer = await market.call(method, path, None, headers)
            assert (answer.status, len(answer.json["errors"])) == (status, 1), path


async def test_an_overlong_authorization_header_is_401(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await shop.call("GET", f"/orders/{code}", Authorization="Bearer " + "x" * 100_000)
        assert answer.status == 401


async def test_an_empty_operators_token_is_never_valid(tmp_path: Path) -> None:
    (tmp_path / "operator-token").write_text("", "utf-8")
    with pytest.raises(ValueError, match="operator-token is empty"):
        operator_token(Settings(data=tmp_path))
    async with open_market(tmp_path, worker=False) as market:
        for header in ("Bearer", "Bearer ", "Bearer   "):
            assert (await market.call("GET", "/marketplace/shops", headers={"Authorization": header})).status == 401


async def test_an_unknown_floor_is_an_empty_text_and_amounts_have_two_decimals(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        customer = CUSTOMER | {"address": {"city": "Αθήνα", "floor": None}}
        items = [{"shop_id": shop.id, "shop_uid": "A", "quantity": 3, "unit_price": 10.4}]
        cart = {"customer": customer, "items": items, "payment_method": "card"}
        body = msgspec.json.encode(cart).replace(b"10.4", b"1E+1")
        code = (await market.operate("POST", "/marketplace/carts", body, status=201))["orders"][0]["code"]
        answer = await shop.call("GET", f"/orders/{code}")
        assert answer.json["order"]["customer"]["address"]["floor"] == ""
        assert b'"unit_price":10.00,"total_price":30.00,' in answer.body


async def test_many_rejections_at_once_never_run_out_of_codes(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop(quantity=1000)
        codes = [await shop.cart(A=1) for _ in range(3)]
        body = {"rejection_reason_other": "closed"}
        for code in codes:
            answers = await asyncio.gather(*(shop.call("POST", f"/orders/{code}/reject", body) for _ in range(150)))
            assert sorted({answer.status for answer in answers}) == [200, 422]
            assert sum(answer.status == 200 for answer in answers) == 1


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://shop.example/hook", True),
        ("https://api.Shop.Example:8443/hook?secret=1", True),
        ("http://shop.example/hook", False),
        ("https://evilshop.example/", False),
        ("https://shop.example.evil.org/", False),
        ("https://shop.example@evil.org/", False),
        ("https://127.0.0.1/", False),
    ],
)
async def test_in_production_a_webhook_url_is_https_on_the_shops_own_domain(
    tmp_path: Path, url: str, taken: bool
) -> None:
    new = {"name": "Shop", "domain": "shop.example", "locations": [LOCATION]}
    async with open_market(tmp_path, settings=Settings(mode="production"), worker=False) as market:
        await market.operate("POST", "/marketplace/shops", new | {"webhook_url": url}, status=201 if taken else 422)
        shop = (await market.operate("POST", "/marketplace/shops", new, status=201))["shop"]
        path = f"/marketplace/shops/{shop['id']}"
        await market.operate("PATCH", path, {"webhook_url": url}, status=200 if taken else 422)
        if taken:
            await market.operate("PATCH", path, {"domain": "other.example"}, status=422)
    async with open_market(tmp_path / "sandbox", worker=False) as market:
        await market.operate("POST", "/marketplace/shops", new | {"webhook_url": url}, status=201)


@pytest.mark.parametrize("name", ["webhook_url", "returns_webhook_url"])
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://a..b/", "must name a host"),
        ("http://me:κωδικός@shop.example/", "must be in ASCII"),
        ("http://a%3Ab:c@shop.example/", "has a user name with a colon"),
        ("http://127.1/", "has a host that is not an IPv4 address"),
        ("http://shop.example:99999/", "must have a port"),
        ("http://***@shop.example/", "has *** in place of the user name"),
        ("", "must begin with http:// or https://"),
    ],
)
async def test_an_unusable_webhook_url_is_refused_with_the_reason(
    tmp_path: Path, name: str, url: str, sentence: str
) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        refused = await market.operate("PATCH", f"/marketplace/shops/{shop.id}", {name: url}, status=422)
        assert refused["errors"][0]["messages"][0].startswith(f"{name} {sentence}")


async def test_user_name_and_password_of_a_webhook_url_are_sent_and_never_shown(tmp_path: Path) -> None:
    secret, shown = "https://me:secret@shop.example/hook", "https://***@shop.example/hook"
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        path = f"/marketplace/shops/{shop.id}"
        for url in (secret, shown):
            changed = await market.operate("PATCH", path, {"webhook_url": url, "returns_webhook_url": url})
            assert (changed["shop"]["webhook_url"], changed["shop"]["returns_webhook_url"]) == (shown, shown)
        assert [entry["webhook_url"] for entry in (await market.operate("GET", "/marketplace/shops"))["shops"]] == [
            shown
        ]
        code = await shop.cart(A=1)
        await market.settle()
        assert [url for url, body in market.network.posts if body["order"]["code"] == code] == [secret]
        logged = (await market.operate("GET", f"/marketplace/deliveries?subject={code}"))["deliveries"][0]["id"]
        detail = await market.operate("GET", f"/marketplace/deliveries/{logged}")
        assert [attempt["url"] for attempt in detail["attempts"]] == [shown]
