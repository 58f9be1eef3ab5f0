"""The curl command of a call repeats the call: with the same target, headers and body."""

import asyncio
import shutil

import pytest

from kalathi.curl import render_curl

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
TARGETS = [
    "/merchants/ecommerce/orders",
    "/merchants/ecommerce/orders?codes[]=1&codes[]=2",
    "/merchants/ecommerce/orders?code={a,b}",
    "/merchants/ecommerce/orders/../orders",
    "/merchants/ecommerce/orders/%2E%2e/orders",
    "/merchants/ecommerce/orders/.?state=open",
    "/merchants/ecommerce/orders/..",
    "/merchants/ecommerce/orders?note='$TOKEN'",
]


async def _send(method: str, target: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
    """Run the command in a shell. Return the request line, the headers and the body that arrive."""
    requests: list[tuple[str, dict[str, str], str]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        received = {name.lower(): value for name, value in (entry.split(": ", 1) for entry in lines)}
        content = (await reader.readexactly(int(received.get("content-length", 0)))).decode()
        requests.append((line, received, content))
        # The answer to HEAD has a length but no body.
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + (b"" if method == "HEAD" else b"{}"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{target}"
        command = render_curl(url, method, headers, body, separator=" \\\n  ")
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f"TOKEN=secret; {command} -s -m 10"), stdout=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0, command
    [request] = requests
    return request


@pytest.mark.skipif(not shutil.which("curl"), reason="the commands need curl, and this machine has none")
async def test_the_command_repeats_the_call() -> None:
    for target in TARGETS:
        line, headers, _ = await _send("GET", target, {}, "")
        assert line == f"GET {target} HTTP/1.1"
        assert headers["authorization"] == "Bearer secret"
    line, headers, body = await _send("POST", "/x", JSON | {"content-encoding": "gzip"}, '@{"a": "it\'s"}\n')
    assert (line, body) == ("POST /x HTTP/1.1", '@{"a": "it\'s"}\n')
    assert (headers["content-type"], headers["content-encoding"]) == ("application/json", "gzip")
    _, headers, _ = await _send("POST", "/x", {}, "{}")
    assert "content-type" not in headers
    line, _, _ = await _send("HEAD", "/x", JSON, "")
    assert line == "HEAD /x HTTP/1.1"


def test_a_comment_before_the_command_says_that_the_body_is_not_whole() -> None:
    assert render_curl("http://x/", "PUT", JSON, "{}").startswith("curl -i -X PUT http://x/ ")
    comment, command = render_curl("http://x/", "PUT", JSON, "{", is_whole=False).split("\n")
    assert comment == "# The body was cut off."
    assert command.endswith(" --data-raw '{'")
    comment, command = render_curl("http://x/", "HEAD", JSON, "{}").split("\n")
    assert comment.startswith("# The body was left out")
    assert "--data-raw" not in command
