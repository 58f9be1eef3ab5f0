"""HTTP: one route table, the merchants' API, the operator's API, and the one place where errors get their status."""
