"""Additional API tokens of a shop, and the last use of all its API tokens.

The contract has one token for each shop (docs/contract.md#section-1). With the setting `extra_api_tokens`, a shop can
have more, each with a name, so that one of several systems can be cut off alone.
"""
