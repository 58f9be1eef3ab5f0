"""Redirects: followed, refused with a message, and handled by the connector."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.merchant import AsyncClient, RedirectedError
from kalathi.merchant.client.redirects import MOST_STEPS, Reason, Refused, Request, decide, origin_of, show_address
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.reconciling import reconcile
from tests.unit.test_connector import Shop

TOKEN = {"Authorization": "Bearer secret"}
PLAIN = {"Accept": "application/json", "Content-Type": "text/plain", "User-Agent": "x", "Idempotency-Key": "k"}
STATUSES = (301, 302, 303, 307, 308)


def _decided(
    method: str, url: str, status: int, location: str, headers: Mapping[str, str], body: bytes | None = None
) -> str | Reason:
    """The address that follows, the reason why none does, or nothing at all for an answer that stands."""
    decision = decide(Request(method, url, headers, body), status, location)
    if isinstance(decision, Request):
        assert (decision.method, decision.headers, decision.body) == (method, headers, body)
        return decision.url
    return decision.reason if decision else ""


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"])
def test_only_reads_follow_redirects_that_change_the_method(status: int, method: str) -> None:
    follows = method in {"GET", "HEAD"} or status in {307, 308}
    expected = "http://a/new" if follows else Reason.METHOD
    assert _decided(method, "http://a/old", status, "/new", TOKEN, b"") == expected


@pytest.mark.parametrize("status", [200, 204, 300, 304, 305, 306, 400, 404, 500])
def test_an_answer_that_is_no_redirect_is_final(status: int) -> None:
    assert _decided("POST", "http://a/old", status, "http://b/", TOKEN) == ""


@pytest.mark.parametrize(
    ("url", "location", "secret", "plain"),
    [
        ("http://a/x", "https://a/x", Reason.HTTPS, "https://a/x"),
        ("http://a/x", "https://b/x", Reason.ORIGIN, "https://b/x"),
        ("http://a/x", "http://a:81/x", Reason.ORIGIN, "http://a:81/x"),
        ("http://a/x", "http://A:80/x", "http://a:80/x", "http://a:80/x"),
        ("http://a/x", "//b/x", Reason.ORIGIN, "http://b/x"),
        ("https://a/x", "https://a:443/y?key=1#part", "https://a:443/y?key=1", "https://a:443/y?key=1"),
        ("https://a/x", "http://a/x", Reason.NOT_ENCRYPTED, "http://a/x"),
        ("https://a/x", "http://b/x", Reason.NOT_ENCRYPTED, "http://b/x"),
        ("http://a/x/y", "../z", "http://a/z", "http://a/z"),
        ("http://a/x?key=1", "?page=2", "http://a/x?page=2", "http://a/x?page=2"),
        ("http://a/x", "/Παραγγελίες", "http://a/%CE%A0%CE%B1%CF%81%CE%B1%CE%B3%CE%B3%CE%B5%CE%BB%CE%AF%CE%B5%CF%82",
         "http://a/%CE%A0%CE%B1%CF%81%CE%B1%CE%B3%CE%B3%CE%B5%CE%BB%CE%AF%CE%B5%CF%82"),
        ("http://a/x", "/é".encode().decode("latin-1"), "http://a/%C3%A9", "http://a/%C3%A9"),
        ("http://a/x", "/%C3%A9%20", "http://a/%C3%A9%20", "http://a/%C3%A9%20"),
        ("http://[::1]:80/x", "http://[::1]/y", "http://[::1]/y", "http://[::1]/y"),
        ("http://a/x", "http://u:p@a/y", "http://a/y", "http://a/y"),
    ],
)  # fmt: skip
def test_possible_secrets_stay_within_their_origin(
    url: str, location: str, secret: str | Reason, plain: str | Reason
) -> None:
    assert _decided("GET", url, 302, location, TOKEN) == secret
    assert _decided("POST", url, 307, location, TOKEN) == secret
    assert _decided("GET", url, 302, location, PLAIN) == plain
    for name in ("Cookie", "X-Api-Key", "webhook-signature", "authorization"):
        assert _decided("GET", url, 302, location, {name: "x"}) == secret


def test_a_password_in_the_address_is_a_secret_and_stays_with_its_origin() -> None:
    assert _decided("GET", "http://u:p@a/x", 302, "/y", {}) == "http://u:p@a/y"
    assert _decided("GET", "http://u:p@a/x", 302, "http://a/y", {}) == "http://u:p@a/y"
    assert _decided("GET", "http://u:p@a/x", 302, "http://other:q@a/y", {}) == "http://u:p@a/y"
    assert _decided("GET", "http://u:p@a/x", 302, "http://b/y", {}) is Reason.ORIGIN
    assert _decided("GET", "http://a/x", 302, "http://u:p@b/y", {}) == "http://b/y"


def test_a_body_does_not_leave_https() -> None:
    assert _decided("POST", "https://a/x", 307, "http://a/x", PLAIN, b"{}") is Reason.NOT_ENCRYPTED
    assert _decided("POST", "http://a/x", 307, "https://a/x", PLAIN, b"{}") == "https://a/x"


@pytest.mark.parametrize(
    "location",
    ["", "   ", "http://", "http:///x", "ftp://a/x", "javascript:alert(1)", "mailto:x@y", "http://a:port/", "http://[::1",
     "http://a:99999/", "http://a b/", "http://a/x, http://b/y", "http://a\\@b/", "/x\r\nCookie: y", "/\x00", "http://β/",
     "http://a%2eb/", "//", "https://[v1.x]/"],
)  # fmt: skip
def test_a_redirect_without_a_valid_address_is_refused(location: str) -> None:
    for method, status in (("GET", 302), ("POST", 308), ("POST", 301)):
        assert _decided(method, "http://a/x", status, location, {}) is Reason.UNREADABLE


@given(location=st.text(max_size=40), prefix=st.sampled_from(["", "/", "//", "http://a", "https://a", "http://a@"]))
def test_no_redirect_sends_a_secret_to_another_origin(prefix: str, location: str) -> None:
    decision = decide(Request("GET", "http://a/x", TOKEN, None), 302, prefix + location)
    assert decision is not None
    if isinstance(decision, Request):
        assert decision.url.isascii()
        assert origin_of(decision.url) == ("http", "a", 80)


def test_a_redirect_loop_ends() -> None:
    request = Request("POST", "http://a/x", {}, b"{}")
    earlier: list[str] = []
    while isinstance(decision := decide(request, 307, "/x", earlier), Request):
        earlier.append(request.url)
        request = decision
    assert decision == Refused(Reason.STEPS, "POST", 307, "http://a/x", "http://a/x")
    assert len(earlier) == MOST_STEPS


@pytest.mark.parametrize(
    ("method", "url", "status", "location", "told"),
    [
        ("POST", "http://u:hidden@a/x?key=hidden", 301, "https://b:8/y?key=hidden#hidden",
         "http://a/x redirects to https://b:8/y (301), and a POST is not repeated there: give that address"),
        ("GET", "http://a/x?key=hidden", 302, "https://u:hidden@b/y",
         "http://a/x redirects to https://b/y (302), which is another server, "
         "and secrets are not sent there"),
        ("GET", "http://a/x", 302, "https://a/x",
         "http://a/x redirects to https://a/x (302): https is another address than http, so give the new one"),
        ("GET", "https://a/x", 302, "http://a/x",
         "https://a/x redirects to http://a/x (302), which is not encrypted, "
         "and secrets are not sent there"),
        ("GET", "http://a/x", 302, "http://u:hidden@/?hidden",
         "http://a/x redirects (302) and names no address that can be read"),
    ],
)  # fmt: skip
def test_the_message_names_both_addresses_and_no_secret(
    method: str, url: str, status: int, location: str, told: str
) -> None:
    decision = decide(Request(method, url, TOKEN, None), status, location)
    assert isinstance(decision, Refused)
    assert str(RedirectedError(decision)) == told
    assert "hidden" not in repr(RedirectedError(decision)) + repr(decision)


def test_a_shown_address_omits_possible_secrets() -> None:
    assert show_address("https://u:p@shop.example:8443/hook?key=1#x") == "https://shop.example:8443/hook"
    assert show_address("http://[::1") == "(an address that cannot be read)"
    assert show_address("nonsense") == ""


class MovedMarketplace:
    """A marketplace of which every call, or every POST, redirects to another server."""

    def __init__(self, shop: Shop, only_posts: bool) -> None:
        self._answers = shop.market.answer
        self._only_posts = only_posts

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        if method != "POST" and self._only_posts:
            return await self._answers(method, url, headers, body)
        decision = decide(Request(method, url, headers, body), 301, url.replace("http://market", "https://new"))
        assert isinstance(decision, Refused)
        raise RedirectedError(decision)


@pytest.mark.anyio
@pytest.mark.parametrize("only_posts", [True, False])
async def test_a_moved_marketplace_is_reported_once_and_orders_wait_for_it(tmp_path: Path, only_posts: bool) -> None:
    shop = Shop(tmp_path)
    shop.market.proxy = MovedMarketplace(shop, only_posts)
    shop.receive(shop.order("o1", 1))
    shop.receive(shop.order("o2", 1))
    for _ in range(3):
        shop.seconds += 400
        await shop.check()
        await shop.work(until_seconds=shop.seconds + 10)
    moved = "the marketplace's address http://market redirects to https://new (301): give that address with --url"
    assert shop.told.count(f"needs a person: {moved}") == 1
    for code in ("o1", "o2"):
        assert shop.told.count(f"needs a person: Order {code}: {moved}") == 1
    assert "token" not in " ".join(shop.told)
    assert not [call for call in shop.market.calls if call.startswith("POST")]
    shop.market.proxy = None
    shop.seconds += 400
    await shop.check()
    assert {str(order.state) for order in shop.market.orders.values()} == {"accepted"}
    shop.inbox.close()


@pytest.mark.anyio
async def test_a_redirected_reconciliation_does_not_count(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    market = AsyncClient("http://market", "secret", transport=shop.market)
    assert (await reconcile(market, shop.inbox, 100.0)).unknown == 0
    shop.market.proxy = MovedMarketplace(shop, only_posts=False)
    with pytest.raises(RedirectedError):
        await reconcile(market, shop.inbox, 200.0)
    assert shop.inbox.moment("reconciled") == 100.0, "changes since then are asked for when it is back"
    shop.inbox.close()
