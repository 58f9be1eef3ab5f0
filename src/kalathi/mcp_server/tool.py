"""A tool of the MCP server, and the tools that are made from rows of the route table."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from kalathi.marketplace.api.openapi import summarize
from kalathi.marketplace.api.route import Query
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.web import waiting

# A clock move or a scenario answers after all due jobs have run.
_LONGEST_SECONDS: Final = 600.0
_USUAL_SECONDS: Final = 30.0
# A list of entries with long bodies must fit into one answer.
MOST_ENTRIES: Final = 50
USUAL_ENTRIES: Final = 20
# Sent if the assistant gives no value.
_USUAL_VALUES: Final = {"per": USUAL_ENTRIES}
# Many clients give up after 60 seconds, which is the marketplace's own limit.
LONGEST_WAIT_SECONDS: Final = waiting.LONGEST_WAIT_SECONDS - 10

_PLACE: Final = re.compile(r"{(\w+)}")
_PLACE_SENTENCES: Final = {
    "code": "The code, as the list shows it.",
    "id": "The id, as the list shows it.",
    "shop_id": "The shop's id, as list_shops shows it.",
    "name": "The scenario's name, as list_scenarios shows it.",
}

Schema = dict[str, Any]
Arguments = Mapping[str, Any]


class ToolError(Exception):
    """The tool has no answer. The text is for the assistant."""


class CallOperator(Protocol):
    """One call of the operator's API, as `OperatorClient.call` makes it."""

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, object] | None = None,
        seconds: float = _USUAL_SECONDS,
    ) -> dict[str, Any]:
        """Return the answer. Raises OperatorError."""


class Tool(NamedTuple):
    """One tool.

    `schema` is the JSON schema of its arguments. `run` returns the answer as plain data; it raises ToolError or
    OperatorError. A tool that `writes` needs `--write`. One that only `adds` changes nothing that is already there.
    """

    name: str
    description: str
    schema: Schema
    run: Callable[[Arguments, CallOperator], Awaitable[Any]]
    writes: bool = False
    adds: bool = False


def make_schema(properties: Schema, required: list[str], definitions: Schema | None = None) -> Schema:
    """Return the schema of an object that has these members and no others."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if definitions:
        schema["$defs"] = definitions
    return schema


def schema_of_place(sentence: str) -> Schema:
    """Return the schema of a part of a path. `.` and `..` would be another path."""
    return {"type": "string", "pattern": "[^.]", "maxLength": 200, "description": sentence}


def tool_of_route(
    name: str,
    method: str,
    path: str,
    *,
    fixed_body: Any = None,
    description: str = "",
    writes: bool = False,
    adds: bool = False,
) -> Tool:
    """Return the tool of a call of the operator's API. Its parameters are those of the path, the query and the body.
    Its description is that of the call and of its body. With `fixed_body`, the call always has this body, and
    `description` replaces those of the call and of the body."""
    [route] = [route for route in ROUTES if (route.method, route.path) == (method, path)]
    places = _PLACE.findall(path)
    body: Schema = {} if route.body is None or fixed_body is not None else msgspec.json.schema(route.body)
    definitions: Schema = dict(body.get("$defs", {}))
    members = definitions.pop(body["$ref"].rpartition("/")[2]) if body else {}
    properties: Schema = {place: schema_of_place(_PLACE_SENTENCES[place]) for place in places}
    properties |= {entry.name: _schema_of_query(entry) for entry in route.query}
    properties |= members.get("properties", {})

    async def run(arguments: Arguments, call: CallOperator) -> Any:
        query = {entry.name: arguments.get(entry.name, _USUAL_VALUES.get(entry.name)) for entry in route.query}
        given = {member: arguments[member] for member in members.get("properties", {}) if member in arguments}
        return await call(
            method,
            _PLACE.sub(lambda place: quote(arguments[place[1]], safe=""), path),
            given if members else fixed_body,
            query=query,
            seconds=_LONGEST_SECONDS if writes else _USUAL_SECONDS,
        )

    if fixed_body is None:
        description = " ".join(f"{summarize(route)} {members.get('description', '')}".split())
    schema = make_schema(properties, [*places, *members.get("required", [])], definitions)
    return Tool(name, description, schema, run, writes, adds)


def _schema_of_query(entry: Query) -> Schema:
    schema = msgspec.json.schema(entry.type)
    if "$ref" in schema:  # An enumeration.
        [schema] = schema["$defs"].values()
    if entry.name == "per":
        return {**schema, "maximum": MOST_ENTRIES, "description": f"Results per page; by default {USUAL_ENTRIES}."}
    if entry.name == "wait":
        schema = {**schema, "maximum": LONGEST_WAIT_SECONDS}
    return {**schema, "description": entry.sentence}
