"""Requests of real clients are accepted (clients.md, "what a compatible marketplace must therefore tolerate")."""

from pathlib import Path

import pytest

from kalathi.marketplace.kernel.settings import Settings
from tests.market import ACCEPT, OPERATOR_TOKEN, open_market

pytestmark = pytest.mark.anyio


async def test_whole_numbers_may_be_digit_strings_and_unknown_members_are_ignored(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        window = (await shop.show(code))["accept_options"]["pickup_window"][0]["id"]
        answer = await shop.accept(code, pickup_window=str(window), number_of_parcels="2", colour="blue")
        assert answer.json == {"success": True}
        assert (await shop.show(code))["number_of_parcels"] == 2


async def test_the_number_of_parcels_defaults_to_one(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        options = (await shop.show(code))["accept_options"]
        body = {"pickup_location": shop.location_id, "pickup_window": options["pickup_window"][0]["id"]}
        assert (await shop.call("POST", f"/orders/{code}/accept", body)).status == 200
        assert (await shop.show(code))["number_of_parcels"] == 1


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize("body", [b"", b"  \n", b"{}"])
async def test_an_empty_body_is_an_empty_object(tmp_path: Path, body: bytes, content_type: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        headers = {"Content-Type": content_type}
        assert (await shop.call("GET", f"/orders/{code}", body, **headers)).status == 200
        answer = await shop.call("POST", f"/orders/{code}/accept", body, **headers)
        assert answer.status == 422
        assert answer.json["errors"][0]["code"] == "invalid_parameter"
        window = (await shop.show(code))["accept_options"]["pickup_window"][0]["id"]
        sentences = " ".join(answer.json["errors"][0]["messages"])
        assert shop.location_id in sentences
        assert str(window) in sentences


FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


async def test_a_form_with_the_same_names_accepts_an_order(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        window = (await shop.show(code))["accept_options"]["pickup_window"][0]["id"]
        form = f"pickup_location={shop.location_id}&pickup_window={window}&number_of_parcels=2&colour=%CE%A9"
        assert (await shop.call("POST", f"/orders/{code}/accept", form.encode(), **FORM)).json == {"success": True}
        assert (await shop.show(code))["number_of_parcels"] == 2


@pytest.mark.parametrize(
    "form",
    [
        "line_items[][id]={0}&line_items[][reason_id]=4&line_items[][available_quantity]=1"
        "&line_items[][id]={1}&line_items[][reason_id]=1",
        "line_items[0][id]={0}&line_items[1][id]={1}&line_items[0][reason_id]=4&line_items[1][reason_id]=1"
        "&line_items[0][available_quantity]=1",
        "line_items%5B%5D%5Bid%5D={0}&line_items%5B%5D%5Breason_id%5D=4&line_items%5B%5D%5Bavailable_quantity%5D=1"
        "&line_items%5B%5D%5Bid%5D={1}&line_items%5B%5D%5Breason_id%5D=1",
    ],
)
async def test_a_form_rejects_lines_in_either_notation(tmp_path: Path, form: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=2, B=1)
        ids = [line["id"] for line in (await shop.show(code))["line_items"]]
        answer = await shop.call("POST", f"/orders/{code}/reject", form.format(*ids).encode(), **FORM)
        assert answer.json == {"success": True}, answer
        reasons = [line["rejection_reason"] for line in (await shop.show(code))["line_items"]]
        assert reasons == ["limited_stock", "no_stock"]


async def test_a_form_rejects_with_a_greek_text(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        form = "rejection_reason_other=%CE%9A%CE%BB%CE%B5%CE%B9%CF%83%CF%84%CE%AC+%CF%83%CE%AE%CE%BC%CE%B5%CF%81%CE%B1"
        assert (await shop.call("POST", f"/orders/{code}/reject", form.encode(), **FORM)).status == 200
        assert (await shop.show(code))["rejection_info"]["reason"] == "Κλειστά σήμερα"


@pytest.mark.parametrize("form", [b"\xff=1", b"line_items=1&line_items[][id]=2", b"x=1&" * 6000])
async def test_a_form_that_cannot_be_read_is_400(tmp_path: Path, form: bytes) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await shop.call("POST", f"/orders/{code}/reject", form, **FORM)
        assert (answer.status, answer.json["errors"][0]["code"]) == (400, "unreadable_body")


@pytest.mark.parametrize("more", ["csrf-token=1", "extra[key]=1", "a[b=1", "rejection_reason_other=", "line_items="])
async def test_fields_of_a_form_that_are_unknown_or_blank_are_ignored(tmp_path: Path, more: str) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        line = (await shop.show(code))["line_items"][0]["id"]
        form = f"line_items[0][id]={line}&line_items[0][reason_id]=1"
        forms = {"line_items=": "rejection_reason_other=closed"}
        sent = f"{forms.get(more, form)}&{more}".encode()
        assert (await shop.call("POST", f"/orders/{code}/reject", sent, **FORM)).json == {"success": True}


async def test_json_labelled_as_a_form_is_read_as_json(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        body = b' {"rejection_reason_other": "closed", "line_items": null}'
        assert (await shop.call("POST", f"/orders/{code}/reject", body, **FORM)).json == {"success": True}


async def test_blank_values_count_as_missing(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.place({"A": 1}, store_pickup=True)
        blank = {"pickup_location": "", "pickup_window": "", "number_of_parcels": " "}
        assert (await shop.call("POST", f"/orders/{code}/accept", blank)).json == {"success": True}
        answer = await shop.call("POST", f"/orders/{await shop.cart(A=1)}/accept", blank)
        assert answer.json["errors"][0]["messages"][0].startswith("pickup_location: it is missing;")
        merchant = await market.shop("FBM", fulfillment_mode="fbm")
        code = await merchant.accepted()
        answer = await merchant.call("POST", f"/orders/{code}/tracking_details", {"tracking_details": None})
        assert answer.json["errors"][0]["messages"][0].startswith("tracking_details: give 1 to 99 entries")


async def test_an_extra_slash_at_either_end_is_ignored(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        headers = {"Authorization": f"Bearer {shop.token}", "Accept": ACCEPT}
        for path in (f"//merchants/ecommerce/orders/{code}", f"/merchants/ecommerce/orders/{code}/"):
            assert (await market.call("GET", path, None, headers)).json["order"]["code"] == code
        assert (await shop.call("GET", "/orders/")).json["orders"]
        answer = await shop.call("POST", f"/orders/{code}/reject/", {"rejection_reason_other": "closed"})
        assert answer.json == {"success": True}


@pytest.mark.parametrize(
    "accept",
    [
        ACCEPT,
        ACCEPT.upper(),
        "application/vnd.skroutz+json;version=3.0",
        f"text/html, {ACCEPT}",
        'application/vnd.skroutz+json; version="3.0"',
        "application/vnd.skroutz+json; version=3",
        "application/vnd.skroutz+json; version=3.1",
        "application/vnd.skroutz+json; charset=utf-8; version=3.12; q=0.9, */*",
    ],
)
async def test_the_accept_header_may_be_spaced_cased_and_listed_in_any_way(tmp_path: Path, accept: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        assert (await shop.call("GET", f"/orders/{code}", Accept=accept)).status == 200


async def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        body = b'\xef\xbb\xbf{"rejection_reason_other": "closed"}'
        assert (await shop.call("POST", f"/orders/{code}/reject", body)).json == {"success": True}


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
async def test_a_compressed_body_is_415_and_nothing_is_changed(tmp_path: Path, encoding: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        headers = {"Content-Encoding": encoding}
        for path, body in ((f"/orders/{code}/reject", b"\x1f\x8b\x08"), (f"/orders/{code}/invoices", b"")):
            answer = await shop.call("POST", path, body, **headers)
            assert (answer.status, answer.json["errors"][0]["code"]) == (415, "unsupported_media_type")
        operator = {"Authorization": f"Bearer {OPERATOR_TOKEN}", **headers}
        assert (await market.call("POST", "/marketplace/carts", b"x", operator)).status == 415
        identity = {"Content-Encoding": "identity"}
        answer = await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "closed"}, **identity)
        assert answer.json == {"success": True}


async def test_a_blank_query_parameter_is_ignored(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await shop.call("GET", "/orders?state=&updated_since=&page=&per=")
        assert [order["code"] for order in answer.json["orders"]] == [code]
        assert (await market.operate("GET", "/marketplace/orders?state="))["orders"]
        assert (await shop.call("GET", "/returns?state=&order_code=")).json["returns"] == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/merchants/ecommerce/orders/{code}", "GET"),
        ("/merchants/ecommerce/orders/{code}/accept", "POST"),
        ("/merchants/ecommerce/fbs/suppliers", "GET, POST"),
        ("/marketplace/shops", "GET, POST"),
    ],
)
async def test_an_unsupported_method_is_405_with_the_allowed_methods(tmp_path: Path, path: str, allowed: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        headers = {"Authorization": f"Bearer {shop.token}", "Accept": ACCEPT}
        answer = await market.call("DELETE", path.format(code=code), None, headers)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)


async def test_a_patch_of_a_shop_refuses_unknown_fields(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        path = f"/marketplace/shops/{shop.id}"
        refused = await market.operate("PATCH", path, {"name": "New", "webhok_url": "http://shop/"}, status=422)
        assert "webhok_url" in refused["errors"][0]["messages"][0]
        assert (await market.operate("GET", path))["shop"]["name"] != "New"


async def test_a_nul_character_is_refused_and_an_escaped_one_is_text(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        for body in (b'{"rejection_reason_other": "a\\u0000b"}', b"rejection_reason_other=a%00b"):
            kind = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"
            answer = await shop.call("POST", f"/orders/{code}/reject", body, **{"Content-Type": kind})
            assert (answer.status, answer.json["errors"][0]["code"]) == (422, "invalid_parameter")
            assert "U+0000" in answer.json["errors"][0]["messages"][0]
        surrogate = await shop.call("POST", f"/orders/{code}/reject", b'{"rejection_reason_other": "\\ud800"}')
        assert (surrogate.status, surrogate.json["errors"][0]["code"]) == (400, "unreadable_body")
        assert (await shop.call("GET", "/orders?state=open%00")).status == 422
        assert (await shop.call("GET", "/returns?order_code=%00")).status == 422
        headers = {"Authorization": f"Bearer {shop.token}", "Accept": ACCEPT}
        assert (await market.call("GET", "/merchants/ecommerce/orders/a\0b", None, headers)).status == 404
        answer = await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "a\\u0000b"})
        assert answer.json == {"success": True}
        assert (await shop.show(code))["rejection_info"]["reason"] == "a\\u0000b"


async def test_only_browsers_of_named_origins_may_call_a_sandbox(tmp_path: Path) -> None:
    origin = {"Origin": "https://dev.example"}
    ask = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for number, (settings, is_allowed) in enumerate(
        (
            (Settings(cors_origins="https://dev.example, https://b.example"), True),
            (Settings(cors_origins="*"), True),
            (Settings(cors_origins="https://other.example"), False),
            (Settings(), False),
            (Settings(cors_origins="*", mode="production"), False),
        )
    ):
        async with open_market(tmp_path / str(number), settings=settings) as market:
            asked = await market.call("OPTIONS", "/merchants/ecommerce/orders", None, ask)
            told = await market.call("GET", "/merchants/ecommerce/orders", None, origin)
            assert told.status == 401
            assert asked.headers["request-id"] != told.headers["request-id"]
            for answer in (asked, told):
                assert ("access-control-allow-origin" in answer.headers) is is_allowed


async def test_every_success_is_true_and_every_failure_has_the_envelope(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        success = await shop.accept(code)
        assert (success.status, success.body) == (200, b'{"success":true}')
        assert success.headers["content-type"] == "application/json; charset=utf-8"
        for method, path, status in (
            ("POST", f"/orders/{code}/dispatched", 404),
            ("GET", "/nowhere", 404),
            ("DELETE", f"/orders/{code}", 405),
            ("GET", f"/orders/{code}/accept", 405),
        ):
            answer = await shop.call(method, path)
            assert answer.status == status, path
            assert answer.json["errors"][0]["messages"], path
