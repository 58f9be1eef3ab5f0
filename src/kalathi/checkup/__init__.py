"""`kalathi checkup` and `kalathi recipe`: play the marketplace against a shop's integration (docs/checkup.md).

It talks to a marketplace over HTTP only, as an operator does, so it can use any running sandbox.
"""
