"""The description of the marketplace's calls, as JSON and as HTML.

The first request renders each of them from the OpenAPI document and the recorded examples. The page loads no other
resources and needs no script. In a sandbox, each call has a form that tries it (`trying.py`).
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

from kalathi.contract.codec import encode
from kalathi.marketplace.api.examples import Example

_STYLE: Final = (
    ":root{color-scheme:light dark;--line:#8886;--code:#8881;--accent:#9a4310}"
    "@media (prefers-color-scheme:dark){:root{--accent:#f0a06a}}"
    "body{background:Canvas;color:CanvasText;font:16px/1.55 system-ui,sans-serif}"
    "body{max-width:62rem;margin:0 auto;padding:1rem}"
    "a,summary code{color:var(--accent)}code,pre,textarea,input{font:14px/1.45 ui-monospace,monospace}"
    "code{overflow-wrap:anywhere}pre{background:var(--code);padding:.7rem;overflow:auto;max-height:26rem}"
    "nav ul{columns:2 16rem;padding-left:1.2rem}"
    "details{border:1px solid var(--line);border-radius:8px;margin:.5rem 0;padding:0 .9rem;overflow-x:auto}"
    "summary{cursor:pointer;padding:.6rem 0}details details{margin:.8rem 0}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;"
    "border-bottom:1px solid var(--line)}label{display:block;margin:.6rem 0}"
    "input,textarea{display:block;width:100%;box-sizing:border-box;padding:.4rem}"
    "button{font:inherit;padding:.5rem 1.2rem;margin:.3rem 0 .9rem;cursor:pointer}.status{font-weight:700}"
    ".columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 1.5rem}"
    ".columns>*{min-width:0}"
)

# Nothing is loaded and nothing runs; the one style is the page's own, known by its hash (W3C CSP level 3, 2.3.1).
POLICY: Final = (
    "default-src 'none'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
_REF: Final = "#/components/schemas/"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
# Calls that a form cannot make: a browser sends files in another way, and a socket is no call.
_NO_TRIAL: Final = frozenset({"multipart/form-data"})


class ApiDescription:
    """The document and the page as bytes."""

    def __init__(
        self,
        make: Callable[[], dict[str, Any]],
        load_examples: Callable[[], Mapping[tuple[str, str], Example]],
        *,
        can_try: bool,
    ) -> None:
        """`make` returns the OpenAPI document and `load_examples` the examples by method and path; each is called once.
        With `can_try`, the page has forms that try the calls."""
        self._make = make
        self._load_examples = load_examples
        self._can_try = can_try

    @cached_property
    def document(self) -> bytes:
        """OpenAPI 3.1, in JSON."""
        return encode(self._content)

    @cached_property
    def page(self) -> bytes:
        """HTML in UTF-8."""
        return _Page(self._content, self._load_examples(), can_try=self._can_try).render().encode()

    @cached_property
    def _content(self) -> dict[str, Any]:
        return self._make()


def render_trial(method: str, target: str, status: int, headers: list[tuple[str, str]], body: str) -> str:
    """Render the answer to a tried call."""
    shown = "\n".join(f"{name}: {value}" for name, value in headers)
    return _frame(
        f"{method} {target}",
        f'<p><a href="/docs">All calls</a></p><h1><code>{html.escape(method)} {html.escape(target)}</code></h1>'
        f'<p>Status <span class="status">{status}</span></p><h2>Headers</h2><pre>{html.escape(shown)}</pre>'
        f"<h2>Body</h2><pre>{html.escape(_pretty(body))}</pre>",
    )


class _Page:
    def __init__(self, document: dict[str, Any], examples: Mapping[tuple[str, str], Example], *, can_try: bool) -> None:
        self._document = document
        self._schemas = document["components"]["schemas"]
        self._examples = examples
        self._can_try = can_try

    def render(self) -> str:
        """Return the whole page: contents, a section for each kind of caller with a fold for each call, schemas."""
        sections: dict[str, list[str]] = {}
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                sections.setdefault(operation["tags"][0], []).append(self._call(method.upper(), path, operation))
        contents = "".join(
            f'<li><a href="#{_anchor(tag)}">{html.escape(tag)}</a> ({len(calls)})</li>'
            for tag, calls in sections.items()
        )
        parts = [
            f'<h2 id="{_anchor(tag)}">{html.escape(tag)}</h2>{self._about(tag)}{"".join(calls)}'
            for tag, calls in sections.items()
        ]
        schemas = "".join(
            f'<details id="{html.escape(name)}"><summary><code>{html.escape(name)}</code> '
            f"{html.escape(schema.get('description', '').partition(chr(10))[0])}</summary>{self._fields(schema)}"
            f"<details><summary>Schema</summary>{_json(schema)}</details></details>"
            for name, schema in self._schemas.items()
        )
        info = self._document["info"]
        return _frame(
            f"{info['title']}: calls",
            f"<h1>{html.escape(info['title'])}: calls</h1><p>{html.escape(info['summary'])} The same for machines: "
            f'<a href="/openapi.json">/openapi.json</a>.</p><nav aria-label="Contents"><ul>{contents}'
            f'<li><a href="#schemas">Schemas</a></li></ul></nav>{"".join(parts)}<h2 id="schemas">Schemas</h2>{schemas}',
        )

    def _about(self, tag: str) -> str:
        """Return the sentence about the token and the headers of a section's calls."""
        for methods in self._document["paths"].values():
            for operation in methods.values():
                if operation["tags"][0] == tag and "security" in operation:
                    [name] = operation["security"][0]
                    scheme = self._document["components"]["securitySchemes"][name]
                    return f"<p><code>Authorization: Bearer TOKEN</code>. {html.escape(scheme['description'])}</p>"
        return ""

    def _call(self, method: str, path: str, operation: dict[str, Any]) -> str:
        example = self._examples.get((method, path))
        body = operation.get("requestBody", {}).get("content", {})
        schema = next((content["schema"] for content in body.values()), None)
        rows = "".join(
            f"<tr><th scope=row>{status}</th><td>{html.escape(answer['description'])}</td></tr>"
            for status, answer in operation["responses"].items()
        )
        parts = [
            f"<p>{html.escape(operation['summary'])}</p>",
            self._parameters(operation.get("parameters", [])),
            f"<h4>Body</h4>{self._fields(schema)}" if schema else "",
            _render_example(method, example) if example else "",
            f"<h4>Statuses</h4><table>{rows}</table>",
            self._trial(method, path, operation, example) if self._can_try and not _NO_TRIAL & body.keys() else "",
        ]
        first = html.escape(operation["summary"].partition(". ")[0])
        return (
            f'<details id="{_anchor(method + path)}">'
            f"<summary><code>{method} {html.escape(path)}</code> {first}</summary>{''.join(parts)}</details>"
        )

    def _parameters(self, parameters: list[dict[str, Any]]) -> str:
        rows = "".join(
            f"<tr><th scope=row><code>{html.escape(entry['name'])}</code></th><td>{entry['in']}</td>"
            f"<td>{html.escape(self._name_type(entry['schema']))}</td>"
            f"<td>{html.escape(entry.get('description', ''))}</td></tr>"
            for entry in parameters
        )
        head = "<tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>"
        return f"<h4>Parameters</h4><table>{head}{rows}</table>" if rows else ""

    def _fields(self, schema: Any) -> str:
        """Return the members of an object, or its type."""
        found = self._resolve(schema)
        if found.get("type") == "array":
            return f"<p>A list of:</p>{self._fields(found.get('items', {}))}"
        members = found.get("properties")
        if not members:
            return f"<p>{html.escape(self._name_type(schema))}</p>"
        needed = set(found.get("required", ()))
        rows = "".join(
            f"<tr><th scope=row><code>{html.escape(name)}</code></th><td>{self._link_type(member)}</td>"
            f"<td>{'needed' if name in needed else ''}</td>"
            f"<td>{html.escape(str(member.get('description', '')))}</td></tr>"
            for name, member in members.items()
        )
        return f"<table><tr><th>Member</th><th>Type</th><th></th><th>Meaning</th></tr>{rows}</table>"

    def _resolve(self, schema: Any) -> dict[str, Any]:
        name = schema.get("$ref", "").removeprefix(_REF)
        found: dict[str, Any] = self._schemas[name] if name else schema
        return found

    def _name_type(self, schema: Any) -> str:
        if "$ref" in schema:
            return str(schema["$ref"]).removeprefix(_REF)
        if "anyOf" in schema:
            return " or ".join(self._name_type(entry) for entry in schema["anyOf"])
        if "enum" in schema:
            return ", ".join(str(word) for word in schema["enum"])
        if schema.get("type") == "array":
            return f"list of {self._name_type(schema.get('items', {}))}"
        return str(schema.get("format") or schema.get("type") or "any")

    def _link_type(self, schema: Any) -> str:
        text = html.escape(self._name_type(schema))
        names = sorted({name for name in re.findall(r"\w+", text) if name in self._schemas}, key=len, reverse=True)
        for name in names:
            text = re.sub(rf"\b{name}\b(?![^<]*>)", f'<a href="#{name}">{name}</a>', text)
        return text

    def _trial(self, method: str, path: str, operation: dict[str, Any], example: Example | None) -> str:
        fields = "".join(
            f'<label>{html.escape(name)} <input name="part_{html.escape(name)}" required maxlength="200"></label>'
            for name in _PARAMETER.findall(path)
        )
        if any(entry["in"] == "query" for entry in operation.get("parameters", [])):
            fields += '<label>Query, such as page=1 <input name="query" maxlength="500"></label>'
        if "requestBody" in operation:
            text = html.escape(example.body) if example else ""
            fields += f'<label>Body (JSON) <textarea name="body" rows="8" spellcheck="false">{text}</textarea></label>'
        if "security" in operation:
            fields += (
                '<label>Token <input type="password" name="token" autocomplete="off" required maxlength="200"></label>'
            )
        known = {"method": method, "path": html.escape(path)}
        hidden = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in known.items())
        return (
            f'<details><summary>Try it in this sandbox</summary><form method="post" action="/docs/try">{hidden}{fields}'
            "<button>Send</button></form></details>"
        )


def _render_example(method: str, example: Example) -> str:
    asked = f"{method} {example.target}" + (f"\n\n{example.body}" if example.body else "")
    return (
        f'<div class="columns"><div><h4>Example</h4><pre>{html.escape(asked)}</pre></div>'
        f"<div><h4>Answer</h4><pre>{html.escape(example.answer)}</pre></div></div>"
    )


def _frame(title: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="/favicon.ico">'
        f"<style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        return body


def _json(value: Any) -> str:
    return f"<pre>{html.escape(json.dumps(value, ensure_ascii=False, indent=2))}</pre>"
