"""`make bench`: each figure is a ratio of two rates, measured alternately (A B A B) in the same run."""

import itertools
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import celery_peer
from bare_writer import accept_statements, run_bare
from figures import Figures
from large import grow
from load import run_load
from orders import TOKEN, Prepared, prepare
from pages import ORDERS, ROWS, TURNS, Reader, prepare_list
from peers import commands, install, running

sys.path.append(str(Path(__file__).parents[1]))
from tests.databases import drop_postgres, empty_postgres, fresh_postgres

# A commit waits for the disk on PostgreSQL as it does on SQLite.
os.environ["KALATHI_TEST_FSYNC"] = "on"
FIGURES = Figures()
PAIRS = int(os.environ.get("KALATHI_BENCH_PAIRS", "5"))
READ_SECONDS = 2.0
ACCEPTS = 3000
DELIVERIES = 30_000
CELERY = 2000
BATCHED = 20_000
FEW, MANY = 1_000, 1_000_000
# The answer of a GET with a query is not kept.
NOT_KEPT = "?kept=no"
HEAD = "Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/vnd.skroutz+json; version=3.0\r\n"


@contextmanager
def served(command: list[str]) -> Iterator[str]:
    """Run a server as a process. Yield its address once it is ready."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def marketplace(data: Path, *more: str) -> list[str]:
    """Return the real `serve` command without its worker, so that only the calls are measured."""
    return ["-m", "kalathi.cli", "serve", "--port", "0", "--data", str(data), "--no-worker", *more]


def get_request(code: str, query: str = "", token: str = TOKEN) -> bytes:
    path = f"/merchants/ecommerce/orders/{code}{query}"
    return (f"GET {path} HTTP/1.1\r\n" + HEAD.format(token=token) + "\r\n").encode()


def accept_request(code: str, prepared: Prepared, token: str = TOKEN) -> bytes:
    body = json.dumps({"pickup_location": prepared.location_id, "pickup_window": prepared.window_id})
    head = HEAD.format(token=token) + f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST /merchants/ecommerce/orders/{code}/accept HTTP/1.1\r\n{head}\r\n{body}".encode()


def in_turn(name: str, ours: Callable[[], float], other: Callable[[], float], names: tuple[str, str]) -> float:
    """Print each pair of figures. Return the median of their ratios."""
    ratios = []
    columns: dict[str, list[float]] = {name: [] for name in names}
    for pair in range(1, PAIRS + 1):
        a, b = ours(), other()
        ratios.append(a / b)
        columns[names[0]].append(a)
        columns[names[1]].append(b)
        print(f"  pair {pair}: {names[0]} {a:10.6g}   {names[1]} {b:10.6g}   ratio {a / b:.3f}", flush=True)
    median = statistics.median(ratios)
    print(f"{name}: {median:.3f} (from {min(ratios):.3f} to {max(ratios):.3f})\n", flush=True)
    FIGURES.keep(name, ratios, columns)
    return median


def rate(address: str, request: bytes) -> float:
    """Return the answers a second to one repeated request."""
    load = run_load(address, itertools.repeat(request), seconds=READ_SECONDS)
    assert not load.failures, load
    return load.per_second


def reads(folder: Path) -> float:
    """GET of one open order of two lines against a bare ASGI app that answers the same bytes: from the kept answers,
    and rendered anew."""
    data = folder / "reads"
    prepared = prepare(data / "kalathi.db", 1)
    request = get_request(prepared.codes[0])
    with served(marketplace(data)) as ours:
        body = folder / "order.json"
        body.write_bytes(fetch(ours, request))
        with served([str(Path(__file__).with_name("bare_asgi.py")), str(body)]) as bare:
            print(f"Reads: GET of an order, {body.stat().st_size} bytes, 32 callers, {READ_SECONDS:g} s a turn")

            anew = get_request(prepared.codes[0], NOT_KEPT)
            rate(ours, request), rate(bare, request)  # warm
            plain = partial(rate, bare, request)
            in_turn(
                "GET of an order, rendered anew / bare ASGI", partial(rate, ours, anew), plain, ("ours/s", "bare/s")
            )
            return in_turn("GET of an order / bare ASGI", partial(rate, ours, request), plain, ("ours/s", "bare/s"))


def request_log(folder: Path) -> float:
    """GET of an order that has not changed with the request log on, against the same with the log off."""
    prepared = prepare(folder / "on" / "kalathi.db", 1)
    (folder / "off").mkdir()
    shutil.copy(folder / "on" / "kalathi.db", folder / "off" / "kalathi.db")
    request = get_request(prepared.codes[0])
    print(f"Request log: GET of an order, 32 callers, {READ_SECONDS:g} s a turn")
    with (
        served(marketplace(folder / "on", "--request-log", "on")) as logged,
        served(marketplace(folder / "off", "--request-log", "off")) as silent,
    ):
        rate(logged, request), rate(silent, request)  # warm
        on, off = partial(rate, logged, request), partial(rate, silent, request)
        return in_turn("GET of an order, request log on / off", on, off, ("on/s", "off/s"))


SUITE = """\
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def hook(request):
    return PlainTextResponse("answer")

@pytest.mark.parametrize("number", range(500))
def test_of_a_shop(kalathi, number):
    kalathi.webhooks_to(Starlette(routes=[Route("/hook", hook, methods=["POST"])]), "/hook")
    order = kalathi.play("new_order").order
    kalathi.deliveries.wait(1, order=order)
"""


def suite(folder: Path) -> float:
    """Seconds of a test suite of an integrator: 500 tests with the pytest plugin, each with a shop and a receiver."""
    file = folder / "test_suite.py"
    file.write_text(SUITE, "utf-8")
    took = {}
    for workers in (0, 2):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), str(file)]
        begun = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        took[workers] = time.perf_counter() - begun
    print(f"Suite of 500 tests: {took[0]:.1f} s, with two xdist workers {took[2]:.1f} s")
    return took[0]


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

        def accepted() -> float:
            load = run_load(ours, iter([accept_request(code, prepared) for code in next(turns)]))
            assert load.answers == ACCEPTS, load
            assert not load.failures, load
            return load.per_second

        accepted(), run_bare(bare_path, next(bare_turns))  # warm
        ratio = in_turn(
            "Accepts over HTTP / bare driver",
            accepted,
            lambda: run_bare(bare_path, next(bare_turns)),
            ("ours/s", "bare/s"),
        )
    per_second = statistics.median(
        run_bare(collected_path, sets[first : first + ACCEPTS], collected=True)
        for first in range(0, len(sets), ACCEPTS)
    )
    print(f"For comparison, the bare driver with inserts collected by shape as ours: {per_second:.0f}/s\n")
    return ratio


def sizes(folder: Path) -> None:
    """Medians of GET and accept with 1,000 and with 1,000,000 open orders in the file."""
    small, large = folder / "small", folder / "large"
    prepared = prepare(small / "kalathi.db", FEW)
    large.mkdir()
    shutil.copy(small / "kalathi.db", large / "kalathi.db")
    started = time.perf_counter()
    codes = grow(large / "kalathi.db", prepared.codes[0], MANY)
    size = (large / "kalathi.db").stat().st_size / 2**30
    print(f"Sizes: {FEW} and {MANY} open orders ({size:.1f} GiB, made in {time.perf_counter() - started:.0f} s)")
    # A thousand answers would be kept in memory, a million would not.
    few_gets = [get_request(code, NOT_KEPT) for code in prepared.codes]
    many_gets = [get_request(code, NOT_KEPT) for code in codes]
    with served(marketplace(small)) as few, served(marketplace(large)) as many:

        def median_of_gets(address: str, requests: list[bytes]) -> float:
            random.shuffle(requests)
            load = run_load(address, itertools.cycle(requests), seconds=READ_SECONDS)
            assert not load.failures, load
            return load.median_millis

        median_of_gets(few, few_gets), median_of_gets(many, many_gets)  # warm
        in_turn(
            f"Median of GET, {MANY} orders / {FEW}",
            lambda: median_of_gets(many, many_gets),
            lambda: median_of_gets(few, few_gets),
            ("ms, many", "ms, few"),
        )
        turns = {address: iter(range(PAIRS + 1)) for address in (few, many)}
        each = FEW // (PAIRS + 1)

        def median_of_accepts(address: str) -> float:
            first = next(turns[address]) * each
            load = run_load(
                address, iter([accept_request(code, prepared) for code in prepared.codes[first : first + each]])
            )
            assert load.answers == each, load
            assert not load.failures, load
            return load.median_millis

        median_of_accepts(few), median_of_accepts(many)  # warm
        in_turn(
            f"Median of accept, {MANY} orders / {FEW}",
            lambda: median_of_accepts(many),
            lambda: median_of_accepts(few),
            ("ms, many", "ms, few"),
        )


def peers(folder: Path) -> None:
    """GET of one order against Prism and Mockoon, which answer the same body without a database behind it."""
    data, mocks = folder / "peers", folder / "mocks"
    mocks.mkdir()
    reason = install(mocks)
    if reason is not None:
        print(f"{reason}\n")
        return
    prepared = prepare(data / "kalathi.db", 1)
    request = get_request(prepared.codes[0])
    with served(marketplace(data)) as ours:
        body = mocks / "order.json"
        body.write_bytes(fetch(ours, request))
        path = f"/merchants/ecommerce/orders/{prepared.codes[0]}"
        # Prism knows media types of JSON only by their plain name.
        plain = request.replace(b"application/vnd.skroutz+json; version=3.0", b"application/json")
        for name, (command, port) in commands(mocks, path, body).items():
            with running(command, port) as theirs:
                assert json.loads(fetch(theirs, plain)) == json.loads(body.read_bytes()), f"{name} answers otherwise"
                print(f"Peers: GET of an order against {name}, 32 callers, {READ_SECONDS:g} s a turn")

                rate(ours, request), rate(theirs, plain)  # warm
                in_turn(
                    f"GET of an order / {name}",
                    partial(rate, ours, request),
                    partial(rate, theirs, plain),
                    ("ours/s", "theirs/s"),
                )


def deliveries(folder: Path) -> None:
    """Deliveries with durable records by one worker, on each database, against bare loops of aiohttp and of our own
    sender."""
    here = Path(__file__).parent
    with served([str(here / "receiver.py")]) as endpoint:

        def measured(kind: str, *more: str) -> float:
            return float(output_of([str(here / "deliveries.py"), kind, endpoint, str(DELIVERIES), *more]))

        for name in ("SQLite", "PostgreSQL"):
            turns = itertools.count()

            def ours(name: str = name, turns: Iterator[int] = turns) -> float:
                database = [fresh_postgres()] if name == "PostgreSQL" else []
                return measured("ours", str(folder / f"{name}{next(turns)}"), *database)

            for floor in ("aiohttp", "sender"):
                print(f"Deliveries on {name}: {DELIVERIES} a turn, 100 shops, against a bare loop of {floor}")
                names = ("ours/s", f"{floor}/s")
                in_turn(f"Deliveries on {name} / bare {floor}", ours, partial(measured, floor), names)


def workers(folder: Path) -> None:
    """Four workers on one PostgreSQL against one, each a process, with HTTP to the receiver."""
    here = Path(__file__).parent
    turns = itertools.count()
    with served([str(here / "receiver.py")]) as endpoint:

        def delivered(count: int) -> float:
            url = fresh_postgres()
            run = [sys.executable, str(here / "deliveries.py")]
            subprocess.run([*run, "plan", str(DELIVERIES), url, endpoint], check=True, stderr=subprocess.DEVNULL)
            rate = float(output_of([str(here / "fleet.py"), str(count), url, str(folder / f"fleet{next(turns)}")]))
            drop_postgres(url)
            return rate

        print(f"Four workers on one PostgreSQL: {DELIVERIES} deliveries a turn, 100 shops")
        in_turn("Four workers / one", partial(delivered, 4), partial(delivered, 1), ("four/s", "one/s"))


def latency(folder: Path) -> None:
    """The time from an event to the first byte at the endpoint, and how ten slow shops change it. With
    KALATHI_BENCH_OLD, the folder of a checkout of an earlier version, also side by side with that version."""
    here, turns = Path(__file__).parent, itertools.count()

    def percentile(name: str, column: str, rate: int, slow: int, old: str = "") -> float:
        database = [empty_postgres()] if name == "PostgreSQL" else []
        where = str(folder / f"latency{next(turns)}")
        with served([str(here / "clocked_receiver.py")]) as endpoint:
            arguments = [endpoint, str(max(400, 4 * rate)), str(rate), str(slow), where, *database]
            environment = os.environ | ({"PYTHONPATH": f"{old}/src"} if old else {})
            command = [sys.executable, str(here / "latency.py"), *arguments]
            run = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True, stderr=subprocess.DEVNULL, env=environment
            )
        return float(json.loads(run.stdout)[column])

    old = os.environ.get("KALATHI_BENCH_OLD", "")
    for name in ("SQLite", "PostgreSQL"):
        print(f"Latency on {name}: from the cart's commit to the first byte, median, 50 events a second")
        alone, slow = partial(percentile, name, "call_p50", 50, 0), partial(percentile, name, "call_p50", 50, 10)
        in_turn(f"Median on {name} with ten slow shops / without", slow, alone, ("ms, with", "ms, without"))
        for column in ("commit_p50", "commit_p99") if old else ():
            print(f"Latency on {name}: from the end of the commit to the first byte, 1000 events a second, {column}")
            now, before = partial(percentile, name, column, 1000, 0), partial(percentile, name, column, 1000, 0, old)
            in_turn(f"Latency on {name}, {column} / before", now, before, ("ms, now", "ms, before"))


def celery(folder: Path) -> None:
    """Deliveries by one worker of ours, on each database, against Celery with Redis and requests."""
    here, environment = Path(__file__).parent, folder / "celery"
    reason = celery_peer.install(environment)
    if reason is not None:
        print(f"{reason}\n")
        return
    with served([str(here / "receiver.py")]) as endpoint, celery_peer.redis(folder) as broker:
        print(f"Deliveries: {DELIVERIES} a turn of ours, {CELERY} of Celery's with {celery_peer.CONCURRENCY} processes")
        for name in ("PostgreSQL", "SQLite"):
            turns = itertools.count()

            def ours(name: str = name, turns: Iterator[int] = turns, endpoint: str = endpoint) -> float:
                database = [fresh_postgres()] if name == "PostgreSQL" else []
                data = str(folder / f"against{name}{next(turns)}")
                command = [str(here / "deliveries.py"), "ours", endpoint, str(DELIVERIES), data, *database]
                return float(output_of(command))

            def theirs(endpoint: str = endpoint, broker: str = broker) -> float:
                return celery_peer.deliveries_per_second(environment, broker, endpoint, CELERY, lambda: count(endpoint))

            in_turn(f"Deliveries on {name} / Celery with Redis and requests", ours, theirs, ("ours/s", "Celery/s"))


def batches(folder: Path) -> None:
    """Reads and records of deliveries in batches on PostgreSQL, without sending, against bare psycopg."""
    for workers in (1, 4):
        print(f"Batches of 400 on PostgreSQL, {workers} at work: {BATCHED} deliveries a turn, 100 shops")
        in_turn(
            f"Read and record, {workers} at work / bare psycopg",
            partial(batched, folder, "ours", workers),
            partial(batched, folder, "bare", workers),
            ("ours/s", "bare/s"),
        )


def batched(folder: Path, kind: str, workers: int) -> float:
    """Return the deliveries a second that `workers` processes read and record together, from the first start to the
    last end."""
    here, url = Path(__file__).parent, fresh_postgres()
    subprocess.run([sys.executable, str(here / "deliveries.py"), "plan", str(BATCHED), url], check=True)
    command = [sys.executable, str(here / "batches.py"), kind, url]
    processes = [
        subprocess.Popen([*command, str(place), str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for place in range(workers)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0].split() for process in processes]
    assert sum(int(done) for done, _, _ in answers) == BATCHED, answers
    drop_postgres(url)
    return BATCHED / (max(float(end) for _, _, end in answers) - min(float(start) for _, start, _ in answers))


def databases(folder: Path) -> None:
    """Accepts over HTTP on PostgreSQL against SQLite."""
    prepared = {
        "PostgreSQL": (url := fresh_postgres(), prepare(url, ACCEPTS * (PAIRS + 1))),
        "SQLite": ("", prepare(folder / "databases" / "kalathi.db", ACCEPTS * (PAIRS + 1))),
    }
    print(f"Accepts by database: {ACCEPTS} a turn, 32 callers, synchronous to disk on both")
    with (
        served(marketplace(folder / "databases")) as on_sqlite,
        served(marketplace(folder / "elsewhere", "--database", url)) as on_postgres,
    ):
        requests = {
            address: iter([accept_request(code, orders) for code in orders.codes])
            for address, (_, orders) in ((on_postgres, prepared["PostgreSQL"]), (on_sqlite, prepared["SQLite"]))
        }

        def accepted(address: str) -> float:
            load = run_load(address, itertools.islice(requests[address], ACCEPTS))
            assert (load.answers, load.failures) == (ACCEPTS, 0), load
            return load.per_second

        accepted(on_postgres), accepted(on_sqlite)  # warm
        in_turn(
            "Accepts on PostgreSQL / on SQLite",
            partial(accepted, on_postgres),
            partial(accepted, on_sqlite),
            ("PostgreSQL/s", "SQLite/s"),
        )


def pages(folder: Path) -> None:
    """The list of orders as a page against the API's list call of the same rows, of all states and of one."""
    data = folder / "pages"
    prepare_list(data)
    with served(marketplace(data)) as ours:
        reader = Reader(ours)
        reader.sign_in()
        print(f"Pages: the list of {ORDERS} orders, {ROWS} rows, {TURNS} a turn")
        for query, name in (("", "all states"), ("?state=open", "one state")):
            reader.page_millis(query), reader.call_millis(query)  # warm
            in_turn(
                f"Page of the list / call of the list, {name}",
                partial(reader.page_millis, query),
                partial(reader.call_millis, query),
                ("ms, page", "ms, call"),
            )


def output_of(command: list[str]) -> str:
    """Run a Python script and return its output."""
    return subprocess.run(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True, stderr=subprocess.DEVNULL
    ).stdout


def count(endpoint: str) -> int:
    """Return the number of POSTs that the receiver has received."""
    host, _, port = endpoint.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return int(connection.recv(200).rpartition(b"\r\n")[2])


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
        figures: dict[str, Callable[[Path], object]] = {
            "ready": time_to_ready,
            "reads": reads,
            "request_log": request_log,
            "suite": suite,
            "accepts": accepts,
            "databases": databases,
            "deliveries": deliveries,
            "workers": workers,
            "latency": latency,
            "batches": batches,
            "celery": celery,
            "peers": peers,
            "sizes": sizes,
            "pages": pages,
        }
        for figure in sys.argv[1:] or figures:
            figures[figure](Path(name))
            FIGURES.save()
