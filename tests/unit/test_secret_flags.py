"""Secrets of the command line: none in the process list, none in a message."""

import pytest

from kalathi.cli import main
from kalathi.cli.secret_flags import find_passwords, hide_secrets, mask_passwords

URL = "postgresql://u:s3cret@db/kalathi"


@pytest.mark.parametrize(
    ("line", "kept", "variables"),
    [
        (
            ["serve", "--port", "0", "--operator-token", "s3cret", "--open"],
            ["serve", "--port", "0", "--open"],
            {"KALATHI_OPERATOR_TOKEN": "s3cret"},
        ),
        (["serve", "--operator-token=s3cret"], ["serve"], {"KALATHI_OPERATOR_TOKEN": "s3cret"}),
        (["serve", "--metrics-token", "s3cret"], ["serve"], {"KALATHI_METRICS_TOKEN": "s3cret"}),
        (["worker", "--database", URL, "--port=1"], ["worker", "--port=1"], {"KALATHI_DATABASE": URL}),
        (
            ["--config", "x.toml", "serve", f"--database={URL}"],
            ["--config", "x.toml", "serve"],
            {"KALATHI_DATABASE": URL},
        ),
        (
            ["serve", "--webhook-proxy", "http://u:s3cret@proxy:1"],
            ["serve"],
            {"KALATHI_WEBHOOK_PROXY": "http://u:s3cret@proxy:1"},
        ),
        (
            ["merchant", "--token", "s3cret", "--secrets", "whsec_s3cret", "--stock", URL, "--url", "http://m"],
            ["merchant", "--url", "http://m"],
            {"KALATHI_TOKEN": "s3cret", "KALATHI_WEBHOOK_SECRETS": "whsec_s3cret", "KALATHI_STOCK": URL},
        ),
        (["listen", "--token", "s3cret"], ["listen"], {"KALATHI_OPERATOR_TOKEN": "s3cret"}),
        (["mcp", "--token", "s3cret"], ["mcp"], {"KALATHI_OPERATOR_TOKEN": "s3cret"}),
        (
            ["checkup", "--token", "s3cret", "--shop-token", "s3cret", "--webhook-url", "http://u:s3cret@shop/hook"],
            ["checkup"],
            {
                "KALATHI_OPERATOR_TOKEN": "s3cret",
                "KALATHI_SHOP_TOKEN": "s3cret",
                "KALATHI_WEBHOOK_URL": "http://u:s3cret@shop/hook",
            },
        ),
        (
            ["checkup", "--webhook-url", "http://shop/hook", f"--probe={URL}"],
            ["checkup", "--webhook-url", "http://shop/hook"],
            {"KALATHI_PROBE": URL},
        ),
        (["recipe", "accept", "--token", "s3cret"], ["recipe", "accept"], {"KALATHI_OPERATOR_TOKEN": "s3cret"}),
    ],
)
def test_a_long_running_command_gets_secrets_as_variables(
    line: list[str], kept: list[str], variables: dict[str, str]
) -> None:
    hidden = hide_secrets(main, line)
    assert hidden is not None
    assert (hidden.arguments, hidden.variables) == (kept, variables)


@pytest.mark.parametrize(
    "line",
    [
        ["serve", "--port", "0"],
        ["serve", "--database", "postgresql://u@db/kalathi"],
        ["serve", "--database", "sqlite:////tmp/a.db"],
        ["merchant", "--stock", "stock.csv", "--token-file", "token"],
        ["shop", "list", "--token", "s3cret"],
        ["--help"],
        [],
    ],
)
def test_a_short_command_or_one_without_secrets_is_unchanged(line: list[str]) -> None:
    assert hide_secrets(main, line) is None


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("postgresql://u:s3cret@db/kalathi", ["s3cret"]),
        ("postgresql://u:s3c@ret@db/kalathi", ["s3c@ret"]),
        ("postgresql://db/kalathi?user=u&password=s3cret&sslmode=require", ["s3cret"]),
        ("postgresql://db/kalathi?sslpassword=s3cret", ["s3cret"]),
        ("http://u:s3cret@proxy:3128", ["s3cret"]),
        ("postgresql://u@db/kalathi", []),
        ("postgresql://u:@db/kalathi", []),
        ("sqlite:///kalathi.db", []),
        ("", []),
    ],
)
def test_no_password_of_an_address_is_left_in_a_message(url: str, passwords: list[str]) -> None:
    assert find_passwords(url) == passwords
    message = f"the database {url} cannot be used: no host {'ret@db' if '@ret@' in url else url}."
    assert not [part for part in ("s3c", "ret@") if part in mask_passwords(message, url)]


def test_a_password_that_a_driver_has_decoded_is_masked_too() -> None:
    url = "postgresql://u:s3cret%21@db/kalathi"
    assert mask_passwords('password "s3cret!" of s3cret%21', url) == 'password "***" of ***'
