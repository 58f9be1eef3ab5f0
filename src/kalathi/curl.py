"""A call as a curl command, for the pages and for the reports of failed tests."""

import shlex
from collections.abc import Mapping

# Headers that change the answer. The others are the client's own.
_SHOWN_HEADERS = ("accept", "content-type", "idempotency-key")


def render_curl(url: str, method: str, headers: Mapping[str, str], body: str, *, separator: str = " ") -> str:
    """Return a call of the merchants' API as a shell command. The token is the variable TOKEN, because the request log
    does not have it. `headers` have names in lower case; `separator` is between two options."""
    parts = [f"curl -i -X {method}", shlex.quote(url), '-H "Authorization: Bearer $TOKEN"']
    parts += [f"-H {shlex.quote(f'{name}: {headers[name]}')}" for name in _SHOWN_HEADERS if name in headers]
    if body:
        parts.append(f"--data-raw {shlex.quote(body)}")
    return separator.join(parts)
