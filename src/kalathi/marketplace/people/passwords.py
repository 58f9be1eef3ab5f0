"""Passwords: their rules, and their hashes (Argon2id, RFC 9106, with the library's parameters for interactive use).

Hashing takes about 50 ms and 64 MB of memory, so callers run it in a thread.
"""

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.people.model import LONGEST_PASSWORD, SHORTEST_PASSWORD, fold_name
from kalathi.marketplace.people.refusals import BadPassword, PasswordIsName

_HASHER: Final = PasswordHasher()
# Checked for unknown names, so that the answer takes as long as for a wrong password.
_UNKNOWN: Final = _HASHER.hash("no person has this password")


def check_password(password: str, name: str) -> None:
    """Check the rules of a new password. Raises INVALID_PARAMETER."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise refuse(BadPassword(SHORTEST_PASSWORD, LONGEST_PASSWORD))
    folded = fold_name(name)
    if folded and folded in fold_name(password):
        raise refuse(PasswordIsName())


def hash_password(password: str) -> str:
    """Return the hash that is stored. It contains its salt and its parameters."""
    return _HASHER.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether this is the password of the hash. None stands for an unknown person, for whom it is always false."""
    try:
        _HASHER.verify(password_hash or _UNKNOWN, password[:LONGEST_PASSWORD])
    except (VerifyMismatchError, InvalidHashError):
        return False
    return password_hash is not None
