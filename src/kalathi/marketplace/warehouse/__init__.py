"""Goods fulfilled by the marketplace (docs/contract.md#section-9): suppliers, purchase orders, stock, delivery
notes."""
