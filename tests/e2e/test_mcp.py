"""`kalathi mcp` against a real marketplace, driven over standard input and output by the client of the official SDK."""

import asyncio
import json
import os
import re
import signal
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent

from kalathi.mcp_server.answers import MOST_CHARACTERS
from tests.e2e.processes import Caller, calling, endpoint, running, serve, served
from tests.market import OPERATOR_TOKEN, until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
# The SDK's client passes only a few variables on.
PATH = os.pathsep.join(path for path in sys.path if path)
COMMAND = ("-m", "kalathi.cli", "mcp")
FAULTS = {"set_faults", "set_shop_faults", "clear_faults", "clear_shop_faults"}
WRITING = {"play_scenario", "move_clock", "resend_delivery"} | FAULTS


class Assistant:
    """A client of a `kalathi mcp` process."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The JSON of an answer that is no error."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, _text(result)
        return json.loads(_text(result))

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """The sentence of an answer that is an error."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, _text(result)
        return _text(result)


def _text(result: CallToolResult) -> str:
    first = result.content[0]
    assert isinstance(first, TextContent)
    return first.text


@asynccontextmanager
async def assistant(folder: Path, *options: str, mode: str = "auto", **variables: str) -> AsyncIterator[Assistant]:
    """Starts `kalathi mcp OPTIONS` in the folder."""
    server = StdioServerParameters(
        command=sys.executable, args=[*COMMAND, *options], env={"PYTHONPATH": PATH, **variables}, cwd=folder
    )
    async with asyncio.timeout(60), Client(server, mode=mode) as client:
        yield Assistant(client)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_assistant_finds_the_webhook_and_the_refused_call_of_an_order(tmp_path: Path, mode: str) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(f"{shop.address}/")
        code = await caller.cart(shop_id)
        to = ("--url", market.address)
        async with assistant(tmp_path, *to, mode=mode, KALATHI_OPERATOR_TOKEN=OPERATOR_TOKEN) as helper:
            ended = await helper.call("list_deliveries", subject=code, state="ended", wait=20)
            [delivery] = ended["deliveries"]
            shown = await helper.call("show_delivery", id=delivery["id"])
            assert shown["body"]["order"]["code"] == code
            assert [attempt["status"] for attempt in shown["attempts"]] == [200]

            assert (await caller.merchant(token, "POST", f"{code}/accept", {}))[0] == 422
            [call] = (await helper.call("list_requests", subject=code, status="4xx"))["requests"]
            request = (await helper.call("show_request", id=call["id"]))["request"]
            assert (request["call"], request["status"], request["shop_id"]) == ("accept", 422, shop_id)
            assert token not in str(request)
            traffic = (await helper.call("show_traffic", subject=code))["traffic"]
            assert {entry["kind"] for entry in traffic} == {"webhook", "call"}

            assert [order["code"] for order in (await helper.call("list_orders", state="open"))["orders"]] == [code]
            assert (await helper.call("show_order", code=code))["order"]["state"] == "open"
            assert (await helper.call("list_returns"))["returns"] == []
            [listed] = (await helper.call("list_shops"))["shops"]
            assert (await helper.call("show_shop", shop_id=listed["id"]))["shop"]["id"] == shop_id
            [listing] = (await helper.call("list_listings", shop_id=shop_id))["listings"]
            assert listing["shop_uid"] == "A"
            assert (await helper.call("show_faults"))["rules"] == []
            assert "now" in await helper.call("show_clock")
            names = {scenario["name"] for scenario in (await helper.call("list_scenarios"))["scenarios"]}
            assert "late_cancellation" in names
            assert (await helper.call("show_scenario", name="late_cancellation"))["steps"]
            [*_, found] = (await helper.call("search_docs", query="late cancellation"))["sections"]
            assert (await helper.call("read_docs", page=found["page"], offset=found["offset"]))["text"]


async def test_a_list_waits_for_its_entries(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        async with assistant(tmp_path, "--url", market.address, "--token", OPERATOR_TOKEN) as helper:
            waiting = asyncio.create_task(helper.call("list_orders", shop_id=shop_id, wait=30))
            # Other calls are answered while one waits.
            assert (await helper.call("list_orders"))["orders"] == []
            assert not waiting.done()
            code = await caller.cart(shop_id)
            assert [order["code"] for order in (await waiting)["orders"]] == [code]


async def test_without_write_no_tool_changes_the_marketplace(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        before = await _now(caller)
        async with assistant(tmp_path, "--url", market.address, "--token", OPERATOR_TOKEN) as helper:
            tools = {tool.name: tool for tool in (await helper.client.list_tools()).tools}
            assert not WRITING & set(tools)
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
            for name, arguments in (
                ("play_scenario", {"name": "new_order", "shop_id": shop_id}),
                ("move_clock", {"advance_seconds": 3600}),
                ("set_faults", {"rules": [{"on": "api", "kind": "error"}]}),
                ("set_shop_faults", {"shop_id": shop_id, "rules": [{"on": "api", "kind": "error"}]}),
                ("clear_faults", {}),
                ("clear_shop_faults", {"shop_id": shop_id}),
                ("resend_delivery", {"id": "x"}),
            ):
                sentence = await helper.refusal(name, **arguments)
                assert "read-only" in sentence
                assert "kalathi mcp --write" in sentence
            assert "read-only" in (helper.client.instructions or "")
        assert (await caller.operate("GET", "/marketplace/faults"))["rules"] == []
        assert (await caller.operate("GET", "/marketplace/orders"))["orders"] == []
        assert await _now(caller) - before < timedelta(hours=1)


async def _now(caller: Caller) -> datetime:
    return datetime.fromisoformat((await caller.operate("GET", "/marketplace/clock"))["now"])


async def test_with_write_an_assistant_plays_moves_breaks_and_resends(tmp_path: Path) -> None:
    async with endpoint() as shop, running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(f"{shop.address}/")
        async with assistant(tmp_path, "--url", market.address, "--token", OPERATOR_TOKEN, "--write") as helper:
            tools = {tool.name: tool for tool in (await helper.client.list_tools()).tools}
            writing = {name for name, tool in tools.items() if tool.annotations and not tool.annotations.read_only_hint}
            assert writing == WRITING
            played = await helper.call(
                "play_scenario", name="new_order", shop_id=shop_id, set={"order.comments": "Ring twice"}
            )
            [order] = played["orders"]
            assert (await helper.call("show_order", code=order["code"]))["order"]["comments"] == "Ring twice"
            await until(lambda: len(shop.bodies) == 1)
            ended = await helper.call("list_deliveries", state="ended", wait=20)
            assert await helper.call("resend_delivery", id=ended["deliveries"][0]["id"]) == {"resent": 1}
            await until(lambda: len(shop.bodies) == 2)

            before = (await helper.call("show_clock"))["now"]
            assert (await helper.call("move_clock", advance_seconds=86_400))["now"][:10] > before[:10]
            rule = {"on": "api", "kind": "error", "status": 502}
            assert (await helper.call("set_faults", seed=7, rules=[rule]))["seed"] == 7
            assert len((await helper.call("show_faults"))["rules"]) == 1
            assert (await helper.call("clear_faults"))["rules"] == []
            await helper.call("set_shop_faults", shop_id=shop_id, rules=[rule])
            assert len((await helper.call("show_shop_faults", shop_id=shop_id))["rules"]) == 1
            assert (await helper.call("clear_shop_faults", shop_id=shop_id))["rules"] == []

            # The marketplace's own refusals reach the assistant.
            assert "Shop not found" in await helper.refusal("play_scenario", name="new_order", shop_id="unknown")
            assert "advance_seconds or now" in await helper.refusal("move_clock")


async def test_wrong_arguments_and_unknown_tools_get_a_sentence(tmp_path: Path) -> None:
    async with (
        running(tmp_path, *serve(tmp_path)) as market,
        assistant(tmp_path, "--url", market.address, "--token", OPERATOR_TOKEN) as helper,
    ):
        assert (await helper.refusal("list_orders", per="many")).startswith("per: 'many' is not of type 'integer'")
        assert "'nonsense' was unexpected" in await helper.refusal("list_orders", nonsense=1)
        assert "'code' is a required property" in await helper.refusal("show_order")
        assert "does not match" in await helper.refusal("show_order", code="..")
        assert "Order not found" in await helper.refusal("show_order", code="261128-1")
        assert "The tools are list_shops" in await helper.refusal("delete_everything")
        assert "did you mean" in await helper.refusal("show_scenario", name="late_cancelation")
        # An argument that is null counts as not given.
        assert (await helper.call("list_orders", state=None))["orders"] == []


async def test_a_large_order_is_cut_to_a_bounded_answer(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, _ = await caller.shop(None)
        played = await caller.operate("POST", "/marketplace/scenarios/hundred_lines", {"shop_id": shop_id})
        async with assistant(tmp_path, "--url", market.address, "--token", OPERATOR_TOKEN) as helper:
            result = await helper.client.call_tool("show_order", {"code": played["orders"][0]["code"]})
            assert len(_text(result)) <= MOST_CHARACTERS
            [_, note] = result.content
            assert isinstance(note, TextContent)
            assert "order.line_items (100 entries" in note.text


async def test_a_marketplace_that_does_not_run_is_a_sentence_until_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "market"
    async with assistant(tmp_path, "--data", str(folder)) as helper:
        sentence = await helper.refusal("list_orders")
        assert f"No running marketplace is known in the folder {folder}. Start `kalathi serve --data" in sentence
        # The marketplace makes a token and keeps it in its folder.
        own_token = (*serve(folder), "--operator-token", "")
        async with running(folder, *own_token) as market:
            assert (await helper.call("list_orders"))["orders"] == []
        sentence = await helper.refusal("list_orders")
        assert f"The marketplace at {market.address} does not answer" in sentence
        assert "Is `kalathi serve` running?" in sentence
        async with running(folder, *own_token):
            assert (await helper.call("list_orders"))["orders"] == [], "also at another port"
        assert (await helper.call("search_docs", query="clock"))["sections"], "needs no marketplace"


async def test_an_address_of_another_program_is_a_sentence(tmp_path: Path) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with served(page) as address, assistant(tmp_path, "--url", address, "--token", "t") as helper:
        sentence = await helper.refusal("list_orders")
        assert sentence == f"{address} does not answer as a marketplace of Kalathi. Is this its address?"


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
WAIT = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "list_orders", "arguments": {"wait": 50}},
}
CLOCK = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "show_clock", "arguments": {}}}


async def _start(*arguments: str, stdout: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment | {"PYTHONPATH": PATH},
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


def _send(process: asyncio.subprocess.Process, *messages: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


async def _receive(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    return json.loads(await process.stdout.readline())


@pytest.mark.parametrize("end", ["eof", signal.SIGTERM, signal.SIGINT])
async def test_the_server_ends_cleanly_while_a_call_waits(tmp_path: Path, end: signal.Signals | str) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, asyncio.timeout(30):
        process = await _start(*COMMAND, "--url", market.address, "--token", OPERATOR_TOKEN)
        _send(process, INITIALIZE)
        assert (await _receive(process))["result"]["serverInfo"]["name"] == "kalathi"
        _send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"}, WAIT, CLOCK)
        assert (await _receive(process))["id"] == 3, "the other call still waits"
        if isinstance(end, signal.Signals):
            process.send_signal(end)
            rest, error = await process.communicate()
        else:
            rest, error = await process.communicate(b"")
        assert process.returncode == 0
        assert all(json.loads(line)["id"] == 2 for line in rest.splitlines()), "only the protocol is on the output"
        assert error == b""


async def test_the_server_ends_when_its_client_no_longer_reads(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    async with asyncio.timeout(30):
        process = await _start(*COMMAND, "--data", str(tmp_path), stdout=writing)
        os.close(writing)
        _send(process, INITIALIZE)
        assert await process.wait() == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b""


async def test_without_the_extra_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    # A module that is None in this table cannot be imported.
    program = "import sys; sys.modules['mcp'] = None; from kalathi.cli import main; main(['mcp'])"
    process = await _start("-c", program)
    async with asyncio.timeout(30):
        out, error = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert error.decode() == (
        "kalathi: the MCP server needs the package mcp, version 2, which is not installed. Install it:"
        f' {sys.executable} -m pip install "{_extra()}"\n'
    )


def _extra() -> str:
    """The package of the extra, with its versions."""
    [package] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["mcp"]
    return str(package)


async def test_the_documented_configurations_start_the_server(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "mcp.md").read_text("utf-8")
    assert f'pip install "{_extra()}"' in page
    configured = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    configured += [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    servers = [entry["kalathi"] for content in configured for entry in content.values()]
    commands = [(Path(server["command"]).name, *server["args"]) for server in servers]
    [line] = re.findall(r"^claude mcp add kalathi -- (.*)$", page, re.MULTILINE)
    commands.append(("kalathi", *line.split()[1:]))
    assert len(commands) == 5
    local = ("kalathi", "mcp", "--data", "/home/eleni/shop/kalathi-data")
    assert set(commands) == {local, ("kalathi", "mcp", "--url", "https://market.example")}
    [remote] = [server for server in servers if "env" in server]
    assert set(remote["env"]) == {"KALATHI_OPERATOR_TOKEN"}
    async with assistant(tmp_path, *local[2:]) as helper:
        assert "/home/eleni/shop/kalathi-data" in await helper.refusal("list_orders")


async def test_a_person_at_a_terminal_is_sent_to_the_page(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *COMMAND,
        env=os.environ | {"PYTHONPATH": PATH},
        cwd=tmp_path,
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(theirs)
    async with asyncio.timeout(30):
        assert process.stderr is not None
        assert b"docs/mcp.md" in await process.stderr.readline()
        os.close(ours)
        assert (await process.communicate())[0] == b""
    assert process.returncode == 0


async def test_a_wrong_address_is_an_error_at_the_start() -> None:
    process = await _start(*COMMAND, "--url", "localhost:8090")
    async with asyncio.timeout(30):
        _, error = await process.communicate()
    assert process.returncode == 1
    assert b"must begin with http" in error
