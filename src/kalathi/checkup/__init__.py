"""`kalathi checkup`: play the marketplace against a shop's integration, and report what it does wrong (docs/checkup.md).

It talks to a marketplace over HTTP only, as an operator does, so it can use any running sandbox.
"""
