"""The request log: every call of the merchants' API, with its answer (docs/sandbox.md)."""
