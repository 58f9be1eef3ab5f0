"""Settings with which production mode does not start."""

import pytest

from kalathi.marketplace.kernel.production import production_faults
from kalathi.marketplace.kernel.settings import read_settings

GOOD = {"mode": "production", "public_url": "https://market.example", "ip_ranges": "203.0.113.0/28"}


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"ip_ranges": "203.0.113.1,2001:db8::/48,8.8.8.0/24"}, []),
        ({"ip_ranges": "10.0.0.0/8", "allow_private_webhooks": "true"}, []),
        ({"mode": "sandbox", "public_url": "", "ip_ranges": ""}, []),
        ({"public_url": ""}, ["--public-url is missing"]),
        ({"public_url": "http://market.example"}, ["production needs https"]),
        ({"public_url": "https://127.0.0.1:9"}, ["shops cannot reach this machine"]),
        ({"public_url": "https://localhost"}, ["shops cannot reach this machine"]),
        ({"ip_ranges": "127.0.0.1/32,::1/128"}, ["127.0.0.1/32 is not public", "::1/128 is not public"]),
        ({"ip_ranges": "10.0.0.0/8"}, ["10.0.0.0/8 is not public"]),
        ({"ip_ranges": "0.0.0.0/0"}, ["0.0.0.0/0 is not public"]),
        ({"ip_ranges": "::/0", "allow_private_webhooks": "true"}, ["::/0 is not public"]),
        ({"ip_ranges": "224.0.0.0/4,100.64.0.0/10"}, ["224.0.0.0/4 is not", "100.64.0.0/10 is not"]),
        ({"ip_ranges": "::ffff:10.0.0.0/104"}, ["::ffff:10.0.0.0/104 is not public"]),
        ({"ip_ranges": "169.254.1.1"}, ["169.254.1.1 is not public"]),
        ({"ip_ranges": "fd00::/8,203.0.113.1"}, ["fd00::/8 is not public"]),
        ({"operator_token": "x" * 31}, ["--operator-token has fewer than 32 characters"]),
        ({"operator_token": " " * 31 + "x"}, ["--operator-token has fewer than 32 characters"]),
        ({"operator_token": "x" * 32}, []),
        ({"mode": "sandbox", "operator_token": "x"}, []),
        ({"rough": "true"}, ["--rough is for a sandbox"]),
        ({"ip_ranges": ""}, ["--ip-ranges is empty"]),
        ({"ip_ranges": "everywhere"}, ["everywhere is no range"]),
    ],
)
def test_production_needs_a_real_address_public_ranges_and_a_long_token(
    changes: dict[str, str], sentences: list[str]
) -> None:
    faults = production_faults(read_settings(GOOD | changes))
    assert len(faults) == len(sentences)
    assert all(sentence in fault for sentence, fault in zip(sentences, faults, strict=True))
