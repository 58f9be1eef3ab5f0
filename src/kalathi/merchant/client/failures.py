"""What can go wrong with a call, told apart by what a caller can do about it."""

from kalathi.contract.errors import ErrorEntry


class UnreachableError(Exception):
    """No answer, or one that says to come back (a wrong setup, a lost race, 429, 5xx): the call may be tried again."""


class MarketplaceError(Exception):
    """The marketplace has refused the call. `entries` are its own codes and sentences."""

    def __init__(self, status: int, entries: list[ErrorEntry]) -> None:
        sentences = "; ".join(message for entry in entries for message in entry.messages)
        super().__init__(f"{status}: {sentences or 'no message'}")
        self.status = status
        self.entries = entries

    def has_code(self, code: str) -> bool:
        """Whether one of the entries has this code, such as `order_status`."""
        return any(entry.code == code for entry in self.entries)
