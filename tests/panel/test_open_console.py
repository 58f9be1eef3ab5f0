"""The operator's pages need a sign-in, unless the console is open to this machine."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.panel.sign_in.open_console import find_console_fault
from tests.market import Market, open_market
from tests.panel.visitor import Visitor

pytestmark = pytest.mark.anyio

PORT = 8090
PATHS = ("/", "/operator/orders", "/operator/sandbox", "/operator/deliveries")

# A plain visit of a browser on this machine.
LOCAL: list[dict[str, Any]] = [
    {"host": "127.0.0.1:8090"},
    {"host": "localhost:8090"},
    {"host": "LOCALHOST:8090"},
    {"host": "[::1]:8090", "client": "::1"},
    {"host": "127.0.0.1:8090", "client": "127.0.0.5"},
    {"host": "127.0.0.1:8090", "headers": {"Sec-Fetch-Site": "none"}},
    {"host": "127.0.0.1:8090", "headers": {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8090"}},
    {"host": "127.0.0.1:8090", "headers": {"Referer": "http://127.0.0.1:8090/operator/orders"}},
]
# Everything else, with the reason.
FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("a name that leads here (DNS rebinding)", {"host": "evil.example"}),
    ("the same with our port", {"host": "evil.example:8090"}),
    ("a name that begins as ours", {"host": "127.0.0.1.evil.example:8090"}),
    ("a name that ends as ours", {"host": "evil-localhost:8090"}),
    ("no name", {"host": ""}),
    ("a name without the port", {"host": "127.0.0.1"}),
    ("another port", {"host": "127.0.0.1:80"}),
    ("another port of a proxy", {"host": "localhost:443"}),
    ("no address", {"host": "["}),
    ("a user name", {"host": "a@127.0.0.1:8090"}),
    ("a dot at the end", {"host": "localhost.:8090"}),
    ("a number that means loopback", {"host": "2130706433:8090"}),
    ("a short form of loopback", {"host": "127.1:8090"}),
    ("a mapped address", {"host": "[::ffff:127.0.0.1]:8090"}),
    ("the upstream's name of a proxy", {"host": "kalathi_upstream"}),
    ("two names in one line", {"host": "127.0.0.1:8090, evil.example"}),
    ("two lines", {"host": "127.0.0.1:8090", "headers": {"host": "127.0.0.1:8090"}}),
    ("a second line with another name", {"host": "127.0.0.1:8090", "headers": {"host": "evil.example"}}),
    ("another machine", {"host": "127.0.0.1:8090", "client": "10.0.0.7"}),
    ("another machine over IPv6", {"host": "[::1]:8090", "client": "2001:db8::7"}),
    ("no address of a caller", {"host": "127.0.0.1:8090", "client": ""}),
    ("a link of another site", {"host": "127.0.0.1:8090", "headers": {"Sec-Fetch-Site": "cross-site"}}),
    ("a page on another port", {"host": "127.0.0.1:8090", "headers": {"Sec-Fetch-Site": "same-site"}}),
    ("an origin elsewhere", {"host": "127.0.0.1:8090", "headers": {"Origin": "https://evil.example"}}),
    ("an origin on another port", {"host": "127.0.0.1:8090", "headers": {"Origin": "http://127.0.0.1:3000"}}),
    ("an origin that is hidden", {"host": "127.0.0.1:8090", "headers": {"Origin": "null"}}),
    ("a page elsewhere", {"host": "127.0.0.1:8090", "headers": {"Referer": "https://evil.example/"}}),
    ("a page whose name begins so", {"host": "127.0.0.1:8090", "headers": {"Referer": "http://127.0.0.1:8090.evil/"}}),
]
# Shapes of proxies on this machine: without the setting none of them may open anything.
PROXIED: list[dict[str, Any]] = [
    {"host": "127.0.0.1:8090", "headers": {name: "203.0.113.9"}}
    for name in (
        *("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"),
        *("X-Cluster-Client-IP", "Fastly-Client-IP", "X-Original-Forwarded-For", "X-ProxyUser-IP", "X-Envoy-External"),
        *(
            "X-Original-Host",
            "X-Host",
            "X-Azure-ClientIP",
            "Fly-Client-IP",
            "X-Appengine-User-IP",
            "WL-Proxy-Client-IP",
        ),
    )
]


def _visitor(market: Market, host: str, client: str = "127.0.0.1", headers: dict[str, str] | None = None) -> Visitor:
    market.server = ("127.0.0.1", PORT)
    visitor = Visitor(market, host=host, client=client)
    visitor.headers |= headers or {}
    return visitor


async def test_without_the_setting_no_request_opens_the_operators_pages(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        for shape in [*LOCAL, *(shape for _, shape in FOREIGN), *PROXIED]:
            for path in PATHS:
                answer = await _visitor(market, **shape).request("GET", path)
                assert (answer.status, answer.body) == (303, b""), shape
                assert answer.headers["location"].startswith("/sign-in")


async def test_an_open_console_answers_a_plain_request_on_this_machine(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(open_console=True)) as market:
        shop = await market.shop()
        for shape in LOCAL:
            for path in PATHS:
                assert (await _visitor(market, **shape).get(path)).path == path, shape
            visitor = _visitor(market, **{**shape, "headers": {}})
            page = await visitor.get(f"/operator/shops/{shop.id}")
            assert "Sign out" not in page.text
            inside = await visitor.submit(page, f"/operator/shops/{shop.id}/open")
            assert (inside.path, "/" in inside.links) == ("/shop/orders", True)
            # Forms have their tokens here too.
            assert (await visitor.request("POST", "/operator/sandbox/clock", b"step=hour")).status == 403


@pytest.mark.parametrize(("reason", "shape"), FOREIGN, ids=[reason for reason, _ in FOREIGN])
async def test_an_open_console_refuses_every_other_request(tmp_path: Path, reason: str, shape: dict[str, Any]) -> None:
    async with open_market(tmp_path, settings=Settings(open_console=True)) as market:
        for path in PATHS:
            answer = await _visitor(market, **shape).request("GET", path)
            assert (answer.status, answer.body) == (303, b""), reason


async def test_the_host_header_may_omit_port_80(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(open_console=True)) as market:
        visitor = _visitor(market, "localhost")
        market.server = ("127.0.0.1", 80)
        assert (await visitor.get("/")).path == "/"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "production"}, "only a sandbox"),
        ({"host": "0.0.0.0"}, "would listen on 0.0.0.0"),
        ({"host": "192.168.1.5"}, "would listen on 192.168.1.5"),
        ({"host": "::"}, "would listen on ::"),
        ({"public_url": "https://market.example"}, "--public-url"),
    ],
)
async def test_no_setting_opens_a_console_that_other_machines_can_call(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    chosen = msgspec.convert({**settings, "open_console": True}, Settings)
    assert words in (find_console_fault(chosen) or "")
    async with open_market(tmp_path, settings=chosen) as market:
        for path in PATHS:
            assert (await _visitor(market, "127.0.0.1:8090").request("GET", path)).status == 303


@pytest.mark.parametrize("settings", [{}, {"host": "localhost"}, {"host": "::1"}, {"public_url": "http://localhost:9"}])
def test_an_open_console_is_possible_on_this_machine(settings: dict[str, str]) -> None:
    assert find_console_fault(msgspec.convert(settings, Settings)) is None
