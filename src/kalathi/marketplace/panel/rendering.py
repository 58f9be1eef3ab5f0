"""Rendering of templates: one environment per language. All values are escaped, and an undefined name is an error."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from msgspec import UNSET

from kalathi.marketplace.kernel.actors import read_actor
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import Refusal
from kalathi.marketplace.kernel.targets import mask_url
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.charts import Series, draw_bars, draw_columns, draw_lines
from kalathi.marketplace.panel.form_names import name_form
from kalathi.marketplace.panel.languages import NAMES, Language, Words, words_of
from kalathi.marketplace.panel.permitted_forms import PermittedForms
from kalathi.marketplace.panel.refusal_texts import render_reason
from kalathi.marketplace.panel.roles import role_of_form
from kalathi.marketplace.panel.sign_in.sessions import Visitor

_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file of the pages."""

    content: bytes
    media_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """Return all assets by name."""
    files = sorted((resources.files(__package__) / "assets").iterdir(), key=lambda file: file.name)
    return {file.name: Asset(file.read_bytes(), _TYPES[PurePath(file.name).suffix]) for file in files}


@cache
def assets_version() -> str:
    """Return the version in every asset's URL. It changes with their content, so browsers may cache assets forever.
    Modules import each other by relative URLs, so all assets share one version."""
    digest = hashlib.sha256(b"".join(entry.content for entry in assets().values()))
    return digest.hexdigest()[:12]


def asset_url(name: str) -> str:
    """Return the URL of an asset. Raises KeyError for an unknown name."""
    if name not in assets():
        raise KeyError(name)
    return f"/assets/{assets_version()}/{name}"


def render(template: str, language: Language, content: Mapping[str, Any]) -> bytes:
    """Render a page as UTF-8."""
    return _environment(language).get_template(template).render(content).encode()


def local(url: object) -> str:
    """Return the path of one of our addresses, for a link of a page: never another host."""
    parts = urlsplit(str(url))
    return quote(parts.path, safe="/%") + (f"?{parts.query}" if parts.query else "")


@cache
def _environment(language: Language) -> Environment:
    words = words_of(language)
    environment = Environment(
        loader=PackageLoader("kalathi.marketplace.panel"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do", PermittedForms],
        auto_reload=False,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # The extension adds it.
        words.text, words.count, newstyle=True
    )
    environment.filters |= _list_filters(words)
    environment.globals |= {
        "asset_url": asset_url,
        "modules": [name for name in assets() if name.endswith(".js")],
        "languages": [(other.value, NAMES[other]) for other in Language],
        "query_of": _query_of,
        "may": _may,
        "draw_columns": lambda labels, *series: draw_columns(labels, [Series(*entry) for entry in series]),
        "draw_lines": lambda labels, *series: draw_lines(labels, [Series(*entry) for entry in series]),
        "draw_bars": draw_bars,
    }
    return environment


def _list_filters(words: Words) -> dict[str, Callable[..., Any]]:
    return {
        "money": lambda amount: words.money(Decimal(amount)),
        "whole": words.whole,
        "moment": lambda moment: _time(moment, words.moment),
        "instant": lambda moment: _time(moment, words.instant),
        "day": words.day,
        "window": words.window,
        "local": local,
        # For sentences from outside the template: the template's own function would format percent signs in them.
        "translate": lambda reason: render_reason(reason, words),
        # The kind of a refusal, for programs and tests that read the page.
        "kind": lambda reason: type(reason).__name__ if isinstance(reason, Refusal) else "",
        "done_text": lambda word: words.text(wording.DONE[word]),
        "masked": lambda url: mask_url(url) if url else "",
        "actor": lambda text: _name_actor(text, words),
        "form_action": lambda action: words.text(name_form(action)),
        "given": lambda value, other="": other if value is UNSET or value is None else value,
        "counted": lambda word, kind, number: words.count(*2 * (wording.COUNTED[kind][word],), number),
        "words": lambda word, kind: words.text(wording.KINDS[kind].get(str(word), str(word))),
    }


def _name_actor(text: str, words: Words) -> str:
    """Return the actor of a stored text in the reader's language; empty for none."""
    actor = read_actor(text)
    if actor is None:
        return ""
    kind = words.text(wording.KINDS["actor"][actor.kind])
    return f"{actor.name} ({kind})" if actor.name else kind


def _may(visitor: Visitor | None, path: object) -> bool:
    """Whether the visitor may send the form with this address."""
    return visitor is None or visitor.role.covers(role_of_form(str(path).partition("?")[0]))


def _time(moment: datetime | None, written: Callable[[datetime], str]) -> Markup:
    if moment is None:
        return Markup("–")
    shown = athens(moment)
    return Markup('<time datetime="{}">{}</time>').format(shown.isoformat(), written(shown))


def _query_of(query: Mapping[str, str], **changed: object) -> Markup:
    """Return the current query with changed values, for a link. None removes a value."""
    kept = {name: value for name, value in query.items() if name not in {*changed, "done", "language"}}
    kept |= {name: str(value) for name, value in changed.items() if value is not None}
    return escape("?" + urlencode(kept))
