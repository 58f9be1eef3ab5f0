"""The tools of the MCP server: their table, bounded answers, and the pages of the documentation."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp_types import TextContent

from kalathi.marketplace.api.routes import ROUTES
from kalathi.mcp_server.answers import MOST_CHARACTERS, render_answer
from kalathi.mcp_server.pages import PIECE_CHARACTERS, find_folder, load_pages, search_pages, sections_of
from kalathi.mcp_server.server import make_server
from kalathi.mcp_server.tool import USUAL_ENTRIES, Arguments, Tool, ToolError
from kalathi.mcp_server.tools import TOOLS

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
BY_NAME = {tool.name: tool for tool in TOOLS}


class FakeOperator:
    """Keeps the calls that a tool makes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any, dict[str, object], float]] = []

    async def call(
        self, method: str, path: str, body: Any = None, *, query: Any = None, seconds: float = 30
    ) -> dict[str, Any]:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        self.calls.append((method, path, body, given, seconds))
        return {}


async def _made_call(name: str, arguments: Arguments) -> tuple[str, str, Any, dict[str, object], float]:
    operator = FakeOperator()
    await BY_NAME[name].run(arguments, operator.call)
    [made] = operator.calls
    return made


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_each_tool_has_a_description_and_a_valid_schema(tool: Tool) -> None:
    Draft202012Validator.check_schema(tool.schema)
    assert tool.schema["type"] == "object"
    assert tool.description.endswith(".")
    assert not re.search(r"`\?|docs/|Raises|  |marketplace/", tool.description), tool.description


async def test_a_tool_that_does_not_write_makes_get_calls_only() -> None:
    required = {"shop_id": "s", "code": "c", "id": "i", "name": "new_order", "query": "order", "page": "README"}
    for tool in TOOLS:
        operator = FakeOperator()
        await tool.run({name: required[name] for name in tool.schema.get("required", [])}, operator.call)
        methods = {method for method, *_ in operator.calls}
        assert tool.writes or methods <= {"GET"}, tool.name
        assert not tool.writes or methods & {"POST", "PUT", "DELETE"}, tool.name


async def test_a_parameter_of_the_route_is_a_parameter_of_the_tool() -> None:
    for name, path in (("list_orders", "/marketplace/orders"), ("list_requests", "/marketplace/requests")):
        [route] = [route for route in ROUTES if (route.method, route.path) == ("GET", path)]
        assert set(BY_NAME[name].schema["properties"]) == {entry.name for entry in route.query}


async def test_arguments_go_to_the_path_the_query_and_the_body() -> None:
    assert await _made_call("list_requests", {"status": "4xx", "wait": 20}) == (
        "GET",
        "/marketplace/requests",
        None,
        {"status": "4xx", "wait": 20, "per": USUAL_ENTRIES},
        30,
    ), "OperatorClient.call adds the wait to the limit"
    assert (await _made_call("show_order", {"code": "a/../b"}))[1] == "/marketplace/orders/a%2F..%2Fb"
    method, path, body, query, seconds = await _made_call(
        "play_scenario", {"name": "new_order", "shop_id": "S", "set": {"order.comments": "x"}}
    )
    assert (method, path, query, seconds) == ("POST", "/marketplace/scenarios/new_order", {}, 600)
    assert body == {"shop_id": "S", "set": {"order.comments": "x"}}
    assert (await _made_call("clear_faults", {}))[2] == {"rules": []}
    assert (await _made_call("resend_delivery", {"id": "S.1.1"}))[2] is None


def test_a_short_answer_is_whole() -> None:
    value = {"orders": [{"code": "261128-1", "comments": "Χαίρετε"}], "meta": None}
    [text] = render_answer(value)
    assert json.loads(text) == value
    assert "Χαίρετε" in text


def test_a_long_text_is_cut_with_a_note() -> None:
    text, note = render_answer({"request": {"body": "x" * 30_000, "status": 404}})
    assert json.loads(text)["request"] == {"body": "x" * 10_000, "status": 404}
    assert "request.body (30000 characters, the first 10000 are shown)" in note


def test_of_a_long_list_both_ends_are_shown() -> None:
    text, note = render_answer({"timeline": list(range(1000))})
    shown = json.loads(text)["timeline"]
    assert shown == [*range(50), "... 900 entries are left out here ...", *range(950, 1000)]
    assert "timeline (1000 entries" in note


@pytest.mark.parametrize(
    "value",
    [
        {"requests": [{"body": "x" * 50_000, "answer": "y" * 50_000}] * 50},
        {"body": {f"member {number}": "x" * 100 for number in range(5000)}},
        [[["x" * 1000] * 50] * 50] * 50,
        {"x" * 100_000: 1},
    ],
    ids=["bodies", "members", "nested", "name"],
)
def test_every_answer_is_bounded(value: Any) -> None:
    text, note = render_answer(value)
    assert len(text) <= MOST_CHARACTERS
    assert len(note) <= 2_000
    assert note.startswith("This answer is cut: ")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("show_order", {"code": "x" * 100_000}),
        ("list_orders", {"per": "x" * 100_000}),
        ("x" * 100_000, {}),
        ("read_docs", {"page": "x" * 100_000}),
    ],
)
async def test_every_error_text_is_bounded(tool: str, arguments: Arguments) -> None:
    async def refuse(method: str, path: str, *_: Any, **__: Any) -> dict[str, Any]:
        raise ToolError(f"{method} {path} was refused. Try another one.")

    async with Client(make_server(refuse, writes=False)) as client:
        answer = await client.call_tool(tool, dict(arguments))
    [content] = answer.content
    assert isinstance(content, TextContent)
    assert answer.is_error
    assert len(content.text) <= 2_100
    assert "characters are left out here" in content.text
    assert content.text[-1] == "."


def test_pages_of_a_checkout_and_of_an_installation_are_found_and_no_other_folder(tmp_path: Path) -> None:
    assert find_folder(ROOT / "src" / "kalathi") == ROOT / "docs"
    installed = tmp_path / "site-packages" / "kalathi"
    (tmp_path / "docs").mkdir()
    (tmp_path / "pyproject.toml").touch()
    installed.mkdir(parents=True)
    assert find_folder(installed) is None
    (installed / "docs").mkdir()
    assert find_folder(installed) == installed / "docs"


def test_the_package_contains_every_page() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "docs" in wheel["only-include"]
    assert wheel["sources"]["docs"] == "kalathi/docs"
    for name in load_pages():
        assert not any(f"docs/{name}".startswith(excluded) for excluded in wheel["exclude"]), name


def test_the_best_section_is_found_for_a_few_words() -> None:
    assert {"contract", "errors", "sandbox", "calls/requests"} <= set(load_pages())
    assert ("sandbox", "The clock") in [(found["page"], found["heading"]) for found in search_pages("move the clock")]
    found = search_pages("order webhook")
    assert "4. Order webhook" in [entry["heading"] for entry in found]
    assert all(entry["excerpt"] for entry in found)
    assert search_pages("xyzzyplugh") == []


def test_a_line_of_a_code_block_is_no_heading() -> None:
    text = "# Page\n\nA text.\n\n```\n# a comment\n```\n\n## Second\nMore.\n"
    sections = list(sections_of("page", text))
    assert [section.heading for section in sections] == ["Page", "Second"]
    assert all(text[section.offset :].startswith("#") for section in sections)
    assert "".join(section.text for section in sections) == text


async def test_an_assistant_reads_the_whole_of_a_long_page_in_pieces() -> None:
    offset, pieces = 0, []
    async with Client(make_server(FakeOperator().call, writes=False)) as client:
        while offset is not None:
            [content] = (await client.call_tool("read_docs", {"page": "contract", "offset": offset})).content
            assert isinstance(content, TextContent)
            answer = json.loads(content.text)
            pieces.append(answer["text"])
            offset = answer["next_offset"]
    assert len(pieces) > 1
    assert all(len(piece) <= PIECE_CHARACTERS for piece in pieces)
    assert "".join(pieces) == load_pages()["contract"]


async def test_an_unknown_page_is_refused_with_the_names_of_all_pages() -> None:
    with pytest.raises(ToolError, match=r"The pages are .*contract"):
        await BY_NAME["read_docs"].run({"page": "../pyproject"}, FakeOperator().call)
