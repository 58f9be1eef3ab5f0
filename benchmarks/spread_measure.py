"""Measure the cost of spreading: the same work on a plain database and on a spread one, on equal cores.

    python benchmarks/spread_measure.py postgresql://postgres@127.0.0.1:5432/postgres

names the coordinator of a Citus cluster on this machine, as a superuser. The plain database is on the same server,
without Citus. Each figure is a ratio of two rates that were measured alternately. Beside it is the processor time of
all PostgreSQL processes for one operation, by server.
"""

import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psycopg
from load import run_load
from orders import TOKEN, Prepared, prepare
from run import accept_request, get_request, marketplace, output_of, served

sys.path.append(str(Path(__file__).parents[1]))
from kalathi.marketplace.kernel.storage.migrating import migrate_postgres
from kalathi.marketplace.kernel.storage.opening import open_database
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.shops.model import hash_token
from tests.clusters import copy_on_each_node, list_servers, make_spread_template, named

PAIRS = int(os.environ.get("KALATHI_BENCH_PAIRS", "3"))
SHOPS = 8
ACCEPTS = 1600
DELIVERIES = 10_000
STATEMENTS = 2000
READ_SECONDS = 2.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Kind(NamedTuple):
    """A database that is measured."""

    name: str
    url: str
    shops: list[Prepared]


def server_seconds(servers: dict[str, int]) -> dict[str, float]:
    """The processor time of each server's processes so far, in seconds."""
    return {name: sum(map(_seconds_of, (pid, *_children(pid)))) for name, pid in servers.items()}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # It has just ended; its parent has its time.
    return sum(map(int, fields[11:15])) / _TICKS


def compare(name: str, plain: Callable[[], float], spread: Callable[[], float], servers: dict[str, int]) -> None:
    """Print the rates of both, in turn, and the processor time of one operation. Each function returns its rate, and
    leaves the number of its operations in `done`."""
    ratios: list[float] = []
    times: dict[str, list[dict[str, float]]] = {"plain": [], "spread": []}
    for pair in range(1, PAIRS + 1):
        rates = []
        for kind, run in (("plain", plain), ("spread", spread)):
            before = server_seconds(servers)
            rates.append(run())
            after = server_seconds(servers)
            times[kind].append({server: (after[server] - before[server]) / done[0] * 1000 for server in servers})
        ratios.append(rates[1] / rates[0])
        print(f"  pair {pair}: plain {rates[0]:9.1f}/s   spread {rates[1]:9.1f}/s   ratio {ratios[-1]:.3f}", flush=True)
    print(f"{name}: {statistics.median(ratios):.3f} of plain ({min(ratios):.3f} to {max(ratios):.3f})")
    for kind, measured in times.items():
        each = {server: statistics.median(one[server] for one in measured) for server in servers}
        print(f"  {kind}, ms of a core: " + ", ".join(f"{server} {ms:.3f}" for server, ms in each.items()))
    print(flush=True)


# The operations of the last measurement.
done = [1]


def prepare_shops(url: str, each: int) -> list[Prepared]:
    return [prepare(url, each, token=f"{TOKEN}-{number}") for number in range(SHOPS)]


def measure_gets(address: str, shops: list[Prepared]) -> float:
    requests = [
        get_request(code, "?kept=no", token=f"{TOKEN}-{number}")
        for number, shop in enumerate(shops)
        for code in shop.codes[:20]
    ]
    load = run_load(address, itertools.cycle(requests), seconds=READ_SECONDS)
    assert not load.failures, load
    done[0] = load.answers
    return load.per_second


def measure_accepts(address: str, turns: "itertools.count[int]", shops: list[Prepared]) -> float:
    first = next(turns) * (ACCEPTS // SHOPS)
    requests = [
        accept_request(shop.codes[first + place], shop, token=f"{TOKEN}-{number}")
        for place in range(ACCEPTS // SHOPS)
        for number, shop in enumerate(shops)
    ]
    load = run_load(address, iter(requests))
    assert load.answers == ACCEPTS, load
    assert not load.failures, load
    done[0] = ACCEPTS
    return load.per_second


def measure_places(url: str, turns: "itertools.count[int]") -> float:
    count, token = 600, f"place-{next(turns)}"
    began = time.perf_counter()
    prepare(url, count, token=token)
    done[0] = count
    return count / (time.perf_counter() - began)


def measure_deliveries(make: Callable[[], str], endpoint: str, folder: Path) -> float:
    script = str(Path(__file__).with_name("deliveries.py"))
    done[0] = DELIVERIES
    return float(output_of([script, "ours", endpoint, str(DELIVERIES), str(folder), make()]))


def measure_statements(kind: Kind) -> float:
    """Reads of token, shop and order, one after the other."""
    codes = [(hash_token(f"{TOKEN}-{number}"), shop.codes[0]) for number, shop in enumerate(kind.shops)]

    async def run() -> float:
        database = await open_database(kind.url)
        reads = [partial(orders.for_token, token_hash=token, code=code) for token, code in codes]
        for read in reads * 8:
            await database.read_point(read)
        began = time.perf_counter()
        for number in range(STATEMENTS):
            await database.read_point(reads[number % len(reads)])
        seconds = time.perf_counter() - began
        await database.close()
        return STATEMENTS / seconds

    done[0] = STATEMENTS
    return asyncio.run(run())


def main(coordinator: str) -> None:
    servers = {}
    for number, url in enumerate(list_servers(coordinator)):
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT current_setting('data_directory')").fetchone()
            assert row is not None
            pid = int((Path(row[0]) / "postmaster.pid").read_text().splitlines()[0])
            servers["coordinator" if number == 0 else f"node {number}"] = pid
    template = f"bench_template_{os.getpid()}"
    make_spread_template(coordinator, template)
    made = itertools.count()

    def make_spread() -> str:
        name = f"bench_spread_{os.getpid()}_{next(made)}"
        copy_on_each_node(coordinator, template, name)
        return named(coordinator, name)

    def make_plain() -> str:
        name = f"bench_plain_{os.getpid()}_{next(made)}"
        with psycopg.connect(coordinator, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        migrate_postgres(named(coordinator, name))
        return named(coordinator, name)

    each = ACCEPTS // SHOPS * (PAIRS + 1)
    plain_url, spread_url = make_plain(), make_spread()
    plain = Kind("plain", plain_url, prepare_shops(plain_url, each))
    spread = Kind("spread", spread_url, prepare_shops(spread_url, each))
    compare("Reads one by one", partial(measure_statements, plain), partial(measure_statements, spread), servers)
    with TemporaryDirectory() as folder:
        at = Path(folder)
        with (
            served(marketplace(at / "plain", "--database", plain.url)) as ours,
            served(marketplace(at / "spread", "--database", spread.url)) as theirs,
        ):
            measure_gets(ours, plain.shops), measure_gets(theirs, spread.shops)
            compare(
                "GET", partial(measure_gets, ours, plain.shops), partial(measure_gets, theirs, spread.shops), servers
            )
            turns = {kind: itertools.count() for kind in ("plain", "spread")}
            measure_accepts(ours, turns["plain"], plain.shops), measure_accepts(theirs, turns["spread"], spread.shops)
            compare(
                "Accepts",
                partial(measure_accepts, ours, turns["plain"], plain.shops),
                partial(measure_accepts, theirs, turns["spread"], spread.shops),
                servers,
            )
        places = itertools.count()
        measure_places(plain.url, places), measure_places(spread.url, places)
        compare(
            "Placing", partial(measure_places, plain.url, places), partial(measure_places, spread.url, places), servers
        )
        receiver = str(Path(__file__).with_name("receiver.py"))
        with served([receiver]) as endpoint:
            compare(
                "Deliveries",
                partial(measure_deliveries, make_plain, endpoint, at / "d"),
                partial(measure_deliveries, make_spread, endpoint, at / "d"),
                servers,
            )


if __name__ == "__main__":
    main(sys.argv[1])
