"""Returns: the machine, the merchant's review, and what a return does to its order (docs/contract.md#section-6 to
#section-8)."""
