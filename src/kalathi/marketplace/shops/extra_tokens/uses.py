"""The last use of each API token, noted in memory and written once a minute."""

from collections.abc import Callable
from typing import Final

from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.shops.extra_tokens.store import replace_use

_MOST_NOTED: Final = 10_000


class TokenUses:
    """The last use of each API token. It is noted in memory, and written once a minute."""

    def __init__(self, database: Database, real: Callable[[], int]) -> None:
        """`real` returns real time in milliseconds since 1970."""
        self._database = database
        self._real = real
        self._noted: dict[bytes, int] = {}

    def note(self, token_hash: bytes) -> None:
        """Note a call with this token now."""
        if len(self._noted) < _MOST_NOTED or token_hash in self._noted:
            self._noted[token_hash] = self._real()

    async def write(self) -> None:
        """Write the noted uses. Raises StorageError; the uses are then written later."""
        noted = dict(self._noted)
        if not noted:
            return
        changes = ChangeSet()
        for token_hash, at in noted.items():
            changes.add(*replace_use(token_hash, at))
        await self._database.commit(changes)
        self._noted = {token: at for token, at in self._noted.items() if noted.get(token) != at}
