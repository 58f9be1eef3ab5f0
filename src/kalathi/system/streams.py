"""Standard output: whether its reader has stopped, and whether it is a console that must write by itself."""

import errno
import sys

if sys.platform == "win32":
    # A console of Windows takes UTF-16, which only Python's own stream writes.
    CONSOLE_WRITES_ITSELF = True

    def has_reader_left(error: OSError) -> bool:
        """Whether a write failed because the reader of a pipe has ended, which Windows reports in two ways."""
        return isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL

    def has_room(descriptor: int, seconds: float) -> bool:
        """Whether a write would not wait. Windows cannot tell: there, a command waits for a stopped reader."""
        del descriptor, seconds
        return True

else:
    import select

    CONSOLE_WRITES_ITSELF = False

    def has_reader_left(error: OSError) -> bool:
        """Whether a write failed because the reader of a pipe has ended."""
        return isinstance(error, BrokenPipeError)

    def has_room(descriptor: int, seconds: float) -> bool:
        """Whether a write would not wait. Wait for that, at most this many seconds."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
