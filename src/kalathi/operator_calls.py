"""What every client of the operator's API needs: the path of a call with its query, and the refusal in its answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from kalathi.contract.errors import ErrorEntry, read_envelope
from kalathi.contract.words import ReturnEventType

# The code of an error that a client makes, because no marketplace answered.
UNREACHABLE: Final = "unreachable"


class OperatorError(Exception):
    """The marketplace refused the call, or could not be reached. The text is for a person. `errors` are the entries of
    the answer's error envelope, or one entry with the code UNREACHABLE."""

    def __init__(self, sentence: str, errors: Sequence[ErrorEntry]) -> None:
        super().__init__(sentence)
        self.errors = tuple(errors)

    @property
    def is_unreachable(self) -> bool:
        """Whether the marketplace did not answer."""
        return any(entry.code == UNREACHABLE for entry in self.errors)


def add_query(path: str, query: Mapping[str, object] | None) -> str:
    """Return a path with its query. Parameters that are None are left out."""
    given = {name: str(value) for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def find_wait(query: Mapping[str, object] | None) -> float:
    """Return the seconds that a call may wait by its query."""
    return float(str((query or {}).get("wait") or 0))


def read_refusal(answer: bytes, status: int | None) -> OperatorError:
    """Return the error of a refused call."""
    envelope = read_envelope(answer)
    if envelope is not None and envelope.errors:
        return OperatorError(envelope.sentences(), envelope.errors)
    sentence = f"The marketplace answered {status}."
    return OperatorError(sentence, [ErrorEntry(code=f"status_{status}", messages=[sentence])])


def report_unreachable(url: str, error: Exception) -> OperatorError:
    """Return the error of a call that got no answer."""
    sentence = f"The marketplace at {url} does not answer ({type(error).__name__}). Is `kalathi serve` running?"
    return OperatorError(sentence, [ErrorEntry(code=UNREACHABLE, messages=[sentence])])


def report_stranger(url: str) -> OperatorError:
    """Return the error of a call that another program answered."""
    sentence = f"{url} does not answer as a marketplace of Kalathi. Is this its address?"
    return OperatorError(sentence, [ErrorEntry(code=UNREACHABLE, messages=[sentence])])


def are_settled(deliveries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each webhook of the delivery log had its first attempt or needs none. An update of a return has no
    delivery until the return's first event was delivered. Then the marketplace plans one, a moment later."""
    opened = {
        entry["subject"]
        for entry in deliveries
        if entry["event_type"] == ReturnEventType.CREATED and entry["state"] == "delivered"
    }
    is_planned_later = any(
        entry["event_type"] == ReturnEventType.UPDATED and entry["state"] == "not_sent" and entry["subject"] in opened
        for entry in deliveries
    )
    return not is_planned_later and all(entry["state"] != "pending" or entry["attempts"] for entry in deliveries)
