"""The operator's token: the setting, or a file of the data folder that the first start creates."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kalathi.marketplace.kernel.ids import secret_token
from kalathi.marketplace.kernel.production import TOO_SHORT, is_short
from kalathi.marketplace.kernel.settings import Settings
from kalathi.system.files import make_private_folder

OPERATOR_TOKEN_FILE: Final = "operator-token"  # noqa: S105  (the file's name)
_LOOK_EVERY_SECONDS: Final = 1.0


class OperatorToken:
    """The operator's present token in a running process, as its hash (SHA-256). If the token is in a file, a new one is
    in force within a second, in every process that reads this file."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ValueError as `operator_token` does."""
        self._settings = settings
        self._clock = clock
        self._looked_at = clock()
        self._hash = _hash_of(operator_token(settings))

    def read_hash(self) -> bytes:
        """Return the hash of the present token. If its file is missing or empty, the last known token stays."""
        if not self._settings.operator_token and self._clock() - self._looked_at >= _LOOK_EVERY_SECONDS:
            self._looked_at = self._clock()
            path = self._settings.data / OPERATOR_TOKEN_FILE
            token = path.read_text("utf-8").strip() if path.is_file() else ""
            self._hash = _hash_of(token) if token else self._hash
        return self._hash


def operator_token(settings: Settings) -> str:
    """Return the operator's token: the setting, or the token in the data folder's file. The first start creates that
    file with mode 600. Raises ValueError for an empty file, and in production for a short token."""
    if settings.operator_token:
        return settings.operator_token
    path: Path = settings.data / OPERATOR_TOKEN_FILE
    if not path.exists():
        write_operator_token(settings.data)
    token = path.read_text("utf-8").strip()
    if not token:
        raise ValueError(f"{path} is empty. Remove it to have a new token made, or give --operator-token.")
    if settings.mode == "production" and is_short(token):
        raise ValueError(f"the token in {path} has {TOO_SHORT}. Remove the file to have a new token made.")
    return token


def write_operator_token(data: Path) -> Path:
    """Write a new token into the file of the data folder, and return the file's path. The old token ends."""
    path = data / OPERATOR_TOKEN_FILE
    make_private_folder(data)
    # Whole or not at all: a crash in between must not leave an empty token behind.
    unfinished = path.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(secret_token() + "\n", "utf-8")
    unfinished.replace(path)
    return path


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
