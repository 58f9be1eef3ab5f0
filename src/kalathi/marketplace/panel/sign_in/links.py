"""Links that sign the operator in to a sandbox once, without a token to paste.

A link is signed with the operator's token, so every process that knows the token can make one: `kalathi serve` at its
start, `kalathi open` later. It holds its end (milliseconds since 1970, UTC, hexadecimal), a random part, and the
signature (HMAC-SHA256, RFC 2104) of both. The marketplace keeps the hashes of used links until they expire.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal
from kalathi.marketplace.shops.model import hash_token

# `kalathi open` is a command for a terminal.
SIGN_IN_PATH: Final = "/sign-in"
_PURPOSE: Final = b"kalathi sign-in link "
_LINK: Final = re.compile(r"(?P<signed>(?P<end>[0-9a-f]{1,12})\.[A-Za-z0-9_-]{22})\.(?P<signature>[A-Za-z0-9_-]{43})")


class LinkRefused(Refusal, frozen=True):
    """A link to sign in that was used, or has expired."""

    CODE = ErrorCode.UNAUTHORIZED
    SENTENCE = "This link has been used, or it is too old. `kalathi open` makes a new one."


class SignInLink(NamedTuple):
    """A link with a good signature: the hash by which its use is kept, and its end in milliseconds."""

    link_hash: bytes
    expires_at: int


def make_sign_in_link(address: str, operator_token: str, expires_at: int) -> str:
    """Return a new link to the marketplace at this address."""
    signed = f"{expires_at:x}.{secrets.token_urlsafe(16)}"
    return f"{address.rstrip('/')}{SIGN_IN_PATH}/{signed}.{_sign(hash_token(operator_token), signed)}"


def read_sign_in_link(text: str, operator_token_hash: bytes) -> SignInLink | None:
    """Return the link with this last part, or None if its signature is not ours."""
    found = _LINK.fullmatch(text)
    if found is None or not hmac.compare_digest(found["signature"], _sign(operator_token_hash, found["signed"])):
        return None
    return SignInLink(hashlib.sha256(found["signed"].encode()).digest(), int(found["end"], 16))


def _sign(operator_token_hash: bytes, signed: str) -> str:
    digest = hmac.digest(operator_token_hash, _PURPOSE + signed.encode(), "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")
