"""A Citus cluster for the tests: KALATHI_TEST_CITUS names its coordinator, as a superuser, in a database whose
`pg_dist_node` has the nodes. Each test has a database of its own on every server, in which all tables are spread."""

import os
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from kalathi.marketplace.kernel.storage.migrating import HEAD, migrate_postgres
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.kernel.storage.spread.distributing import distribute

CITUS: Final = os.environ.get("KALATHI_TEST_CITUS", "")
# Few, because each test's database has as many tables for each of ours.
_SHARDS: Final = int(os.environ.get("KALATHI_TEST_SHARDS", "4"))


@cache
def list_servers(coordinator: str) -> list[str]:
    """The URLs of all servers, the coordinator's first."""
    with psycopg.connect(coordinator) as connection:
        nodes = connection.execute(
            "SELECT nodename, nodeport FROM pg_dist_node WHERE noderole = 'primary' AND groupid > 0 ORDER BY groupid"
        ).fetchall()
    return [coordinator, *(_at(coordinator, f"{host}:{port}") for host, port in nodes)]


def make_spread_template(coordinator: str, name: str) -> None:
    """Make a database with all tables and no rows, spread over the nodes, that can be copied."""
    url = make_nodes_known(coordinator, name)
    migrate_postgres(url)
    distribute(url, HEAD, shards=_SHARDS, begun=lambda _: None, ended=lambda _: None)
    for server in list_servers(coordinator):
        with psycopg.connect(server, autocommit=True) as connection:
            # Citus keeps a connection to each of its databases, and then a database cannot be copied.
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


def make_nodes_known(coordinator: str, name: str) -> str:
    """Make a database on every server whose coordinator knows the nodes. Return its URL."""
    servers = list_servers(coordinator)
    for server in servers:
        with psycopg.connect(server, autocommit=True) as connection:
            # Of an attempt that failed halfway.
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(named(server, name), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION citus")
    url = named(coordinator, name)
    with psycopg.connect(url, autocommit=True) as connection:
        first, *others = (urlsplit(server) for server in servers)
        connection.execute("SELECT citus_set_coordinator_host(%s, %s)", [first.hostname, first.port])
        for other in others:
            connection.execute("SELECT citus_add_node(%s, %s)", [other.hostname, other.port])
    return url


def copy_on_each_node(coordinator: str, template: str, name: str) -> None:
    """Copy a template on every server."""
    for server in list_servers(coordinator):
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template])
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")


def empty_spread(url: str) -> str:
    """Delete all rows of a spread database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(METADATA.tables)}")
    return url


def named(server: str, name: str) -> str:
    """The URL of a database of a server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def _at(url: str, address: str) -> str:
    parts = urlsplit(url)
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit(parts._replace(netloc=user + address))


class NodeProcess:
    """A server of the cluster as a process of this machine. Needs the right to send it signals."""

    def __init__(self, url: str) -> None:
        """`url` is of any database of the server, as a superuser."""
        with psycopg.connect(url, autocommit=True) as connection:
            self._folder = _value(connection, "SELECT current_setting('data_directory')")
            self._programs = _value(connection, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")

    def kill(self) -> None:
        """End it as a crash does. Recovery follows at the next start."""
        self._run("stop", "-m", "immediate")

    def start(self) -> None:
        """Start it, unless it runs; and let it go on if it is frozen."""
        if self._run("status", must_succeed=False):
            self._run("start", "-l", f"{self._folder}/log-of-tests")
        self.thaw()

    def freeze(self) -> None:
        """Stop all its processes where they are, as if the machine did not answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all its processes go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        first = int((Path(self._folder) / "postmaster.pid").read_text().splitlines()[0])
        # The first one before its children, so that it starts no others.
        for pid in (first, *_list_children(first)):
            os.kill(pid, number)

    def _run(self, command: str, *more: str, must_succeed: bool = True) -> int:
        owner = Path(self._folder).stat().st_uid
        arguments = [f"{self._programs}/pg_ctl", "-D", self._folder, "-w", command, *more]
        run = subprocess.run(arguments, user=owner, check=must_succeed, stdout=subprocess.DEVNULL, cwd="/")
        return run.returncode


def _value(connection: psycopg.Connection, sql: str) -> str:
    row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    return str(row[0])


def _list_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()]
