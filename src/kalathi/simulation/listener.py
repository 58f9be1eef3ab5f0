"""The listener's side of a stream: receives webhooks, forwards them, reports the answers (docs/listening.md)."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection, connect

from kalathi.contract.errors import read_sentences
from kalathi.marketplace.kernel.targets import mask_url
from kalathi.marketplace.listening.messages import (
    MOST_ANSWER_CHARACTERS,
    Answered,
    Event,
    Role,
    decode_for_listener,
    encode,
)
from kalathi.marketplace.webhooks.answer import Answer, explanation_of
from kalathi.marketplace.webhooks.sending import WebhookSender
from kalathi.merchant.client.transport import is_this_machine

_LARGEST_EVENT_BYTES: Final = 16_000_000
_AT_ONCE: Final = 64
_LONGEST_TARGET: Final = 500
# Voucher links are long, and secrets.
_LONGEST_VALUE: Final = 30
_PAUSES_SECONDS: Final = (1.0, 2.0, 5.0, 10.0)


class RefusedError(Exception):
    """The marketplace refuses the listener, or cannot be reached; the text is for a person."""


class Subscription(NamedTuple):
    """The requested stream. Empty `event_types` means all types. With `is_beside`, the shop's own URL stays in use."""

    shop_id: str
    event_types: tuple[str, ...] = ()
    is_beside: bool = False


class Forwarding(NamedTuple):
    """The target of forwarded webhooks, the additional headers, and whether a self-signed certificate is accepted."""

    url: str
    headers: Mapping[str, str]
    is_insecure: bool = False


class Heard(NamedTuple):
    """A received webhook and the target's answer, which is None without a target."""

    event: Event
    content: dict[str, Any]
    answer: Answer | None
    is_copy: bool

    @property
    def has_failed(self) -> bool:
        """Whether the target did not accept the webhook."""
        return self.answer is not None and not self.answer.delivered

    def outcome(self) -> str:
        """Return the outcome, such as `200 in 12 ms`, or the reason of the failure."""
        answer = self.answer
        if answer is None:
            return ""
        if answer.status is None:
            return f"no answer: {explanation_of(answer.error)}"
        reason = f" ({explanation_of(answer.error)})" if answer.error else ""
        return f"{answer.status} in {answer.duration_millis} ms{reason}"

    def line(self) -> str:
        """Render a line for a person: event, code, state or changes, and the outcome."""
        about = self.content.get("order") or self.content.get("return") or {}
        changes = self.content.get("changes") or {}
        shown = ", ".join(f"{name}: {_shorten(change)}" for name, change in changes.items())
        notes = ["copy"] if self.is_copy else [f"attempt {self.event.attempt}"] if self.event.attempt > 1 else []
        parts = [f"{self.event.event_type:23}", self.event.subject, shown or str(about.get("state", "")), *notes]
        outcome = self.outcome()
        return "  ".join(parts) + (f"  -> {outcome}" if outcome else "")

    def record(self) -> dict[str, Any]:
        """Return the webhook and its outcome as JSON for a program. Without a target, `status` is null."""
        answer = self.answer
        return {
            "event_type": self.event.event_type,
            "subject": self.event.subject,
            "attempt": self.event.attempt,
            "is_copy": self.is_copy,
            "status": answer.status if answer else None,
            "error": str(answer.error) if answer else "",
            "explanation": explanation_of(answer.error) if answer else "",
            "duration_millis": answer.duration_millis if answer else None,
            "webhook": self.content,
        }


class Listener:
    """Keep a stream open, and reconnect after restarts of the marketplace and lost connections."""

    def __init__(
        self,
        url: str,
        token: str,
        subscription: Subscription,
        forwarding: Forwarding | None,
        *,
        heard: Callable[[Heard], None],
        role_changed: Callable[[bool], None],
        interrupted: Callable[[float], None],
        uses_proxy: bool = False,
    ) -> None:
        """`heard` receives each webhook. `role_changed` receives whether the answers count, at the start and after each
        change. `interrupted` receives the seconds until the next attempt. Without `forwarding`, answer each webhook
        with 200."""
        query = {"target": mask_url(forwarding.url)[:_LONGEST_TARGET] if forwarding else ""}
        if subscription.event_types:
            query["events"] = ",".join(subscription.event_types)
        if subscription.is_beside:
            query["beside"] = "true"
        path = f"/marketplace/shops/{quote(subscription.shop_id, safe='')}/listen"
        self._marketplace, self._shop_id = url, subscription.shop_id
        self._url = f"ws{url.rstrip('/').removeprefix('http')}{path}?{urlencode(query)}"
        self._token = token
        self._forwarding = forwarding
        self._heard = heard
        self._role_changed = role_changed
        self._interrupted = interrupted
        self._proxy: Literal[True] | None = True if uses_proxy and not is_this_machine(url) else None

    async def run(self) -> None:
        """Listen until cancelled. Raises RefusedError if the first connection fails, or if a later one is refused."""
        failures, was_open = 0, False
        while True:
            try:
                async with connect(
                    self._url,
                    additional_headers={"Authorization": f"Bearer {self._token}"},
                    proxy=self._proxy,
                    compression=None,
                    max_size=_LARGEST_EVENT_BYTES,
                    user_agent_header="kalathi-listen",
                ) as connection:
                    failures, was_open = 0, True
                    await self._serve(connection)
            except websockets.InvalidStatus as error:
                if error.response.status_code < 500 or not was_open:
                    sentence = read_sentences(bytes(error.response.body or b""))
                    if error.response.status_code == 404:
                        sentence = f"There is no shop {self._shop_id}. `kalathi shop list` shows the shops."
                    raise RefusedError(sentence or _not_ours(error.response.status_code)) from None
            except (OSError, websockets.WebSocketException) as error:
                if not was_open:
                    sentence = f"The marketplace at {self._marketplace} does not answer ({type(error).__name__})."
                    raise RefusedError(f"{sentence} Is `kalathi serve` running?") from None
            pause = _PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)]
            failures += 1
            self._interrupted(pause)
            await asyncio.sleep(pause)

    async def _serve(self, connection: ClientConnection) -> None:
        """Handle messages until the marketplace ends the stream."""
        sender: WebhookSender | None = None
        slots, tasks = asyncio.Semaphore(_AT_ONCE), set[asyncio.Task[None]]()
        try:
            async for text in connection:
                message = decode_for_listener(text)
                if isinstance(message, Role):
                    sender = sender or self._sender(message)
                    self._role_changed(message.answers_count)
                    continue
                await slots.acquire()
                task = asyncio.create_task(self._take(connection, message, sender))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                task.add_done_callback(lambda _: slots.release())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if sender is not None:
                await sender.close()

    async def _take(self, connection: ClientConnection, event: Event, sender: WebhookSender | None) -> None:
        answer = None
        if self._forwarding is not None and sender is not None:
            headers = {**event.headers, **self._forwarding.headers}
            answer = await sender.post(self._forwarding.url, event.body.encode(), headers)
        is_copy = event.number == 0
        if not is_copy:
            await connection.send(encode(_make_answer(event.number, answer)).decode())
        self._heard(Heard(event, _content(event.body), answer, is_copy))

    def _sender(self, role: Role) -> WebhookSender:
        tls = None
        if self._forwarding is not None and self._forwarding.is_insecure:
            tls = ssl.create_default_context()
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        return WebhookSender(
            user_agent=role.user_agent, timeout_seconds=role.timeout_seconds, connections=_AT_ONCE, tls=tls
        )


def _make_answer(number: int, answer: Answer | None) -> Answered:
    if answer is None:
        return Answered(number=number, status=200)
    return Answered(
        number=number,
        status=answer.status,
        error=str(answer.error),
        body=answer.body.decode("utf-8", "replace")[:MOST_ANSWER_CHARACTERS],
        duration_millis=answer.duration_millis,
        retry_after_seconds=answer.retry_after_seconds,
    )


def _content(body: str) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _not_ours(status: int) -> str:
    return f"The marketplace answered {status}. Is this its own address, and does a proxy before it pass WebSockets on?"


def _shorten(change: Any) -> str:
    if not isinstance(change, dict):
        return str(change)
    old, new = (json.dumps(change.get(name), ensure_ascii=False) for name in ("old", "new"))
    return " → ".join(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…" for text in (old, new))
