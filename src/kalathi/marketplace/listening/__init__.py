"""Listeners: programs that receive a shop's webhooks over a stream that they opened themselves (docs/listening.md)."""
