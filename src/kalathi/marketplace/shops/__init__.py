"""Shops, their API tokens, pickup locations and listings."""
