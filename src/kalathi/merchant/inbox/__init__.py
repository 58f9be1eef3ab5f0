"""The merchant's one file: received events, jobs on orders and returns, reservations, printed labels, hand-overs, open
problems. Every step is a row, so that a killed connector continues from there after its restart."""

from kalathi.merchant.inbox.file import Inbox
from kalathi.merchant.inbox.tables import InboxInUseError, InboxVersionError

__all__ = ["Inbox", "InboxInUseError", "InboxVersionError"]
