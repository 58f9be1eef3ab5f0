"""The description of the marketplace's calls, as JSON and as HTML.

The first request renders each of them from the OpenAPI document. The page loads no other resources and needs no script.
"""

import base64
import hashlib
import html
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from kalathi.contract.codec import encode

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}"
    "pre{background:#f4f4f4;padding:.7rem;overflow:auto}"
    "details{overflow-x:auto}summary{cursor:pointer;padding:.3rem 0}table{border-collapse:collapse}"
    "td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}"
)


# Nothing is loaded and nothing runs; the one style is the page's own, known by its hash (W3C CSP level 3, 2.3.1).
POLICY: Final = (
    "default-src 'none'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


class ApiDescription:
    """The document and the page as bytes."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        """`make` returns the OpenAPI document. It is called once."""
        self._make = make

    @cached_property
    def document(self) -> bytes:
        """OpenAPI 3.1, in JSON."""
        return encode(self._content)

    @cached_property
    def page(self) -> bytes:
        """HTML in UTF-8."""
        return page(self._content).encode()

    @cached_property
    def _content(self) -> dict[str, Any]:
        return self._make()


def page(document: dict[str, Any]) -> str:
    """Render the document as HTML, with a section for each kind of caller and a fold for each call."""
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            sections.setdefault(operation["tags"][0], []).append(_call(method, path, operation))
    parts = [f"<h2>{html.escape(tag)}</h2>{''.join(calls)}" for tag, calls in sections.items()]
    schemas = "".join(
        f'<details id="{html.escape(name)}"><summary><code>{html.escape(name)}</code> '
        f"{html.escape(schema.get('description', '').partition(chr(10))[0])}</summary>{_json(schema)}</details>"
        for name, schema in document["components"]["schemas"].items()
    )
    title = html.escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: calls</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="/favicon.ico">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f"<p>{html.escape(document['info']['summary'])} The same for machines: "
        f'<a href="/openapi.json">/openapi.json</a>.</p>{"".join(parts)}<h2>Schemas</h2>{schemas}</main></body></html>'
    )


def _call(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{html.escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    asked = {name: operation[name] for name in ("parameters", "requestBody") if name in operation}
    return (
        f"<details><summary><code>{method.upper()} {html.escape(path)}</code> "
        f"{html.escape(operation['summary'])}</summary>{_json(asked) if asked else ''}<table>{rows}</table></details>"
    )


def _json(value: Any) -> str:
    return f"<pre>{html.escape(json.dumps(value, ensure_ascii=False, indent=2))}</pre>"
