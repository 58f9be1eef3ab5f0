"""The pages of a shop."""
