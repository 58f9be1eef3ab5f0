"""Crafted requests that imitate a plain local request, over real connections."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import running, serve
from tests.panel.test_open_console import FOREIGN, LOCAL, PATHS, PROXIED

pytestmark = pytest.mark.anyio

_LINES = {
    "HTTP/1.0": "GET {path} HTTP/1.0",
    "the whole address": "GET http://127.0.0.1:{port}{path} HTTP/1.1",
    "another address": "GET http://evil.example{path} HTTP/1.1",
    "two slashes": "GET //127.0.0.1{path} HTTP/1.1",
}


async def _status(port: int, request: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode("latin-1"))
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.transport.abort()
    return int(line.split()[1]) if line else 0


def _request(line: str, headers: list[tuple[str, str]]) -> str:
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in headers), "Connection: close", "", ""])


def _headers(shape: dict[str, Any], port: int) -> list[tuple[str, str]]:
    """The shape's lines, with the port of this marketplace. A second Host is a second line."""
    lines = [("Host", shape["host"]), *shape.get("headers", {}).items()]
    return [(name, value.replace("8090", str(port))) for name, value in lines]


def _of_this_machine(shapes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that a caller on this machine can make; another address of a caller needs another machine."""
    return [shape for shape in shapes if shape.get("client", "127.0.0.1").startswith("127.")]


async def test_no_crafted_request_opens_the_operators_pages(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market:
        port = int(market.address.rpartition(":")[2])
        shapes = [*LOCAL, *(shape for _, shape in FOREIGN), *PROXIED]
        for path in PATHS:
            for shape in _of_this_machine(shapes):
                status = await _status(port, _request(f"GET {path} HTTP/1.1", _headers(shape, port)))
                assert status in {303, 400}, (path, shape)
            for name, line in _LINES.items():
                request = _request(line.format(path=path, port=port), [("Host", f"127.0.0.1:{port}")])
                assert await _status(port, request) in {303, 400, 404}, (path, name)
        for line in ("GET / HTTP/1.1", "GET / HTTP/1.0"):
            assert await _status(port, _request(line, [])) in {303, 400}


async def test_an_open_console_answers_only_plain_local_requests(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path, "--open-console")) as market:
        port = int(market.address.rpartition(":")[2])
        for path in PATHS:
            for shape in _of_this_machine(LOCAL):
                assert await _status(port, _request(f"GET {path} HTTP/1.1", _headers(shape, port))) == 200, shape
            for reason, shape in FOREIGN:
                if _of_this_machine([shape]):
                    status = await _status(port, _request(f"GET {path} HTTP/1.1", _headers(shape, port)))
                    assert status in {303, 400}, (path, reason)
            assert await _status(port, _request(f"GET {path} HTTP/1.0", [])) in {303, 400}
