"""The source address of calls behind proxies: a table of headers, none of which a stranger can abuse."""

import pytest

from kalathi.trusted_proxies import TrustedProxies, read_address, read_trusted_proxies, source_of

SHOP = read_trusted_proxies("10.0.0.0/8, 127.0.0.1,2a03:1::/32")


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("  1.2.3.4\t", "1.2.3.4"),
        ("1.2.3.4:51234", "1.2.3.4"),
        ('"1.2.3.4:51234"', "1.2.3.4"),
        ("2a03::1", "2a03::1"),
        ("[2a03::1]", "2a03::1"),
        ("[2a03::1]:443", "2a03::1"),
        ('"[2a03::1]:443"', "2a03::1"),
        ("2A03:0:0::0001", "2a03::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("[1.2.3.4]:80", "1.2.3.4"),
        ("", None),
        ('"', None),
        ('""', None),
        ("unknown", None),
        ("_hidden", None),
        ("unix:", None),
        ("localhost", None),
        ("1.2.3", None),
        ("01.2.3.4", None),
        ("1.2.3.4.5", None),
        ("1.2.3.4:", None),
        ("1.2.3.4:port", None),
        ("1.2.3.4:65536", None),
        ("1.2.3.4:\u00b2", None),
        ("1.2.3.4%eth0", None),
        ("1.2.3.4 5.6.7.8", None),
        ('"1.2.3.4', None),
        ("[2a03::1", None),
        ("[2a03::1]443", None),
        ("for=1.2.3.4", None),
    ],
)
def test_an_entry_is_read_in_every_notation_of_an_address(entry: str, address: str | None) -> None:
    found = read_address(entry)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    ("trusted", "peer", "lines", "source"),
    [
        # Nothing is trusted: the peer, whatever the header says.
        (None, "8.8.8.8", ["1.2.3.4"], "8.8.8.8"),
        (None, None, ["1.2.3.4"], None),
        # By number: that entry from the right.
        (1, "10.0.0.1", ["1.2.3.4:51234"], "1.2.3.4"),
        (1, "10.0.0.1", ["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
        (1, "10.0.0.1", ["9.9.9.9", "1.2.3.4"], "1.2.3.4"),
        (2, "10.0.0.1", ["9.9.9.9, 1.2.3.4:5", "10.0.0.2:80"], "1.2.3.4"),
        (2, "10.0.0.1", ["9.9.9.9, 1.2.3.4, garbage"], "1.2.3.4"),
        (2, "10.0.0.1", ["1.2.3.4"], None),
        (1, "10.0.0.1", [], None),
        (1, "10.0.0.1", [""], None),
        (1, "10.0.0.1", ["1.2.3.4, unknown"], None),
        (1, "10.0.0.1", ["1.2.3.4,"], None),
        (2, "10.0.0.1", ["1.2.3.4, , 10.0.0.2"], None),
        # An open quote of the caller does not swallow what the proxy has added.
        (1, "10.0.0.1", ['"1.2.3.4, 9.9.9.9'], "9.9.9.9"),
        # By networks: the first from the right that is no proxy of ours.
        (SHOP, "10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        (SHOP, "127.0.0.1", ["9.9.9.9, 1.2.3.4:51234, 10.0.0.7, [2a03:1::5]:443"], "1.2.3.4"),
        (SHOP, "::ffff:10.0.0.1", ["1.2.3.4", "10.0.0.7"], "1.2.3.4"),
        (SHOP, "2a03:1::1%eth0", ["2a03:2::1"], "2a03:2::1"),
        # A peer that is no proxy of ours is the source.
        (SHOP, "8.8.8.8", ["1.2.3.4"], "8.8.8.8"),
        (SHOP, "11.0.0.1", ["1.2.3.4, 10.0.0.2"], "11.0.0.1"),
        # All are proxies of ours: the first that has called.
        (SHOP, "127.0.0.1", ["10.0.0.5, 10.0.0.6"], "10.0.0.5"),
        (SHOP, "127.0.0.1", [], "127.0.0.1"),
        # What is no address is never skipped: a stranger could have written what stands left of it.
        (SHOP, "127.0.0.1", ["1.2.3.4, unknown, 10.0.0.2"], None),
        (SHOP, "127.0.0.1", ["1.2.3.4, , 10.0.0.2"], None),
        (SHOP, "127.0.0.1", ["1.2.3.4, "], None),
        (SHOP, "127.0.0.1", ["1.2.3.4", ""], None),
        (SHOP, "127.0.0.1", ["garbage, 1.2.3.4"], "1.2.3.4"),
        (SHOP, None, ["1.2.3.4"], None),
        (SHOP, "unix:", ["1.2.3.4"], None),
    ],
)
def test_the_source_is_the_nearest_untrusted_address(
    trusted: TrustedProxies | int | None, peer: str | None, lines: list[str], source: str | None
) -> None:
    proxies = TrustedProxies(hops=trusted) if isinstance(trusted, int) else trusted
    assert source_of(peer, lines, proxies) == source


def test_proxies_are_given_by_number_or_by_network() -> None:
    assert read_trusted_proxies(" 2 ") == TrustedProxies(hops=2)
    networks = read_trusted_proxies("10.1.2.3/8, 127.0.0.1 ,2a03::1,::ffff:192.0.2.0/120,").networks
    assert [str(network) for network in networks] == ["10.0.0.0/8", "127.0.0.1/32", "2a03::1/128", "192.0.2.0/24"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "0",
        "21",
        "-1",
        "9" * 5000,
        "2,3",
        "proxy.example",
        "10.0.0.0/33",
        "0.0.0.0/0",
        "::/0",
        "::ffff:0:0/96",
        "1,x",
    ],
)
def test_an_invalid_or_unlimited_setting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_trusted_proxies(text)
