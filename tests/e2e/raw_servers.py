"""Servers that speak bytes, for what no library would send. When the test ends, every connection is closed and every
handler has ended: a socket that is left open would be reported in whichever test runs next."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server whose connections are handled by `serve`, and return its port on 127.0.0.1. A handler that still
    runs at the end is cancelled. One that has failed fails the test, unless only its connection ended."""
    handlers: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        handlers.append(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for handler in handlers:
            handler.cancel()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*handlers, return_exceptions=True)
        for writer in writers:
            with contextlib.suppress(OSError):  # The client may have hung up.
                await writer.wait_closed()
        await server.wait_closed()
    for handler in handlers:
        # The client hangs up, or the test ends.
        with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            handler.result()
