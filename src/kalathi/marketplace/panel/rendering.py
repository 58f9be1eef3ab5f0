"""Templates into HTML: one environment a language, everything escaped, and a name that is not there is an error."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from msgspec import UNSET

from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.targets import mask_url
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.languages import NAMES, Language, words_of
from kalathi.marketplace.panel.refusals import render_reason

ASSETS: Final[Mapping[str, str]] = {
    "kalathi.css": "text/css; charset=utf-8",
    "kalathi.js": "text/javascript; charset=utf-8",
    "basket.svg": "image/svg+xml",
}


@cache
def asset(name: str) -> bytes:
    """The bytes of an asset."""
    return (resources.files(__package__) / "assets" / name).read_bytes()


@cache
def asset_url(name: str) -> str:
    """Its address, which changes with its content, so that browsers may keep it for ever."""
    return f"/assets/{name}?v={hashlib.sha256(asset(name)).hexdigest()[:12]}"


def render(template: str, language: Language, content: Mapping[str, Any]) -> bytes:
    """The page in UTF-8."""
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
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # The extension adds it.
        words.text, words.count, newstyle=True
    )
    environment.filters |= {
        "money": lambda amount: words.money(Decimal(amount)),
        "moment": lambda moment: _time(moment, words.moment),
        "instant": lambda moment: _time(moment, words.instant),
        "day": words.day,
        "window": words.window,
        "local": local,
        # For sentences from outside the template: the template's own function would format percent signs in them.
        "translate": lambda reason: render_reason(reason, words),
        "masked": lambda url: mask_url(url) if url else "",
        "given": lambda value, other="": other if value is UNSET or value is None else value,
        "words": lambda word, kind: words.text(wording.KINDS[kind].get(str(word), str(word))),
    }
    environment.globals |= {
        "asset_url": asset_url,
        "languages": [(other.value, NAMES[other]) for other in Language],
        "query_of": _query_of,
    }
    return environment


def _time(moment: datetime | None, written: Callable[[datetime], str]) -> Markup:
    if moment is None:
        return Markup("–")
    shown = athens(moment)
    return Markup('<time datetime="{}">{}</time>').format(shown.isoformat(), written(shown))


def _query_of(query: Mapping[str, str], **changed: object) -> Markup:
    """The present query with other values, as a link needs it; None takes one away."""
    kept = {name: value for name, value in query.items() if name not in {*changed, "done", "language"}}
    kept |= {name: str(value) for name, value in changed.items() if value is not None}
    return escape("?" + urlencode(kept))
