"""Commands on additional API tokens, one function each."""

from typing import Final

from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.shops import refusals
from kalathi.marketplace.shops.extra_tokens import store
from kalathi.marketplace.shops.model import hash_token

MOST_EXTRA_TOKENS: Final = 20
LONGEST_TOKEN_NAME: Final = 60


def add_extra_token(view: View, shop_id: str, name: str, token: str, now_millis: int) -> tuple[ChangeSet, None]:
    """Add a token with a name. The time is real. Raises INVALID_PARAMETER for a blank, long or taken name, and for too
    many tokens."""
    present = [entry.name for entry in store.list_extra_tokens(view, shop_id)]
    if not 0 < len(name) <= LONGEST_TOKEN_NAME:
        raise refuse(refusals.NoTokenName(LONGEST_TOKEN_NAME))
    if name in present:
        raise refuse(refusals.TokenNameTaken())
    if len(present) >= MOST_EXTRA_TOKENS:
        raise refuse(refusals.TooManyTokens(MOST_EXTRA_TOKENS))
    return ChangeSet(store.insert_extra_token(shop_id, name, hash_token(token), now_millis)), None


def remove_extra_token(view: View, shop_id: str, name: str) -> tuple[ChangeSet, None]:
    """Remove a token, which stops working immediately. Raises NOT_FOUND."""
    if name not in [entry.name for entry in store.list_extra_tokens(view, shop_id)]:
        raise refuse(refusals.NoSuchToken())
    return ChangeSet(store.drop_extra_token(shop_id, name)), None
