"""A logged call as it is stored and as it is shown, the filter of the log, and the masking of secrets. Pure."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote_plus

from msgspec import Struct

from kalathi.contract.words import BASE_PATH
from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.targets import mask_url

# Parts of the names of headers, query parameters and members whose values are secrets.
_NAMES: Final = "token|secret|passw|auth|api[-_]?key|cookie|session|credential|signature"
_SECRET_NAME: Final = re.compile(rf"{_NAMES}|^(?:key|sig|pass|pwd)$", re.IGNORECASE)
_SECRET_MEMBER: Final = re.compile(
    rb'("[^"]*(?:token|secret|passw|api_?key)[^"]*"\s*:\s*")((?:[^"\\]|\\.)*)', re.IGNORECASE
)
# Authorization schemes (RFC 9110, 11.1) that do not say anything about the token behind them.
_SCHEMES: Final = frozenset({b"bearer", b"basic", b"digest", b"token", b"apikey"})
_SUBJECT: Final = re.compile(rf"{re.escape(BASE_PATH)}/(?:orders|returns|fbs/purchase_orders)/([^/]+)")
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/=-]+")
# A shown part of a token does no harm if the hidden rest is this long.
_LONG_TOKEN: Final = 20
_SHOWN_CHARACTERS: Final = 4

# The header lines of a request, as ASGI has them.
Headers = Sequence[tuple[bytes, bytes]]
# Why a call has no shop: it sent no token, a token that no shop has, or the path was refused before the token was read.
NoShop = Literal["", "no_token", "unknown_token", "not_checked"]


class StoredCall(Struct, frozen=True, array_like=True, gc=False, tag=0):
    """One call in a file of the log. `at` is the business time and `real_at` the real time of its answer, both in
    milliseconds since 1970.

    `status` is 0 if the connection was cut before an answer. Secrets are masked already. The beginning of a long body
    is stored; the sizes are those of the whole bodies.

    A file has repeated contents once: `headers` are None if they are those of the call before, and `answer` is None if
    it is that of the call `same_answer_as`.
    """

    id: bytes
    at: int
    real_at: int
    duration_micros: int
    shop_id: str
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]] | None
    body: bytes
    body_bytes: int
    status: int
    answer: bytes | None
    answer_bytes: int
    error: str
    same_answer_as: bytes = b""


class RepeatedCalls(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Calls that are like an earlier one of the same file, but for their ids, their times and their durations."""

    like: bytes
    at: int
    real_at: int
    ids: list[bytes]
    durations_nanos: list[int]


class LoggedCall(Struct, frozen=True, kw_only=True):
    """One call of the merchants' API. `at` is the business time of its answer in Athens, `real_at` the real time in
    UTC.

    `call` is its name in fault rules, such as `accept`; empty if no call has this path. `subject` is the code of the
    order, return or purchase order in the path. `shop_id` is empty if no shop is known; `no_shop` then says why.
    `status` is null if a fault cut the connection. `error` is the code of a refusal. A log without bodies has empty
    ones.
    """

    id: str
    at: datetime
    real_at: datetime
    duration_millis: float
    shop_id: str
    no_shop: NoShop
    call: str
    subject: str
    method: str
    path: str
    headers: dict[str, str]
    body: str
    body_bytes: int
    status: int | None
    error: str
    answer: str
    answer_bytes: int


class CallFilter(NamedTuple):
    """The wanted calls; an empty member allows all. `status` is a status such as `404`, or a class such as `4xx`.
    `since_millis` is business time in milliseconds since 1970."""

    shop_id: str = ""
    subject: str = ""
    call: str = ""
    method: str = ""
    status: str = ""
    error: str = ""
    since_millis: int = 0
    after: str = ""

    def allows(self, stored: StoredCall, name_call: Callable[[str, str], str]) -> bool:
        """Whether the call is wanted. `name_call` returns the name of a method and path. `after` is not compared,
        because it is a position in the log."""
        return (
            stored.at >= self.since_millis
            and self.shop_id in {"", stored.shop_id}
            and self.method in {"", stored.method}
            and self.error in {"", stored.error}
            and self.status in {"", str(stored.status), f"{stored.status // 100}xx"}
            and self.subject in {"", subject_of(stored.path)}
            and (not self.call or self.call == name_call(stored.method, stored.path))
        )


def subject_of(path: str) -> str:
    """Return the code of the order, return or purchase order that a path names; empty if it names none."""
    found = _SUBJECT.match(path)
    return found[1] if found else ""


def show_call(stored: StoredCall, name_call: Callable[[str, str], str]) -> LoggedCall:
    """Return a stored call as the API and the pages show it."""
    query = stored.query.decode("latin-1")
    headers: dict[str, str] = {}
    for raw_name, raw_value in stored.headers or ():
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return LoggedCall(
        id=stored.id.decode(),
        at=athens(from_millis(stored.at)),
        real_at=datetime.fromtimestamp(stored.real_at / 1000, UTC),
        duration_millis=stored.duration_micros / 1000,
        shop_id=stored.shop_id,
        no_shop=_explain_no_shop(stored, headers),
        call=name_call(stored.method, stored.path),
        subject=subject_of(stored.path),
        method=stored.method,
        path=quote(stored.path, safe="/:@!$&'()*+,;=-._~") + (f"?{query}" if query else ""),
        headers=headers,
        body=stored.body.decode("utf-8", "replace"),
        body_bytes=stored.body_bytes,
        status=stored.status or None,
        error=stored.error,
        answer=(stored.answer or b"").decode("utf-8", "replace"),
        answer_bytes=stored.answer_bytes,
    )


def _explain_no_shop(stored: StoredCall, headers: dict[str, str]) -> NoShop:
    if stored.shop_id:
        return ""
    if stored.status == 401 or "authorization" not in headers:
        return "unknown_token" if headers.get("authorization", "").lower().startswith("bearer ") else "no_token"
    return "unknown_token" if stored.status == 429 else "not_checked"


@lru_cache(maxsize=1024)
def is_secret_name(name: bytes) -> bool:
    """Whether a header of this name has a secret value."""
    return _SECRET_NAME.search(name.decode("latin-1")) is not None


@lru_cache(maxsize=1024)
def mask_secret(value: bytes) -> bytes:
    """Return a secret value with its secret replaced: `Bearer Bxx1... (86 characters)`. A known scheme stays, and the
    first characters of a long token, by which its owner recognizes it."""
    scheme, space, token = value.strip().partition(b" ")
    if scheme.lower() not in _SCHEMES:
        scheme, space, token = b"", b"", value.strip()
    token = token.strip()
    is_token = len(token) >= _LONG_TOKEN and token.isascii() and _TOKEN.fullmatch(token) is not None
    shown = token[:_SHOWN_CHARACTERS] if is_token and scheme.lower() in {b"", b"bearer", b"token"} else b""
    return b"%s%s%s... (%d characters)" % (scheme, space, shown, len(token))


def mask_header(name: bytes, value: bytes) -> bytes:
    """Return a header's value without secrets."""
    if is_secret_name(name):
        return mask_secret(value)
    if name == b"referer":
        # User names, passwords and tokens of another site.
        return mask_url(value.decode("latin-1").partition("?")[0]).encode("latin-1")
    return value


def mask_query(query: bytes) -> bytes:
    """Return a query with the values of secret parameters, such as `access_token`, replaced."""
    parts = query.split(b"&")
    return b"&".join(_mask_parameter(part) for part in parts)


def _mask_parameter(part: bytes) -> bytes:
    name, equals, _ = part.partition(b"=")
    return name + equals + b"..." if equals and _SECRET_NAME.search(unquote_plus(name.decode("latin-1"))) else part


def mask_body(body: bytes) -> bytes:
    """Return a body with the texts of secret members, such as `api_token`, replaced."""
    return _SECRET_MEMBER.sub(rb"\1...", body) if b'"' in body else body
