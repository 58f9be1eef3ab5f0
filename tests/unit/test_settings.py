"""Settings of the command line: files with a mark at their start, tokens, options of a group and its commands, and the
page that names every flag."""

import codecs
import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kalathi.cli import main
from kalathi.cli.configuration import defaults_of, read_configuration
from kalathi.cli.merchant import merchant
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.policy import PolicyError, read_policy
from kalathi.texts import read_text

ROOT = Path(__file__).parents[2]
MARKED = {
    "utf-8": (b"", "utf-8"),
    "utf-8 with a mark": (codecs.BOM_UTF8, "utf-8"),
    "utf-16 of Windows": (codecs.BOM_UTF16_LE, "utf-16-le"),
    "utf-16, the other way round": (codecs.BOM_UTF16_BE, "utf-16-be"),
}


def _write(path: Path, text: str, how: str) -> Path:
    mark, encoding = MARKED[how]
    path.write_bytes(mark + text.encode(encoding))
    return path


@pytest.mark.parametrize("how", MARKED)
def test_a_file_is_read_with_a_byte_order_mark_and_without(tmp_path: Path, how: str) -> None:
    assert read_text(_write(tmp_path / "text", "κλειδί\n", how)) == "κλειδί\n"
    assert read_text(_write(tmp_path / "empty", "", how)) == ""
    policy = _write(tmp_path / "policy.toml", '[orders]\nwindow = "last"\nlocation = "Αθήνα"\n', how)
    assert (read_policy(policy).orders.window, read_policy(policy).orders.location) == ("last", "Αθήνα")


def test_a_policy_in_another_encoding_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes('location = "Αθήνα"'.encode("iso8859-7"))
    with pytest.raises(PolicyError, match=r"policy\.toml"):
        read_policy(path)


@pytest.mark.parametrize("how", MARKED)
def test_kalathi_toml_is_read_with_a_byte_order_mark_and_without(tmp_path: Path, how: str) -> None:
    Inbox(tmp_path / "merchant.db").close()
    config = _write(tmp_path / "kalathi.toml", f"merchant_data = {json.dumps(str(tmp_path))}\n", how)
    result = CliRunner().invoke(main, ["--config", str(config), "merchant", "status"])
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "Queue       empty")


def _start_with_token(file: Path) -> str:
    """The startup message; with a readable token, it names the next missing setting."""
    return CliRunner().invoke(main, ["merchant", "--url", "http://x", "--token-file", str(file)]).output


@pytest.mark.parametrize("how", MARKED)
def test_a_token_file_is_read_with_a_byte_order_mark_and_without(tmp_path: Path, how: str) -> None:
    assert "give --stock" in _start_with_token(_write(tmp_path / "token", "abcDEF-123\r\n", how))


@pytest.mark.parametrize("how", MARKED)
@pytest.mark.parametrize("text", ["", "\n", " \r\n\t"])
def test_an_empty_token_file_is_called_empty(tmp_path: Path, text: str, how: str) -> None:
    file = _write(tmp_path / "token", text, how)
    assert f"the token file {file} is empty" in _start_with_token(file)


@pytest.mark.parametrize("text", ["one two", "first\nsecond", "to\x00ken", "tökén", "\u200btoken"])
def test_a_token_file_that_holds_more_than_a_token_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    said = _start_with_token(_write(tmp_path / "token", text, "utf-8"))
    assert "holds more than a token" in said
    assert text not in said


def test_an_empty_token_file_is_reported_for_purchase_orders_too(tmp_path: Path) -> None:
    arguments = ["purchase-order", "goods.csv", "--supplier", "s", "--expected", "2026-12-01", "--url", "http://x"]
    empty = _write(tmp_path / "token", "\n", "utf-8 with a mark")
    assert "is empty" in CliRunner().invoke(main, [*arguments, "--token-file", str(empty)]).output


INNER = [["status", "--json"], ["replay", "--all"], ["reprint", "o1"], ["day", "--out", "day.pdf"]]


@pytest.mark.parametrize("inner", INNER)
def test_an_option_of_the_command_overrides_that_of_the_group(tmp_path: Path, inner: list[str]) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    Inbox(here / "merchant.db").close()
    right = CliRunner().invoke(main, ["merchant", *inner, "--data", str(here)]).output
    assert "there is no inbox" not in right
    for outer, more in (([here], []), ([other], [here])):
        arguments = ["merchant", *_data(outer), *inner, *_data(more)]
        assert CliRunner().invoke(main, arguments).output == right, arguments
    for outer, more in (([other], []), ([here], [other])):
        arguments = ["merchant", *_data(outer), *inner, *_data(more)]
        assert f"there is no inbox in {other}" in CliRunner().invoke(main, arguments).output, arguments


def test_a_group_flag_overrides_the_variable_and_that_the_file(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    Inbox(here / "merchant.db").close()
    config = tmp_path / "kalathi.toml"
    config.write_text(f"[merchant]\ndata = {json.dumps(str(here))}\n", "utf-8")
    for arguments, variable, is_right in (
        (["merchant", *_data([here]), "status"], other, True),
        (["merchant", "status", *_data([here])], other, True),
        (["merchant", "status"], here, True),
        (["merchant", *_data([other]), "status"], here, False),
        (["--config", str(config), "merchant", "status"], None, True),
        (["--config", str(config), "merchant", "status"], other, False),
    ):
        environment = {"KALATHI_MERCHANT_DATA": str(variable) if variable else None}
        result = CliRunner().invoke(main, arguments, env=environment)
        assert (result.exit_code == 0) is is_right, (arguments, variable)


def _data(folders: list[Path]) -> list[str]:
    return [word for folder in folders for word in ("--data", str(folder))]


def test_options_of_group_and_command_share_one_variable() -> None:
    for command in merchant.commands.values():
        outer = {parameter.name: parameter.envvar for parameter in merchant.params}
        for parameter in command.params:
            assert outer.get(parameter.name, parameter.envvar) == parameter.envvar, (command.name, parameter.name)


def test_the_page_of_settings_names_every_flag_of_the_connector_and_no_other() -> None:
    text = (ROOT / "docs/settings.md").read_text("utf-8").partition("# Settings of `kalathi merchant`\n")[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `--")]
    described = [
        pair
        for flags, variables, about in rows
        for pair in zip(re.findall(r"`(--[a-z-]+)`", flags), re.findall(r"`(KALATHI_\w+)`", variables), strict=True)
        if about.strip()
    ]
    options = [parameter for parameter in merchant.params if isinstance(parameter, click.Option)]
    assert sorted(described) == sorted((option.opts[0], str(option.envvar)) for option in options)


def test_a_table_of_the_faults_command_is_not_a_list_of_declared_faults(tmp_path: Path) -> None:
    path = tmp_path / "kalathi.toml"
    path.write_text("fault_seed = 3\n[faults.add]\nseconds = 2\n", "utf-8")
    configuration = read_configuration(path, {})
    assert configuration is not None
    assert configuration.declared == {"fault_seed": 3}
    assert defaults_of(configuration, main)["faults"] == {"add": {"seconds": "2"}}
    path.write_text('faults = [{ on = "api", kind = "drop" }]\n', "utf-8")
    configuration = read_configuration(path, {})
    assert configuration is not None
    assert configuration.declared == {"faults": [{"on": "api", "kind": "drop"}]}
    assert defaults_of(configuration, main) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port = 0\n\nprot = 1\n", "line 3: there is no setting prot"),
        ("port = 0\n[serve]\n# a comment\nprot = 1\n", "line 4: there is no setting prot"),
        ("\n[listne]\nforward = 'x'\n", "line 2: there is no table listne"),
        ("\n[shop]\n[shop.add]\nnmae = 'x'\n", "line 4: there is no setting nmae of shop.add"),
        ("[shop.add]\ndomain = 'x'\n[shop.sub]\n", "line 3: there is no setting sub of shop"),
    ],
)
def test_an_unknown_setting_is_reported_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text, "utf-8")
    result = CliRunner().invoke(main, ["--config", str(path), "serve", "--check"])
    assert result.output == f"kalathi: {path} {sentence}.\n"


@pytest.mark.parametrize(
    "text",
    [
        "shops = " + "[" * 3000 + "]" * 3000,
        "shops = " + "[" * 300 + "]" * 300,
        "shops = " + "{a = " * 3000 + "1" + "}" * 3000,
        "shops" + ".a" * 3000 + " = 1",
        f"[{'a.' * 3000}a]",
        "port = " + "1" * 5000,
    ],
    ids=["lists", "fewer lists", "tables", "keys", "headers", "number"],
)
def test_a_settings_file_that_is_nested_too_deep_is_refused_with_a_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text, "utf-8")
    result = CliRunner().invoke(main, ["--config", str(path), "serve", "--check"])
    assert result.exit_code == 1
    assert result.output.startswith(f"kalathi: {path} cannot be read: ")
