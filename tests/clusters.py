"""A Citus cluster for the tests: KALATHI_TEST_CITUS names its coordinator, as a superuser, in a database whose
`pg_dist_node` has the nodes. Each test has a database of its own on every server, in which all tables are spread."""

import os
from functools import cache
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from kalathi.marketplace.kernel.storage.migrating import migrate_postgres
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.kernel.storage.spread.distributing import distribute

CITUS: Final = os.environ.get("KALATHI_TEST_CITUS", "")
# Few, because each test's database has as many tables for each of ours.
_SHARDS: Final = 4


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
    servers = list_servers(coordinator)
    for server in servers:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(named(server, name), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION citus")
    url = named(coordinator, name)
    with psycopg.connect(url, autocommit=True) as connection:
        first, *others = (urlsplit(server) for server in servers)
        connection.execute("SELECT citus_set_coordinator_host(%s, %s)", [first.hostname, first.port])
        for other in others:
            connection.execute("SELECT citus_add_node(%s, %s)", [other.hostname, other.port])
    migrate_postgres(url)
    distribute(url, shards=_SHARDS, begun=lambda _: None, ended=lambda _: None)
    for server in servers:
        with psycopg.connect(server, autocommit=True) as connection:
            # Citus keeps a connection to each of its databases, and then a database cannot be copied.
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


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
