"""A call or a webhook as a curl command, for the pages and for reports."""

import re
import shlex
from collections.abc import Mapping
from typing import Final

# Headers that change the answer. The others are the client's own.
_SHOWN_HEADERS: Final = ("accept", "content-type", "content-encoding", "idempotency-key")
# Without --globoff, curl takes these characters as patterns of several URLs.
_PATTERN: Final = re.compile(r"[\[\]{}]")
# Without --path-as-is, curl removes these steps from a path.
_DOT_STEP: Final = re.compile(r"/(?:\.|%2e){1,2}(?:[/?]|$)", re.IGNORECASE)
_CUT_OFF: Final = "# The body was cut off."
_NO_BODY: Final = "# The body was left out: curl sends none with --head."


def render_curl(
    url: str, method: str, headers: Mapping[str, str], body: str, *, separator: str = " ", is_whole: bool = True
) -> str:
    """Return a call of the merchants' API as a shell command. The token is the variable TOKEN, because the request log
    does not have it. `headers` have names in lower case; `separator` is between two options. If the body is not the
    whole body, a comment line before the command says so."""
    # With -X HEAD, curl waits for the body of the answer.
    is_head = method == "HEAD"
    options = ["curl -i", *_url_options(url), "--head" if is_head else f"-X {method}"]
    parts = [" ".join(options), shlex.quote(url), '-H "Authorization: Bearer $TOKEN"']
    parts += [f"-H {shlex.quote(f'{name}: {headers[name]}')}" for name in _SHOWN_HEADERS if name in headers]
    if body and not is_head:
        if "content-type" not in headers:
            # curl would add the type of a form.
            parts.append("-H content-type:")
        parts.append(f"--data-raw {shlex.quote(body)}")
    comment = _NO_BODY if body and is_head else "" if is_whole else _CUT_OFF
    command = separator.join(parts)
    return f"{comment}\n{command}" if comment else command


def render_webhook_curl(url: str, body: str) -> str:
    """Return a webhook as a shell command that sends it again, without signatures."""
    options = " ".join(["curl -i", *_url_options(url), "-X POST"])
    return f"{options} {shlex.quote(url)} -H 'content-type: application/json' --data-raw {shlex.quote(body)}"


def _url_options(url: str) -> list[str]:
    return [
        option for option, pattern in (("-g", _PATTERN), ("--path-as-is", _DOT_STEP)) if pattern.search(url) is not None
    ]
