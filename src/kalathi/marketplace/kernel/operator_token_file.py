"""The operator's token: the setting, or a file of the data folder that the first start creates."""

from pathlib import Path
from typing import Final

from kalathi.marketplace.kernel.ids import secret_token
from kalathi.marketplace.kernel.production import TOO_SHORT, is_short
from kalathi.marketplace.kernel.settings import Settings
from kalathi.system.files import make_private_folder

OPERATOR_TOKEN_FILE: Final = "operator-token"  # noqa: S105  (the file's name)


def operator_token(settings: Settings) -> str:
    """Return the operator's token: the setting, or the token in the data folder's file. The first start creates that
    file with mode 600. Raises ValueError for an empty file, and in production for a short token."""
    if settings.operator_token:
        return settings.operator_token
    path: Path = settings.data / OPERATOR_TOKEN_FILE
    if not path.exists():
        make_private_folder(settings.data)
        # Whole or not at all: a crash in between must not leave an empty token behind.
        unfinished = path.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(secret_token() + "\n", "utf-8")
        unfinished.replace(path)
    token = path.read_text("utf-8").strip()
    if not token:
        raise ValueError(f"{path} is empty. Remove it to have a new token made, or give --operator-token.")
    if settings.mode == "production" and is_short(token):
        raise ValueError(f"the token in {path} has {TOO_SHORT}. Remove the file to have a new token made.")
    return token
