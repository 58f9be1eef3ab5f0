"""Make a release: build it, check it, and write its notes. `make release` runs it (docs/releasing.md)."""
