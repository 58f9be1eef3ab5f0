"""The error envelope of every failure (docs/contract.md#section-1)."""

import msgspec


class ErrorEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One error code and its sentences, which clients show to people unchanged."""

    code: str
    messages: list[str]


class ErrorEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """`{"errors": [{"code", "messages"}]}`"""

    errors: list[ErrorEntry]

    def sentences(self) -> str:
        """All messages on one line, for a log or a person."""
        return "; ".join(message for entry in self.errors for message in entry.messages)
