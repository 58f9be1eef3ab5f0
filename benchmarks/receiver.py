"""A shop's endpoint that only answers 200, so that the benchmark measures the sender. GET returns the number of
received POSTs."""

import asyncio
from typing import cast

import uvloop


class Shop(asyncio.Protocol):
    """Answer each request once its body is complete."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:head_end].lower()
            if head.startswith(b"get"):
                count = str(Shop.received).encode()
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(count), count))
                self._buffer = self._buffer[head_end + 4 :]
                continue
            at = head.index(b"content-length:") + 15
            line_end = head.find(b"\r\n", at)
            length = int(head[at : line_end if line_end > 0 else None])
            if len(self._buffer) < head_end + 4 + length:
                return
            self._buffer = self._buffer[head_end + 4 + length :]
            Shop.received += 1
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Shop, "127.0.0.1", 0)
    print(f"ready on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
