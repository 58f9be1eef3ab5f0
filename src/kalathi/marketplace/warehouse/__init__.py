"""Goods fulfilled by the marketplace (contract, section 9): suppliers, purchase orders, stock, delivery notes."""
