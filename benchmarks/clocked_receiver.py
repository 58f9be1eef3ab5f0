"""A shop's endpoint that notes when the first byte of each POST arrives. A path that begins with /slow answers after 8
seconds. GET returns the times by the name in the body's first member: seconds of the machine's monotonic clock."""

import asyncio
import json
import re
import time
from typing import ClassVar, cast

import uvloop

SLOW_SECONDS = 8.0
_NAME = re.compile(rb'"order":"([^"]+)"')


class Shop(asyncio.Protocol):
    """Answer each request once its body is complete."""

    # One table for all connections of the process.
    times: ClassVar[dict[str, float]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self._began_at = 0.0

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._began_at = time.monotonic()
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:head_end].lower()
            if head.startswith(b"get"):
                times = json.dumps(Shop.times).encode()
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(times), times))
                self._buffer = self._buffer[head_end + 4 :]
                continue
            at = head.index(b"content-length:") + 15
            line_end = head.find(b"\r\n", at)
            length = int(head[at : line_end if line_end > 0 else None])
            if len(self._buffer) < head_end + 4 + length:
                return
            body = self._buffer[head_end + 4 : head_end + 4 + length]
            self._buffer = self._buffer[head_end + 4 + length :]
            name = _NAME.search(body)
            if name:
                Shop.times.setdefault(name[1].decode(), self._began_at)
            if head.startswith(b"post /slow"):
                asyncio.get_running_loop().call_later(SLOW_SECONDS, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Shop, "127.0.0.1", 0)
    print(f"ready on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
