"""The merchant's side: it receives orders, checks stock, accepts or rejects, prints vouchers, and loses nothing.

Stands on `contract` only, so that it works against every marketplace that speaks the contract.
"""

from kalathi.merchant.client import AsyncClient, MarketplaceError, UnreachableError

__all__ = ["AsyncClient", "MarketplaceError", "UnreachableError"]
