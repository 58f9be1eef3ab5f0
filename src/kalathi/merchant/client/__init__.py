"""The typed client of the Orders API (contract, section 3)."""

from kalathi.merchant.client.calls import AsyncClient
from kalathi.merchant.client.failures import MarketplaceError, UnreachableError

__all__ = ["AsyncClient", "MarketplaceError", "UnreachableError"]
