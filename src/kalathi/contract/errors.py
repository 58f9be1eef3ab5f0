"""The error envelope of every failure (docs/contract.md#section-1)."""

import msgspec

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode


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


def read_envelope(answer: bytes) -> ErrorEnvelope | None:
    """Return the error envelope of an answer, or None if the answer is something else."""
    try:
        return decode(answer, ErrorEnvelope)
    except (UnreadableBodyError, UnexpectedShapeError):
        return None


def read_sentences(answer: bytes) -> str:
    """Return the sentences of an answer's error envelope; empty if the answer is something else."""
    envelope = read_envelope(answer)
    return "" if envelope is None else envelope.sentences()
