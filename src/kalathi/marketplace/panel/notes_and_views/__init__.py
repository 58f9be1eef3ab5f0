"""Data of a shop's employees that only the pages show: notes on orders, and views of the list."""
