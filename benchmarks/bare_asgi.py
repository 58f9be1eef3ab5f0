"""The baseline of reads: an ASGI app on the same server that only returns the same bytes."""

import sys
from pathlib import Path

from starlette.types import Receive, Scope, Send

from kalathi.serving import address_of, listening_socket, run_loop, run_server

BODY = Path(sys.argv[1]).read_bytes()
HEADERS = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", str(len(BODY)).encode())]


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def main() -> None:
    bound = listening_socket("127.0.0.1", 0)
    await run_server(answer, bound, lambda: print(f"ready on {address_of(bound)}", flush=True))


run_loop(main())
