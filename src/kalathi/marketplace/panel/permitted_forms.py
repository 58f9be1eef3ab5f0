"""Templates show a form only to people who may send it: an extension of the template language wraps each form that is
sent with POST, and each button with an address of its own, in a condition on that address. So no template can forget
it."""

import re
from typing import Final

from jinja2.ext import Extension

_FORM: Final = re.compile(r'<form method="post" action="(?P<address>[^"]*)".*?</form>', re.DOTALL)
_BUTTON: Final = re.compile(r'<button[^>]* formaction="(?P<address>[^"]*)".*?</button>', re.DOTALL)
_EXPRESSION: Final = re.compile(r"\{\{(.*?)\}\}")


class PermittedForms(Extension):
    """Wraps forms and buttons in `{% if may(visitor, address) %}`."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return the source of a template with its forms and buttons wrapped."""
        return _BUTTON.sub(_wrap, _FORM.sub(_wrap, source))


def _wrap(found: re.Match[str]) -> str:
    return f"{{% if may(visitor, {_read_address(found['address'])}) %}}{found[0]}{{% endif %}}"


def _read_address(attribute: str) -> str:
    """Return an expression of the template language with the value of an attribute such as `/shop/{{ code }}/note`."""
    parts = _EXPRESSION.split(attribute)
    return " ~ ".join(f"({part})" if number % 2 else f'"{part}"' for number, part in enumerate(parts) if part)
