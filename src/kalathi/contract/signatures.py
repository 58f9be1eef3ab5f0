"""Standard Webhooks signatures (standardwebhooks.com, specification 1.0). The real marketplace signs nothing; a shop
may switch them on in addition (docs/decisions/0015). Both ends use this module.

`webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`: one or more of `v1,` and the base64 of
HMAC-SHA256 over `id.timestamp.body`, one for each live secret while a secret is being changed.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_TOLERANCE_SECONDS: Final = 300
# The specification wants 24 to 64 bytes.
SECRET_BYTES: Final = 32


class SignatureError(ValueError):
    """The webhook's signature is wrong, or it is too old."""


class NotSignedError(SignatureError):
    """The headers of a signature are missing or cannot be read."""


class SignatureTimeError(SignatureError):
    """The signature is right, and its time is too far from the receiver's clock: one of the two clocks is off, or the
    webhook is a copy of an old one. `ahead_seconds` is how far the receiver's clock is ahead; negative: behind."""

    def __init__(self, ahead_seconds: int) -> None:
        super().__init__("the timestamp is too far from now")
        self.ahead_seconds = ahead_seconds


def secret_text(random_bytes: bytes) -> str:
    """Return the text form of a secret, for display and settings: `whsec_` and the base64 of its bytes."""
    return _PREFIX + base64.b64encode(random_bytes).decode()


def sign_headers(secrets: Sequence[str], message_id: str, timestamp_seconds: int, body: bytes) -> dict[str, str]:
    """Return the three headers, or none without a secret. Raises ValueError for a malformed secret."""
    if not secrets:
        return {}
    signatures = [f"{_VERSION},{_signature(secret, message_id, timestamp_seconds, body)}" for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_seconds),
        "webhook-signature": " ".join(signatures),
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_seconds: int) -> str:
    """Verify the signature and return the message's id. `headers` have lower-case names.

    Raises NotSignedError without readable signature headers, SignatureTimeError if a known secret signed the message
    but its time is too far from now, and SignatureError for any other wrong signature.
    """
    try:
        message_id, stamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        given = headers["webhook-signature"].split(" ")
    except (KeyError, ValueError):
        raise NotSignedError("the headers of a signature are missing") from None
    expected = [f"{_VERSION},{_signature(secret, message_id, stamp, body)}" for secret in secrets]
    # Each signature is compared in full, so that the time of the check reveals nothing.
    matches = [hmac.compare_digest(one.encode(), other.encode()) for one in expected for other in given]
    if not any(matches):
        raise SignatureError("no signature is that of a known secret")
    if abs(now_seconds - stamp) > _TOLERANCE_SECONDS:
        raise SignatureTimeError(now_seconds - stamp)
    return message_id


def _signature(secret: str, message_id: str, timestamp_seconds: int, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        # Any sender can sign with an empty key, for example from an unset variable, so it is refused.
        raise ValueError("a signing secret is whsec_ and base64") from None
    signed = f"{message_id}.{timestamp_seconds}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
