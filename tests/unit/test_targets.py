"""Webhook URLs: what the parser accepts can be sent, byte for byte, and what it refuses is refused with a reason."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.marketplace.kernel.targets import BadUrl, Target, mask_url, parse_target


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("http://shop.example", "shop.example", 80, "shop.example", "/"),
        ("HTTPS://Shop.Example:443/Hook", "shop.example", 443, "Shop.Example", "/Hook"),
        ("http://shop.example:8080?key=a%2Fb", "shop.example", 8080, "shop.example:8080", "/?key=a%2Fb"),
        ("http://shop.example:/a//b/../c?d=/?", "shop.example", 80, "shop.example", "/a//b/../c?d=/?"),
        ("http://[::1]:8080/", "::1", 8080, "[::1]:8080", "/"),
        ("https://192.0.2.1/x#top", "192.0.2.1", 443, "192.0.2.1", "/x"),
        ("http://my_shop-1.local/", "my_shop-1.local", 80, "my_shop-1.local", "/"),
        ("http://xn--kxae4bafwg.gr./", "xn--kxae4bafwg.gr.", 80, "xn--kxae4bafwg.gr.", "/"),
    ],
)
def test_a_url_is_parsed_into_its_target(url: str, host: str, port: int, authority: str, path: str) -> None:
    target = parse_target(url)
    assert isinstance(target, Target)
    assert (target.host, target.port, target.authority, target.path) == (host, port, authority, path)
    assert target.is_tls is url.lower().startswith("https")


@pytest.mark.parametrize(
    ("user", "sent"),
    [("me:secret", b"me:secret"), ("me", b"me:"), ("a%40b:%CE%B1", b"a@b:\xce\xb1"), ("me:a:b", b"me:a:b"), ("", None)],
)
def test_user_name_and_password_become_the_authorization(user: str, sent: bytes | None) -> None:
    target = parse_target(f"https://{user}@shop.example/")
    assert isinstance(target, Target)
    assert target.authorization == ("" if sent is None else f"Basic {base64.b64encode(sent).decode()}")
    assert "@" not in target.authority


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://κατάστημα.gr/", BadUrl.NOT_ASCII),
        ("http://me:κωδικός@shop.example/", BadUrl.NOT_ASCII),
        ("http://shop.example/a b", BadUrl.SPACES),
        ("http://shop.example/\r\nX: 1", BadUrl.SPACES),
        ("http:\\\\shop.example/", BadUrl.SPACES),
        *((url, BadUrl.SCHEME) for url in ("", "shop.example", "ftp://shop.example/", "//shop.example", "http:/x")),
        *((f"http://{host}/", BadUrl.HOST) for host in ("", "a..b", ".", "-a.gr", "a-.gr", "a,b", "a" * 64, "[::1]x")),
        *((f"http://{host}/", BadUrl.HOST) for host in ("[1.2.3.4]", "[fe80::1%eth0]", "a%62.gr")),
        *(
            (f"http://{host}/", BadUrl.NUMBERS)
            for host in ("127.1", "2130706433", "0x7f000001", "1.2.3.4.5", "01.2.3.4")
        ),
        *((f"http://a.gr:{port}/", BadUrl.PORT) for port in ("0", "65536", "x", "-1", "80:90")),
        *((f"http://{host}/", BadUrl.PORT) for host in ("::1", "[::1")),
        ("http://a%3Ab:c@shop.example/", BadUrl.USER),
    ],
)
def test_an_unusable_url_is_refused_with_the_reason(url: str, reason: BadUrl) -> None:
    assert parse_target(url) is reason


@given(st.text(max_size=60))
def test_every_accepted_url_makes_one_valid_request_line(text: str) -> None:
    for url in (text, f"http://{text}", f"https://shop.example/{text}"):
        target = parse_target(url)
        if isinstance(target, Target):
            line = f"POST {target.path} HTTP/1.1 {target.authority} {target.authorization}"
            assert line.isascii()
            assert line.isprintable()
            assert " " not in target.path + target.authority
            assert target.host


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@shop.example/a@b", "https://***@shop.example/a@b"),
        ("https://me@shop.example", "https://***@shop.example"),
        ("https://a@b:c@shop.example?x", "https://***@shop.example?x"),
        ("https://shop.example/?mail=a@b.gr", "https://shop.example/?mail=a@b.gr"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_user_name_and_password_are_masked_where_a_url_is_shown(url: str, shown: str) -> None:
    assert mask_url(url) == shown
