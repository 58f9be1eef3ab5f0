"""The roles that may use the forms of the pages. Everybody with a session may see the pages of their place.

Staff send all forms that are not listed here. Templates do not show a form to a person who must not send it.
"""

import re
from typing import Final

from kalathi.marketplace.people.model import Role

# People, tokens and secrets.
_OWNERS: Final = (
    "/shop/people",
    "/shop/people/{person_id}/role",
    "/shop/people/{person_id}/remove",
    "/shop/people/{person_id}/new-password",
    "/shop/people/invitations/{invitation}",
    "/shop/settings/api_token",
    "/shop/settings/extra_tokens",
    "/shop/settings/extra_tokens/remove",
    "/shop/settings/products_token",
    "/shop/settings/signing_secret",
    "/shop/settings/signing_secret/end",
    "/operator/people",
    "/operator/people/{person_id}/role",
    "/operator/people/{person_id}/remove",
    "/operator/people/{person_id}/new-password",
    "/operator/people/invitations/{invitation}",
    "/operator/shops/{shop_id}/api_token",
    "/operator/shops/{shop_id}/products_token",
    "/operator/shops/{shop_id}/signing_secret",
    "/operator/shops/{shop_id}/signing_secret/end",
    "/operator/shops/{shop_id}/owner",
    "/operator/shops/{shop_id}/status",
    "/operator/shops/{shop_id}/erase",
    "/operator/customers",
)
# Pages and downloads with all data of a shop or of a customer.
_OWNERS_PAGES: Final = ("/operator/shops/{shop_id}/export", "/operator/customers.json")
# The visitor's own session and password, forms that only show something, and joining.
_READERS: Final = (
    "/sign-in",
    "/sign-out",
    "/invitation/{token}",
    "/shop/people/password",
    "/shop/people/sessions/{session}",
    "/shop/picking-list",
    "/shop/packing-slips",
    "/operator/people/password",
    "/operator/people/sessions/{session}",
    "/operator/shops/{shop_id}/open",
)


def role_of_page(path: str) -> Role:
    """Return the lowest role that may see the page with this pattern of the page table."""
    return Role.OWNER if path in _OWNERS_PAGES else Role.READ_ONLY


def role_of_form(path: str) -> Role:
    """Return the lowest role that may send the form with this address, or with this pattern of the page table."""
    if _matches(_OWNER_PATHS, path):
        return Role.OWNER
    return Role.READ_ONLY if _matches(_READER_PATHS, path) else Role.STAFF


def _matches(patterns: re.Pattern[str], path: str) -> bool:
    return patterns.fullmatch(path) is not None


def _compile(paths: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.sub(r"\{\w+\}", "[^/]+", path) for path in paths))


_OWNER_PATHS: Final = _compile((*_OWNERS, *_OWNERS_PAGES))
_READER_PATHS: Final = _compile(_READERS)
