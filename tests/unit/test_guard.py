"""The addresses to which a webhook may be sent."""

import pytest

from kalathi.marketplace.webhooks.guard import is_public, is_written_out

FORBIDDEN = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("192.0.2.1", "198.18.0.1", "203.0.113.5", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254"),
    *("ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1"),
    *("168.63.129.16", "192.0.0.192", "fec0::1", "2606:2800::5efe:a00:1", "2606:2800::200:5efe:7f00:1"),
    *("192.88.99.0", "192.88.99.255", "3fff::1", "3fff:fff:ffff::1", "5f00::1", "5f00:ffff::1", "2002:c058:6301::1"),
    *("2001:0:808:808::1", "2001:db8::1", "localhost", "", "1.2.3", "2130706433", "0x7f.1"),
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "100.63.255.255", "172.32.0.1", "2606:2800:220:1::1", "::ffff:8.8.8.8"]
PUBLIC += ["192.88.98.255", "192.88.100.1"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_non_public_addresses_are_forbidden(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::808:808", "2606:2800::5efe:808:808", "2002:808:808::1"])
def test_public_addresses_are_allowed_also_embedded_in_ipv6(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("host", "is_address"),
    [("1.2.3.4", True), ("::1", True), ("[::1]", True), ("fe80::1%eth0", True), ("1.2.3", False), ("a.example", False)],
)
def test_literal_addresses_are_recognised(host: str, is_address: bool) -> None:
    assert is_written_out(host) is is_address
