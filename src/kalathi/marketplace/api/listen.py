"""The WebSocket over which a listener receives a shop's webhooks (docs/listening.md)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from kalathi.marketplace.api.operator_token import check_operator
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter
from kalathi.marketplace.listening.messages import EVENT_TYPES, decode_for_marketplace
from kalathi.marketplace.listening.stream import Stream
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import error_reply

LISTEN_PATH: Final = "/marketplace/shops/{id}/listen"
_LONGEST_TARGET: Final = 500
# Close codes of RFC 6455, section 7.4.1.
_UNREADABLE: Final = 1007
_RESTART: Final = 1012
_CLOSE_SECONDS: Final = 1.0


def listen_endpoint(context: Context) -> Callable[[WebSocket], Awaitable[None]]:
    """Return the endpoint. A refusal is an HTTP answer with the usual envelope."""

    async def listen(websocket: WebSocket) -> None:
        try:
            check_operator(websocket, context)
            stream, shop_id = await _open(context, websocket)
        except Exception as error:  # noqa: BLE001  (the edge answers every fault with the envelope)
            refusal = error_reply(error)
            headers = {name.decode(): value.decode() for name, value in refusal.headers}
            await websocket.send_denial_response(Response(refusal.body, refusal.status, headers))
            return
        await websocket.accept()
        context.listeners.join(shop_id, stream)
        tasks = [
            asyncio.ensure_future(_read(websocket, stream)),
            asyncio.ensure_future(stream.run_sender(_sender(websocket))),
            asyncio.ensure_future(stream.ended.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            context.listeners.leave(stream)
        with contextlib.suppress(TimeoutError):
            # A listener that has stopped reading would block the close frame.
            async with asyncio.timeout(_CLOSE_SECONDS):
                await _close(websocket, _RESTART)

    return listen


async def _open(context: Context, websocket: WebSocket) -> tuple[Stream, str]:
    """Check the request, and return its stream and its shop's id. Raises NOT_FOUND, INVALID_PARAMETER, RATE_LIMITED."""
    query, settings = websocket.query_params, context.terms.settings
    shop = await context.database.read(lambda view: find_shop(view, websocket.path_params["id"]))
    names = [name for part in query.get("events", "").split(",") if (name := part.strip())]
    if unknown := [name for name in names if name not in EVENT_TYPES]:
        raise invalid_parameter(
            f"events: {unknown[0][:40]} is not an event; there are {', '.join(sorted(EVENT_TYPES))}."
        )
    is_beside = query.get("beside", "") == "true"
    if settings.mode != "sandbox" and not is_beside:
        sentence = "In production a listener gets copies only. Connect with beside=true (kalathi listen --beside)."
        raise DomainError(ErrorCode.INVALID_PARAMETER, sentence)
    target = query.get("target", "")
    if len(target) > _LONGEST_TARGET or not target.isprintable():
        raise invalid_parameter(f"target: give at most {_LONGEST_TARGET} printable characters.")
    context.listeners.check_room()
    stream = Stream(
        event_types=frozenset(names) or EVENT_TYPES,
        is_beside=is_beside,
        target=target,
        timeout_seconds=settings.webhook_timeout_seconds,
        user_agent=settings.user_agent,
    )
    return stream, shop.id


def _sender(websocket: WebSocket) -> Callable[[str], Awaitable[None]]:
    async def send(text: str) -> None:
        if websocket.application_state is not WebSocketState.CONNECTED:
            raise ConnectionError
        try:
            await websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ConnectionError from error

    return send


async def _read(websocket: WebSocket, stream: Stream) -> None:
    """Read answers until the listener disconnects or sends something else."""
    try:
        while True:
            stream.receive_answer(decode_for_marketplace(await websocket.receive_text()))
    except (WebSocketDisconnect, KeyError):
        pass
    except msgspec.MsgspecError:
        await _close(websocket, _UNREADABLE)


async def _close(websocket: WebSocket, code: int) -> None:
    is_open = websocket.client_state is WebSocketState.CONNECTED
    if is_open and websocket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(OSError, RuntimeError):
            await websocket.close(code)
