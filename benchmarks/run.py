"""`make bench`: each figure is a ratio of two rates that were measured in turn, A B A B, in this one run."""

import itertools
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bare_writer import accept_statements, run_bare
from load import run_load
from orders import TOKEN, Prepared, prepare

PAIRS = 5
READ_SECONDS = 2.0
ACCEPTS = 3000
HEAD = "Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/vnd.skroutz+json; version=3.0\r\n"


@contextmanager
def served(command: list[str]) -> Iterator[str]:
    """A server as a process; gives its address, and how long it took is printed by the caller."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def marketplace(data: Path, *more: str) -> list[str]:
    """The real command, without its worker, so that nothing but the calls is measured."""
    return ["-m", "kalathi.cli", "serve", "--port", "0", "--data", str(data), "--no-worker", *more]


def get_request(code: str) -> bytes:
    return (f"GET /merchants/ecommerce/orders/{code} HTTP/1.1\r\n" + HEAD.format(token=TOKEN) + "\r\n").encode()


def accept_request(code: str, prepared: Prepared) -> bytes:
    body = json.dumps({"pickup_location": prepared.location_id, "pickup_window": prepared.window_id})
    head = HEAD.format(token=TOKEN) + f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST /merchants/ecommerce/orders/{code}/accept HTTP/1.1\r\n{head}\r\n{body}".encode()


def in_turn(name: str, ours: Callable[[], float], bare: Callable[[], float]) -> float:
    """Prints each pair and gives the median of their ratios."""
    ratios = []
    for pair in range(1, PAIRS + 1):
        a, b = ours(), bare()
        ratios.append(a / b)
        print(f"  pair {pair}: ours {a:8.0f}/s   bare {b:8.0f}/s   ratio {a / b:.3f}", flush=True)
    median = statistics.median(ratios)
    print(f"{name}: {median:.3f} (from {min(ratios):.3f} to {max(ratios):.3f})\n", flush=True)
    return median


def reads(folder: Path) -> float:
    """GET of one open order of two lines against a bare ASGI app that answers the same bytes."""
    data = folder / "reads"
    prepared = prepare(data / "kalathi.db", 1)
    request = get_request(prepared.codes[0])
    with served(marketplace(data)) as ours:
        body = folder / "order.json"
        body.write_bytes(fetch(ours, request))
        with served([str(Path(__file__).with_name("bare_asgi.py")), str(body)]) as bare:
            print(f"Reads: GET of an order, {body.stat().st_size} bytes, 32 callers, {READ_SECONDS:g} s a turn")

            def rate(address: str) -> float:
                load = run_load(address, itertools.repeat(request), seconds=READ_SECONDS)
                assert not load.failures, load
                return load.per_second

            rate(ours), rate(bare)  # warm
            return in_turn("GET of an order / bare ASGI", lambda: rate(ours), lambda: rate(bare))


def accepts(folder: Path) -> float:
    """Durable accepts over HTTP against the bare driver running the same statements in groups of 32."""
    data = folder / "accepts"
    prepared = prepare(data / "kalathi.db", ACCEPTS * (PAIRS + 1))
    bare_path, collected_path = folder / "bare.db", folder / "collected.db"
    shutil.copy(data / "kalathi.db", bare_path)
    shutil.copy(data / "kalathi.db", collected_path)
    sets = accept_statements(bare_path, prepared, prepared.codes)
    turns = iter([prepared.codes[first : first + ACCEPTS] for first in range(0, len(prepared.codes), ACCEPTS)])
    bare_turns = iter([sets[first : first + ACCEPTS] for first in range(0, len(sets), ACCEPTS)])
    print(f"Accepts: {ACCEPTS} a turn, 32 callers, WAL, synchronous=FULL, {len(sets[0])} statements each")
    with served(marketplace(data)) as ours:

        def rate() -> float:
            load = run_load(ours, iter([accept_request(code, prepared) for code in next(turns)]))
            assert load.answers == ACCEPTS, load
            assert not load.failures, load
            return load.per_second

        rate(), run_bare(bare_path, next(bare_turns))  # warm
        ratio = in_turn("Accepts over HTTP / bare driver", rate, lambda: run_bare(bare_path, next(bare_turns)))
    per_second = statistics.median(
        run_bare(collected_path, sets[first : first + ACCEPTS], collected=True)
        for first in range(0, len(sets), ACCEPTS)
    )
    print(f"For comparison, the bare driver with inserts collected by shape as ours: {per_second:.0f}/s\n")
    return ratio


def fetch(address: str, request: bytes) -> bytes:
    """The body of one answer."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return answer.partition(b"\r\n\r\n")[2]


def time_to_ready(folder: Path) -> float:
    """Seconds from the start of the process to the line that says it is ready."""
    times = []
    for number in range(5):
        started = time.perf_counter()
        with served(["-m", "kalathi.cli", "serve", "--port", "0", "--data", str(folder / f"ready{number}")]):
            times.append(time.perf_counter() - started)
    print(f"Time to ready of `kalathi serve`: {statistics.median(times):.2f} s (median of 5)\n")
    return statistics.median(times)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="kalathi-bench-") as name:
        wanted = sys.argv[1:] or ["ready", "reads", "accepts"]
        for figure in wanted:
            {"ready": time_to_ready, "reads": reads, "accepts": accepts}[figure](Path(name))
