"""Flags that authenticate the connector to the shop's own system: `--hand-over-header` and `--hand-over-secret`."""

from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kalathi.cli import main
from kalathi.cli.configuration import defaults_of, read_configuration
from kalathi.cli.merchant import merchant
from kalathi.cli.merchant_options import MerchantOptions
from kalathi.cli.merchant_parts import PartError, recipient_of
from kalathi.contract.signatures import secret_text, verify
from kalathi.merchant.client.transport import HttpAnswer

pytestmark = pytest.mark.anyio

SECRET = secret_text(b"hidden-hidden-hidden-hidden-hidd")
HOOK = "https://shop.example/hook"


class Network:
    """Answers 200 and keeps the headers of what was sent."""

    def __init__(self) -> None:
        self.headers: list[Mapping[str, str]] = []

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self.headers.append(headers)
        return HttpAnswer(200, b"")

    async def close(self) -> None:
        pass


async def test_an_address_gets_the_headers_and_the_signature_that_were_given() -> None:
    network = Network()
    recipient = recipient_of(HOOK, network, ["X-Key: a: b ", "", "Authorization:Bearer hidden"], SECRET)
    assert recipient is not None
    await recipient.receive("o1", b"{}")
    [headers] = network.headers
    assert headers["x-key"] == "a: b"
    assert headers["authorization"] == "Bearer hidden"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert verify([SECRET], headers, b"{}", int(headers["webhook-timestamp"])).startswith("msg_")
    assert "hidden" not in repr(recipient)


async def test_without_flags_only_the_content_type_is_sent() -> None:
    network = Network()
    recipient = recipient_of(HOOK, network)
    assert recipient is not None
    await recipient.receive("o1", b"{}")
    assert list(network.headers[0]) == ["content-type"]


@pytest.mark.parametrize(
    ("told", "header", "secret", "why"),
    [
        (HOOK, "hidden", "", "give it as `Name: value`"),
        (HOOK, "a b: hidden", "", "give it as `Name: value`"),
        (HOOK, "X-Key: hidden\r\nX-Other: hidden", "", "give it as `Name: value`"),
        (HOOK, "X-Key: κρυφό", "", "give it as `Name: value`"),
        (HOOK, "X-Key:", "", "give it as `Name: value`"),
        (HOOK, "", "whsec_hidden%", "give whsec_ and the base64"),
        (HOOK, "", "whsec_", "give whsec_ and the base64"),
        ("csv:orders", "X-Key: hidden", "", "are for an http address"),
        ("", "", SECRET, "are for an http address"),
    ],
)
def test_an_invalid_value_is_refused_and_not_shown(told: str, header: str, secret: str, why: str) -> None:
    with pytest.raises(PartError, match=why) as refused:
        recipient_of(told, Network(), [header] if header else [], secret)
    assert "hidden" not in str(refused.value)
    assert "κρυφό" not in str(refused.value)


def _parsed(arguments: list[str], variables: dict[str, str | None], folder: Path, lines: str = "") -> MerchantOptions:
    (folder / "kalathi.toml").write_text(lines, "utf-8")
    found: list[MerchantOptions] = []
    command = click.Command("merchant", params=merchant.params, callback=lambda **g: found.append(MerchantOptions(**g)))
    configuration = read_configuration(folder / "kalathi.toml", {})
    assert configuration is not None
    defaults = defaults_of(configuration, main).get("merchant", {})
    result = CliRunner().invoke(command, arguments, env=variables, default_map=defaults)
    assert result.exit_code == 0, result.output
    return found[0]


def test_a_header_is_a_flag_that_may_be_repeated_a_variable_or_a_line_of_the_file(tmp_path: Path) -> None:
    flags = ["--hand-over-header", "A: b c", "--hand-over-header", "D: e"]
    assert _parsed(flags, {}, tmp_path).hand_over_header == ("A: b c", "D: e")
    given = _parsed([], {"KALATHI_HAND_OVER_HEADER": "A: b c\nD: e", "KALATHI_HAND_OVER_SECRET": SECRET}, tmp_path)
    assert (given.hand_over_header, given.hand_over_secret) == (("A: b c", "D: e"), SECRET)
    assert _parsed([], {}, tmp_path, 'hand_over_header = "A: b c"').hand_over_header == ("A: b c",)
    assert _parsed([], {}, tmp_path, 'hand_over_header = ["A: b c", "D: e"]').hand_over_header == ("A: b c", "D: e")
    assert _parsed([], {}, tmp_path).hand_over_header == ()


def test_the_options_are_shown_without_their_secrets(tmp_path: Path) -> None:
    flags = ["--token", "hidden", "--hand-over-header", "A: hidden", "--hand-over-secret", "hidden"]
    assert "hidden" not in repr(_parsed(flags, {}, tmp_path))
