"""Signing in and out with tokens, and cookies."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from tests.market import OPERATOR_TOKEN, Market, open_market
from tests.panel.visitor import Visitor, open_place

pytestmark = pytest.mark.anyio


def _at(market: Market, host: str = "127.0.0.1:8090", client: str = "127.0.0.1", **headers: str) -> Visitor:
    visitor = Visitor(market, host=host, client=client)
    visitor.headers |= headers
    return visitor


async def test_sign_in_with_a_token_leads_to_the_requested_page(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        assert (await Visitor(market).sign_in(shop.token)).path == "/shop/orders"
        assert (await Visitor(market).sign_in(OPERATOR_TOKEN)).path == "/"
        asked = await Visitor(market).get("/shop/returns?state=returned")
        assert asked.path == "/sign-in?then=%2Fshop%2Freturns%3Fstate%3Dreturned"
        visitor = Visitor(market)
        assert (await visitor.sign_in(shop.token, "%2Fshop%2Freturns%3Fstate%3Dreturned")).path.endswith(
            "?state=returned"
        )
        # A shop is not sent to the operator's page, and no visitor to another host.
        for then in (
            "%2Foperator%2Fshops",
            "https://evil.example/",
            "%2F%2Fevil.example",
            "%2F%2F%2Fevil.example",
            "%2F%5Cevil.example",
            "%2F%2F%5B",
            "%2F%2F%5B%2F",
            "x",
        ):
            assert (await Visitor(market).sign_in(shop.token, then)).path == "/shop/orders"


@pytest.mark.parametrize("path", ["/nonsense", "/operator/nonsense", "/vouchers/x/y.pdf", "/a/b/c?d=e"])
async def test_an_unknown_path_is_a_page_in_a_browser_and_the_envelope_elsewhere(tmp_path: Path, path: str) -> None:
    async with open_market(tmp_path) as market:
        browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        page = await market.call("GET", path, headers=browser)
        assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert b"There is no such page." in page.body
        assert page.headers["content-security-policy"]
        if not path.startswith("/operator"):
            program = await market.call("GET", path, headers={"Accept": "application/json"})
            assert (program.status, program.json["errors"][0]["code"]) == (404, "not_found")
        found = await market.call("GET", "/healthz", headers=browser)
        assert (found.status, found.headers["content-type"]) == (200, "application/json; charset=utf-8")


async def test_a_wrong_token_is_reported_and_guessing_is_throttled(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        visitor = Visitor(market)
        for _ in range(10):
            page = await visitor.sign_in("wrong")
            assert (page.status, page.refusals) == (401, ["WrongToken"])
        page = await visitor.sign_in(shop.token)
        assert page.status == 429
        assert not [name for name in visitor.cookies if name != "kalathi"]
        assert (await visitor.get("/shop/orders")).path.startswith("/sign-in")
        # Another address is not throttled, and successful sign-ins do not count.
        other = Visitor(market, client="203.0.113.10")
        for _ in range(30):
            assert (await other.sign_in(shop.token)).status == 200


async def test_behind_a_trusted_proxy_only_the_guessing_caller_is_throttled(tmp_path: Path) -> None:
    settings = msgspec.convert({"trusted_proxies": "10.0.0.0/24"}, Settings)
    async with open_market(tmp_path, settings=settings) as market:
        shop = await market.shop()
        guesser = _at(market, "market.example", "10.0.0.2", **{"X-Forwarded-For": "1.1.1.1, 203.0.113.9"})
        other = _at(market, "market.example", "10.0.0.2", **{"X-Forwarded-For": "203.0.113.10"})
        for _ in range(10):
            assert (await guesser.sign_in("wrong")).status == 401
        # The entry of the guesser stands before the entry of the proxy.
        guesser.headers["X-Forwarded-For"] = "9.9.9.9, 203.0.113.9"
        assert (await guesser.sign_in(shop.token)).status == 429
        assert (await other.sign_in(shop.token)).status == 200
        # A second line of the header is the end of the list, and the proxy's own.
        guesser.headers = {"Host": "market.example", "X-Forwarded-For": "9.9.9.8", "x-forwarded-for": "203.0.113.9"}
        assert (await guesser.sign_in(shop.token)).status == 429


@pytest.mark.parametrize("peer", ["8.8.4.4", "10.0.0.2", "127.0.0.1", "192.168.1.9", "fd00::5"])
async def test_an_untrusted_caller_cannot_choose_its_address(tmp_path: Path, peer: str) -> None:
    settings = msgspec.convert({"trusted_proxies": "10.9.9.9"}, Settings)
    for chosen in (Settings(), settings):
        async with open_market(tmp_path / chosen.trusted_proxies, settings=chosen) as market:
            guesser = Visitor(market, client=peer)
            for number in range(10):
                guesser.headers["X-Forwarded-For"] = f"203.0.113.{number}"
                assert (await guesser.sign_in("wrong")).status == 401
            guesser.headers["X-Forwarded-For"] = "203.0.113.77"
            assert (await guesser.sign_in("wrong")).status == 429


async def test_the_cookie_is_http_only_and_in_production_secure(tmp_path: Path) -> None:
    for mode, name, flags in (
        ("sandbox", "kalathi", {"httponly", "samesite=lax", "path=/"}),
        ("production", "__Host-kalathi", {"httponly", "samesite=lax", "path=/", "secure"}),
    ):
        async with open_market(tmp_path / mode, settings=msgspec.convert({"mode": mode}, Settings)) as market:
            visitor = Visitor(market)
            first = await visitor.request("GET", "/sign-in")
            page = await visitor.get("/sign-in")
            answer = await visitor.request(
                "POST",
                "/sign-in",
                f"form_token={page.forms[0].values['form_token']}&token={OPERATOR_TOKEN}".encode(),
                {"Content-Type": "application/x-www-form-urlencoded"},
            )
            for line in (first.headers["set-cookie"], answer.headers["set-cookie"]):
                cookie, *parts = [part.strip() for part in line.split(";")]
                assert cookie.startswith(f"{name}=")
                assert {part.lower() for part in parts} == flags
            # A cookie that was there before signing in is never a session's.
            assert first.headers["set-cookie"].split(";")[0] != answer.headers["set-cookie"].split(";")[0]
            assert (await visitor.get("/")).status == 200


async def test_sign_out_invalidates_every_copy_of_the_cookie(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        copy = dict(place.merchant.cookies)
        page = await place.merchant.get("/shop/orders")
        out = await place.merchant.submit(page, "/sign-out")
        assert out.done == "signed_out"
        place.merchant.cookies = copy
        assert (await place.merchant.get("/shop/orders")).path.startswith("/sign-in")


async def test_a_new_token_ends_every_other_session_of_the_shop_and_is_shown_once(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = Visitor(place.market)
        await other.sign_in(place.shop.token)
        settings = await place.merchant.get("/shop/settings")
        shown = await place.merchant.submit(settings, "/shop/settings/api_token")
        [token] = [word for word in shown.text.split() if len(word) == 86]
        assert (await place.shop.call("GET", "/orders")).status == 401
        place.shop.token = token
        assert (await place.shop.call("GET", "/orders")).status == 200
        assert (await other.get("/shop/orders")).path.startswith("/sign-in")
        assert (await place.merchant.get("/shop/orders")).path == "/shop/orders"
        assert token not in (await place.merchant.get("/shop/settings")).html


async def test_a_session_expires_and_its_row_is_deleted(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        visitor = Visitor(market)
        await visitor.sign_in(shop.token)
        market.time.millis += 12 * 3_600_000 - 1000
        assert (await visitor.get("/shop/orders")).path == "/shop/orders"
        market.time.millis += 1000
        assert (await visitor.get("/shop/orders")).path.startswith("/sign-in")
        await visitor.sign_in(shop.token)
        with sqlite3.connect(tmp_path / "kalathi.db") as database:
            assert database.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


async def test_a_token_has_a_bounded_number_of_sessions_and_the_newest_stay(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        first, last = Visitor(market), Visitor(market)
        await first.sign_in(shop.token)
        for _ in range(100):
            market.time.millis += 1
            last = Visitor(market)
            await last.sign_in(shop.token)
        assert (await first.get("/shop/orders")).path.startswith("/sign-in")
        assert (await last.get("/shop/orders")).path == "/shop/orders"
        with sqlite3.connect(tmp_path / "kalathi.db") as database:
            assert database.execute("SELECT count(*) FROM sessions").fetchone() == (100,)


async def test_the_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    await SqliteDatabase(tmp_path / "kalathi.db").close()  # A first start makes the file.
    async with open_market(tmp_path) as market:
        await market.shop()
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("kalathi.db*")}
        assert modes.pop("kalathi.db") == 0o600
        assert {modes[name] for name in ("kalathi.db-wal", "kalathi.db-shm")} == {0o600}


async def test_signing_in_again_ends_the_old_session(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        before = dict(place.merchant.cookies)
        await place.merchant.sign_in(place.shop.token)
        assert place.merchant.cookies != before
        old = Visitor(place.market)
        old.cookies = before
        assert (await old.get("/shop/orders")).path.startswith("/sign-in")
        assert (await place.merchant.get("/shop/orders")).status == 200


async def test_a_form_of_another_site_sets_no_cookie(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"}
        for path in ("/sign-in", "/sign-out"):
            answer = await Visitor(market).request("POST", path, b"token=x", kind)
            assert (answer.status, "set-cookie" in answer.headers) == (403, False)


async def test_the_language_is_the_readers_and_can_be_chosen(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for accepted, language in (("el-GR,el;q=0.9,en;q=0.8", "el"), ("de,en;q=0.5,el;q=0.4", "en"), ("fr", "en")):
            visitor = Visitor(place.market, language=accepted)
            assert f'<html lang="{language}">' in (await visitor.get("/sign-in")).html
        greek = await place.merchant.get("/shop/orders?state=open&language=el")
        assert "Παραγγελίες" in greek.text
        assert "Παραγγελίες" in (await place.merchant.get("/shop/orders")).text
        [english] = [link for link in greek.links if "language=en" in link]
        assert english == "/shop/orders?state=open&language=en"
