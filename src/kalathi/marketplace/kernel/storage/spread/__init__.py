"""One marketplace over several PostgreSQL servers with Citus (docs/scale.md). Nothing above this package knows it."""
