"""The messages of a listener's stream, each one WebSocket text of JSON (docs/listening.md)."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from kalathi.contract.words import OrderEventType, ReturnEventType

EVENT_TYPES: Final = frozenset({*OrderEventType, *ReturnEventType})
# The longest body of a listener's answer, which the delivery log stores.
MOST_ANSWER_CHARACTERS: Final = 2000


class Role(Struct, frozen=True, kw_only=True, tag="role"):
    """The first message, and each change: whether this listener's answers count as those of the shop's endpoint."""

    shop_id: str
    answers_count: bool
    user_agent: str
    timeout_seconds: float


class Event(Struct, frozen=True, kw_only=True, tag="event"):
    """A webhook. `headers` are all headers without `Content-Type` and `User-Agent`, such as signatures; `body` is the
    exact text. A copy has the number 0 and expects no answer."""

    number: int
    event_type: str
    subject: str
    sequence: int
    attempt: int
    headers: dict[str, str]
    body: str


class Answered(Struct, frozen=True, kw_only=True, tag="answer"):
    """The outcome of an attempt at the listener's target. `error` is a word of `SendError`, empty if there is none."""

    number: int
    status: Annotated[int, Meta(ge=100, le=999)] | None = None
    error: Annotated[str, Meta(max_length=40)] = ""
    body: Annotated[str, Meta(max_length=MOST_ANSWER_CHARACTERS)] = ""
    duration_millis: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    retry_after_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0.0


encode: Final = msgspec.json.Encoder().encode
decode_for_listener: Final = msgspec.json.Decoder(Role | Event).decode
decode_for_marketplace: Final = msgspec.json.Decoder(Answered).decode
