"""`kalathi merchant`: its flags, its messages about missing settings, and its subcommands."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kalathi.cli import main
from kalathi.cli.merchant_parts import PartError, StockForm, printer_of, recipient_of, stock_of
from kalathi.merchant.client import AsyncClient, UnreachableError
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.handing_over import CommandRecipient, FunctionRecipient, HandoverError, HttpRecipient
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.printing import CommandPrinter, FolderPrinter, QueuePrinter
from kalathi.merchant.sources import SourceRanges, SourceRangesError, fetch_ranges, keep_fresh, read_ranges
from kalathi.merchant.stock import CsvStock, FunctionStock, HttpStock, SqlStock, WarehouseStock
from kalathi.merchant.watching import with_watching

pytestmark = pytest.mark.anyio

RANGES = b'{"ipv4": ["192.0.2.0/24"], "ipv6": []}'


class Network:
    """Answers each request with the next of these, and keeps what was sent."""

    def __init__(self, *answers: HttpAnswer) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, bytes | None]] = []

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self.sent.append((method, url, body))
        if not self.answers:
            raise UnreachableError("no answer")
        return self.answers.pop(0)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "give the marketplace's address with --url"),
        (["--url", "http://x"], "give the shop's token"),
        (["--url", "http://x", "--token", "t"], "give --stock"),
        (["--url", "http://x", "--token", "t", "--stock", "s.csv"], "give --print-to"),
        (["--url", "http://x", "--token-file", "missing", "--stock", "s.csv"], "cannot read the token from missing"),
    ],
)
def test_a_missing_flag_is_reported_with_what_to_do(flags: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["merchant", *flags])
    assert result.exit_code == 1
    assert told in result.output


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--stock", "stock.csv", "--stock-encoding", "klingon"], "--stock-encoding klingon: no such encoding"),
        (["--stock", "no-stock.csv"], "must name the columns shop_uid and quantity"),
        (["--stock", "greek.csv"], "--stock-encoding cp1253"),
        (["--stock", "sqlite://", "--stock-query", "SELECT 1, 2"], "the URL names no file"),
        (["--stock", "platform:uname"], "it gives neither an object of quantities nor a list of objects"),
        (["--stock", "sqlite:///x.db"], "give --stock-query"),
        (["--stock", "no_such_module:stock"], "No module named 'no_such_module'"),
        (["--stock", "stock.csv", "--printer", "a", "--print-command", "b"], "not both"),
        (["--stock", "stock.csv", "--print-command", "'"], "--print-command: No closing quotation"),
        (["--stock", "stock.csv", "--hand-over-to", "ftp://x"], "give an address, csv:folder"),
        (["--stock", "stock.csv", "--csv-style", "excel-el"], "--csv-style is about --hand-over-to csv:folder"),
        (["--stock", "stock.csv", "--policy", "missing.toml"], "missing.toml"),
        (["--stock", "stock.csv", "--secrets", "whsec_%%%"], "secret"),
        (["--stock", "stock.csv", "--url", "127.0.0.1:8090"], "--url 127.0.0.1:8090: it must begin with http://"),
        (["--stock", "stock.csv", "--url", "http://u:p:q@a..b"], "--url http://***@a..b: it must name a host"),
        (["--stock", "stock.csv", "--secrets", "whsec_"], "a signing secret is whsec_ and base64"),
        (["--stock", "stock.csv", "--secrets", " , "], "--secrets names no secret"),
        (["--stock", "stock.csv", "--stock-encoding", "undefined"], "--stock-encoding undefined: no such encoding"),
        (["--stock", "stock.csv", "--approve-returns", "moods"], "moods is no reason"),
        (["--stock", "stock.csv", "--publish-stock"], "needs the token of the Products API"),
        (["--stock", "stock.csv", "--products-token", "p"], "is for --publish-stock; give that as well"),
        (["--stock", "stock.csv", "--products-token-file", "p"], "is for --publish-stock; give that as well"),
        (["--stock", "warehouse", "--publish-stock", "--products-token", "p"], "in its own warehouse itself"),
        (
            ["--stock", "stock.csv", "--publish-stock", "--products-token-file", "missing"],
            "cannot read the token from missing",
        ),
    ],
)
def test_an_invalid_setting_stops_the_start(tmp_path: Path, flags: list[str], told: str) -> None:
    (tmp_path / "stock.csv").write_text("shop_uid,quantity\nA,1\n", "utf-8")
    (tmp_path / "no-stock.csv").write_text("sku;pieces\nA;1\n", "utf-8")
    (tmp_path / "greek.csv").write_bytes("shop_uid,quantity\nΒ,1\n".encode("cp1253"))
    flags = [str(tmp_path / flag) if flag.endswith(".csv") else flag for flag in flags]
    usual = ["--url", "http://127.0.0.1:1", "--token", "hidden-token", "--port", "0"]
    usual += ["--print-to", str(tmp_path / "out"), "--data", str(tmp_path / "data")]
    result = CliRunner().invoke(main, ["merchant", *usual, *flags])
    assert result.exit_code == 1
    assert told in result.output
    assert "hidden-token" not in result.output


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["replay", "--all"],
        ["settle", "o1"],
        ["reprint", "o1"],
        ["day"],
        ["stock"],
        ["allow-price", "A"],
    ],
)
def test_a_missing_inbox_is_reported_and_not_created(tmp_path: Path, command: list[str]) -> None:
    result = CliRunner().invoke(main, ["merchant", *command, "--data", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "there is no inbox in" in result.output
    assert not (tmp_path / "nowhere").exists()


def test_commands_on_the_inbox_answer_in_json(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "merchant.db")
    inbox.events.put(b"not json", 5.0)
    inbox.events.put_aside(inbox.events.unread()[0], "The event cannot be read.")
    inbox.close()
    for command, status, answer in (
        (["settle", "--events"], 0, {"settled_webhooks": 1}),
        (["replay", "--all"], 0, {"planned": 0}),
        (["replay", "o1"], 0, {"planned": 1}),
        (["day"], 0, {"file": None, "pages": 0, "gone": [], "unreadable": {}}),
        (["reprint", "o1"], 1, None),
        (["settle", "o1"], 1, None),
    ):
        result = CliRunner().invoke(main, ["merchant", *command, "--json", "--data", str(tmp_path)])
        assert result.exit_code == status, result.output
        if answer is None:
            assert "o1" in json.loads(result.stderr)["errors"][0]["messages"][0]
        else:
            assert json.loads(result.stdout) == answer


def test_every_command_with_a_result_answers_in_json() -> None:
    """`openapi` prints JSON always, and a new token is a file. The others run until they are stopped."""
    without = {name for name, command in _walk(main, "") if not any("--json" in entry.opts for entry in command.params)}
    assert without == {"demo", "mcp", "openapi", "people new-operator-token", "serve", "worker"}


def _walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for child in command.list_commands(context):
        found = command.get_command(context, child)
        assert found is not None
        yield from _walk(found, f"{name} {child}".strip())


def test_the_form_of_the_stock_setting_chooses_the_source() -> None:
    client = AsyncClient("http://x", "t", transport=Network())
    for told, query, kind in (
        ("warehouse", "", WarehouseStock),
        ("https://shop.example/stock.json", "", HttpStock),
        ("sqlite:///x.db", "SELECT 1, 2", SqlStock),
        ("json:loads", "", FunctionStock),
        ("stock.csv", "", CsvStock),
        ("C:stock.csv", "", CsvStock),
    ):
        stock = stock_of(told, query, client, Network())
        assert type(stock) is kind, told
        assert stock.lags is (kind is CsvStock), told
        may_lag = kind is not WarehouseStock
        assert stock_of(told, query, client, Network(), StockForm(lags=True)).lags is may_lag, told


async def test_the_form_of_the_setting_chooses_the_recipient(tmp_path: Path) -> None:
    network = Network(HttpAnswer(202, b""), HttpAnswer(500, b""))
    hook = recipient_of("https://shop.example/hook", network)
    assert isinstance(hook, HttpRecipient)
    await hook.receive("o1", b"{}")
    assert network.sent == [("POST", "https://shop.example/hook", b"{}")]
    with pytest.raises(HandoverError, match="500"):
        await hook.receive("o1", b"{}")
    assert isinstance(recipient_of("json:dumps", network), FunctionRecipient)
    assert recipient_of("", network) is None
    command = recipient_of(f"command:sh -c 'cat > {tmp_path}/told'", network)
    assert isinstance(command, CommandRecipient)
    await command.receive("o1", b"a body")
    assert (tmp_path / "told").read_bytes() == b"a body"
    failing = recipient_of("command:sh -c 'echo broken >&2; exit 3'", network)
    assert failing is not None
    with pytest.raises(HandoverError, match="ended with status 3: broken"):
        await failing.receive("o1", b"")
    with pytest.raises(PartError):
        recipient_of("command:", network)


def test_the_flags_choose_the_printer(tmp_path: Path) -> None:
    assert type(printer_of(tmp_path, "", "")) is FolderPrinter
    assert type(printer_of(tmp_path, "labels", "")) is QueuePrinter
    assert type(printer_of(tmp_path, "", "lpr -o fit")) is CommandPrinter


async def test_unreadable_ranges_do_not_replace_the_stored_ones(tmp_path: Path) -> None:
    path = tmp_path / "ip_ranges.json"
    network = Network(HttpAnswer(200, RANGES), HttpAnswer(200, b'{"ipv4": ["0.0.0.0/0"]}'), HttpAnswer(404, b""))
    ranges = await fetch_ranges(network, "http://market/", path)
    assert network.sent[0][1] == "http://market/ip_ranges.json"
    assert "192.0.2.7" in ranges
    assert "203.0.113.1" not in ranges
    for _ in range(2):
        with pytest.raises(SourceRangesError):
            await fetch_ranges(network, "http://market", path)
    assert path.read_bytes() == RANGES


async def test_ranges_are_fetched_once_a_day_and_a_failure_changes_nothing() -> None:
    slept: list[float] = []
    taken: list[SourceRanges] = []
    answers: list[Any] = [read_ranges(RANGES), UnreachableError("away"), read_ranges(RANGES)]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise KeyboardInterrupt

    async def fetch() -> SourceRanges:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, SourceRanges)
        return answer

    with pytest.raises(KeyboardInterrupt):
        await keep_fresh(fetch, taken.append, sleep)
    assert slept == [86_400.0] * 4
    assert len(taken) == 2


async def test_monitoring_is_served_on_its_own_port(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.events.put(b"one")
    metrics = ConnectorMetrics()
    metrics.note_webhook(200)
    metrics.note_done("printed")
    metrics.note_failure("look")

    async def other(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})

    since = [0.0]
    app = with_watching(other, 9200, lambda: metrics.text(inbox), lambda: since[0])

    async def get(path: str, port: int) -> tuple[int, bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("there is no body")

        await app({"type": "http", "path": path, "server": ("127.0.0.1", port)}, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    assert (await get("/metrics", 9000))[0] == 418
    status, text = await get("/metrics", 9200)
    assert status == 200
    for line in (
        b'kalathi_merchant_webhooks_total{status="200"} 1.0',
        b'kalathi_merchant_done_total{what="printed"} 1.0',
        b'kalathi_merchant_failures_total{of="look"} 1.0',
        b'kalathi_merchant_kept{kind="events_new"} 1.0',
    ):
        assert line in text
    assert await get("/healthz", 9200) == (200, b"ok\n")
    assert (await get("/secrets", 9200))[0] == 404
    since[0] = 301.0
    assert await get("/healthz", 9200) == (503, b"The connector has not gone its round for 301 s.\n")
    assert (await get("/metrics", 9200))[0] == 200
    since[0] = 0.0
    inbox.close()
    assert (await get("/healthz", 9200))[0] == 503
