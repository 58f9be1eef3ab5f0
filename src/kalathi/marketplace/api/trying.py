"""`POST /docs/try`: a call that is tried from the page of the API, in a sandbox.

The form's call goes through the whole marketplace, as if it came from outside, with the token of the form and nothing
else of the browser. A form of another site gains nothing: it would need a token.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kalathi.marketplace.api.description import PAGE_HEADERS
from kalathi.marketplace.api.docs_page import render_trial
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.request_log.log import REQUEST_ID
from kalathi.marketplace.web.bodies import read_body
from kalathi.marketplace.web.reply import Reply, error_reply

TRY_PATH: Final = "/docs/try"
_MOST_BYTES: Final = 262_144
_MOST_FIELDS: Final = 20
_MOST_SHOWN: Final = 200_000
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_PASSED_KEYS: Final = frozenset({"type", "asgi", "http_version", "scheme", "server", "client"})
# The headers of the visitor that the tried call has too, so that limits count for the right address.
_PASSED: Final = frozenset({b"host", b"x-forwarded-for", b"forwarded"})


class Trial:
    """Answers `POST /docs/try`, as an ASGI application in front of the marketplace's own."""

    def __init__(self, inner: ASGIApp, routes: Iterable[tuple[str, str]], vendor: str) -> None:
        """`routes` are the calls by method and path."""
        self._inner = inner
        self._routes = frozenset(routes)
        self._accept = f"application/vnd.{vendor}+json; version=3.0".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the call of the form, and answer with a page."""
        try:
            reply = await self._answer(scope, receive)
        except DomainError as error:
            reply = error_reply(error)
        await reply(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            raise DomainError(ErrorCode.METHOD_NOT_ALLOWED, "Send the form of /docs.", allowed=["POST"])
        length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        form = _read(await read_body(receive, length, _MOST_BYTES))
        method, pattern = form.get("method", ""), form.get("path", "")
        if (method, pattern) not in self._routes:
            raise DomainError(ErrorCode.NOT_FOUND, "There is no such call.")
        path = _PARAMETER.sub(lambda found: form.get(f"part_{found[1]}", "").strip() or "-", pattern)
        query, body = form.get("query", "").strip().lstrip("?"), form.get("body", "").strip()
        headers = [(name, value) for name, value in scope["headers"] if name in _PASSED]
        headers += [(b"accept", self._accept), (b"content-length", str(len(body.encode())).encode())]
        if body:
            headers.append((b"content-type", b"application/json"))
        if token := form.get("token", "").strip():
            headers.append((b"authorization", b"Bearer " + token.encode("latin-1", "replace")))
        asked = {
            **{name: value for name, value in scope.items() if name in _PASSED_KEYS},
            "method": method,
            "path": path,
            "raw_path": quote(path).encode(),
            "root_path": "",
            "query_string": quote(query, safe="=&%+,:/").encode(),
            "headers": headers,
            REQUEST_ID: scope.get(REQUEST_ID, b""),
        }
        answer = await _call(self._inner, asked, body.encode())
        target = path + (f"?{query}" if query else "")
        page = render_trial(method, target, answer.status, answer.headers, answer.text())
        return Reply(200, page.encode(), PAGE_HEADERS)


class _Answer:
    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = message.get("headers", ())
            self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
        elif message["type"] == "http.response.body" and len(self.body) < _MOST_SHOWN:
            self.body += message.get("body", b"")

    def text(self) -> str:
        kind = dict(self.headers).get("content-type", "")
        if not kind.startswith(("application/json", "text/", "application/x-ndjson")):
            return f"({len(self.body)} bytes of {kind or 'no type'})"
        return self.body[:_MOST_SHOWN].decode("utf-8", "replace")


async def _call(inner: ASGIApp, scope: Scope, body: bytes) -> _Answer:
    answer = _Answer()

    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if parts:
            return parts.pop()
        # Nothing comes after the body. Calls that wait for it, such as one with `wait`, must not run in circles.
        await asyncio.Event().wait()
        raise AssertionError

    await inner(scope, receive, answer.send)
    return answer


def _read(content: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise DomainError(ErrorCode.UNREADABLE_BODY, "The form cannot be read.") from None
