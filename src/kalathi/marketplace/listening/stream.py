"""One listener's stream: sends events to it, and waits for its answers."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from kalathi.marketplace.kernel.due import DueRow
from kalathi.marketplace.listening.messages import Answered, Event, Role, encode
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.marketplace.webhooks.listeners import LISTENER_URL

# Network time to the listener and back, added to the listener's own time limit.
_MARGIN_SECONDS: Final = 2.0
# A listener with more waiting bytes does not read, and is disconnected.
_MOST_WAITING_BYTES: Final = 8 * 2**20


class Stream:
    """A connected listener. Messages for it wait in memory until `run_sender` has sent them, so that a listener that
    does not read delays no other work."""

    def __init__(
        self,
        *,
        event_types: frozenset[str],
        is_beside: bool,
        target: str,
        timeout_seconds: float,
        user_agent: str,
    ) -> None:
        """With `is_beside`, the listener receives copies only. `target` is shown in the delivery log."""
        self.event_types = event_types
        self.is_beside = is_beside
        self._url = f"{LISTENER_URL}{target}"
        self._timeout_seconds = timeout_seconds
        self._user_agent = user_agent
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._waiting_bytes = 0
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answered | None]] = {}
        self._role: bool | None = None
        self.ended = asyncio.Event()

    async def run_sender(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send waiting messages until the listener disconnects. `send` sends one text, and raises OSError after a
        disconnect."""
        while not self.ended.is_set():
            text = await self._outgoing.get()
            try:
                await send(text)
            except OSError:
                self.end()
            self._waiting_bytes -= len(text)

    def send_role(self, shop_id: str, *, answers_count: bool) -> None:
        """Send the role if it has changed."""
        if self._role is not answers_count:
            self._role = answers_count
            self._put(
                Role(
                    shop_id=shop_id,
                    answers_count=answers_count,
                    user_agent=self._user_agent,
                    timeout_seconds=self._timeout_seconds,
                )
            )

    def copy(self, event_type: str, subject: str, sequence: int, body: bytes) -> None:
        """Send a copy of an event, which expects no answer."""
        text = body.decode("utf-8", "replace")
        event = Event(
            number=0, event_type=event_type, subject=subject, sequence=sequence, attempt=1, headers={}, body=text
        )
        self._put(event)

    async def deliver(self, row: DueRow, event_type: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send an attempt and return the listener's answer: `LISTENER_GONE` if it disconnects before, `TIMEOUT` if it
        does not answer in time."""
        number, started = next(self._numbers), time.perf_counter()
        event = Event(
            number=number,
            event_type=event_type,
            subject=row.subject,
            sequence=row.sequence,
            attempt=row.attempts + 1,
            headers=dict(headers),
            body=body.decode("utf-8", "replace"),
        )
        answered: Answered | None = None
        error = SendError.LISTENER_GONE
        if not self.ended.is_set():
            waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._timeout_seconds + _MARGIN_SECONDS):
                    self._put(event)
                    answered = await waiting
            except TimeoutError:
                error = SendError.TIMEOUT
            finally:
                del self._waiting[number]
        if answered is None:
            return Answer(self._url, None, error, b"", int((time.perf_counter() - started) * 1000))
        return Answer(
            self._url,
            answered.status,
            _word(answered),
            answered.body.encode("utf-8", "replace"),
            answered.duration_millis,
            0.0,
            answered.retry_after_seconds,
        )

    def receive_answer(self, answered: Answered) -> None:
        """Pass the listener's answer to its attempt. A late answer is ignored."""
        waiting = self._waiting.get(answered.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answered)

    def end(self) -> None:
        """End the stream, because the listener has disconnected or the process stops. Running attempts do not count."""
        self.ended.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)

    def _put(self, message: Role | Event) -> None:
        if self.ended.is_set():
            return
        text = encode(message).decode()
        self._waiting_bytes += len(text)
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            self.end()
        else:
            self._outgoing.put_nowait(text)


class StreamSender:
    """Send one attempt to a listener through the interface of the network, so that the sandbox's faults apply."""

    def __init__(self, stream: Stream, row: DueRow, event_type: str) -> None:
        self._stream = stream
        self._row = row
        self._event_type = event_type

    async def post(self, _url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """Deliver to the listener."""
        return await self._stream.deliver(self._row, self._event_type, body, headers)

    async def close(self) -> None:
        """Do nothing, because the stream outlives the attempt."""


def _word(answered: Answered) -> SendError:
    if not answered.error:
        return SendError.NONE if answered.status is not None else SendError.UNREADABLE_ANSWER
    try:
        word = SendError(answered.error)
    except ValueError:
        return SendError.UNFORESEEN
    # Words that change the schedule belong to the marketplace.
    return SendError.UNFORESEEN if word in _OURS else word


_OURS: Final = frozenset(
    {
        SendError.NO_URL,
        SendError.SILENCED,
        SendError.LISTENER_GONE,
        SendError.HELD_BACK,
        SendError.INJECTED_STATUS,
        SendError.INJECTED_DROP,
        SendError.INJECTED_TIMEOUT,
    }
)
