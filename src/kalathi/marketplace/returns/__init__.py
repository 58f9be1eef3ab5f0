"""Returns: the machine, the merchant's review, and the effect of a return on its order (docs/contract.md#section-6 to
#section-8)."""
