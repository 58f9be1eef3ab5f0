"""Returns: the machine, the merchant's review, and what a return does to its order (contract, sections 6 to 8)."""
