"""The list of the places of tables in a database that is spread over nodes, and the statements that do not name their
shop."""

import ast
import logging
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import UniqueConstraint

import kalathi.marketplace
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.kernel.storage.migrating import HEAD
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.kernel.storage.spread.distributing import make_plan
from kalathi.marketplace.kernel.storage.spread.hashing import hash_text
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN, ON_COORDINATOR, REFERENCE
from kalathi.marketplace.kernel.storage.spread.targets import DistributeError, is_spread
from kalathi.marketplace.kernel.storage.statements import positional
from kalathi.marketplace.shops.store import count_shops
from tests.clusters import CITUS
from tests.databases import drop_postgres, fresh_postgres, server_url
from tests.statement_shapes import EXCEPTIONS, MADE_FROM_NAMES, StatementLog, find_unbound, normalise_spaces

_EXCEPTIONS = [text for texts in EXCEPTIONS.values() for text in texts]


def test_each_table_has_one_place() -> None:
    """A table that is missing on the list would stay on one node, and a join with it would fail."""
    places = Counter([*BY_COLUMN, *REFERENCE, *ON_COORDINATOR])
    assert places == Counter(METADATA.tables.keys())


@pytest.mark.parametrize("name", BY_COLUMN)
def test_what_is_unique_in_a_spread_table_has_its_distribution_column(name: str) -> None:
    """A node can only know its own rows, so nothing else can be unique."""
    table = METADATA.tables[name]
    assert BY_COLUMN[name] in table.primary_key.columns
    unique = [index.columns for index in table.indexes if index.unique]
    unique += [constraint.columns for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    for columns in unique:
        assert BY_COLUMN[name] in columns, [column.name for column in columns]


@pytest.mark.parametrize("exception", _EXCEPTIONS)
def test_each_exception_is_a_statement_of_the_sources(exception: str) -> None:
    """An exception that no statement needs could hide a later one."""
    if exception in MADE_FROM_NAMES:
        assert any(MADE_FROM_NAMES[exception] in source.read_text("utf-8") for source in _sources())
        return
    parts = [part.strip() for part in exception.split("…")]
    assert any(all(any(part in text for text in texts) for part in parts) for texts in _texts_by_source())
    assert "…" in exception or find_unbound(exception)


def test_only_exceptions_are_made_from_names() -> None:
    assert set(MADE_FROM_NAMES) <= set(_EXCEPTIONS)


@pytest.mark.anyio
async def test_the_log_has_the_statements_of_stores_and_not_those_of_tests(
    database: Database, statement_log: StatementLog
) -> None:
    logger, log = logging.getLogger("kalathi.statements"), StatementLog()
    logger.removeFilter(statement_log)
    logger.addFilter(log)
    positional.cache_clear()
    await database.read(count_shops)
    await database.read(lambda view: view.all("SELECT shop_id FROM shops", {}))
    await database.read(count_shops)
    logger.removeFilter(log)
    logger.addFilter(statement_log)
    assert log.take_new() == ["SELECT count(*) FROM shops"]
    assert log.take_new() == []


def _sources() -> Iterator[Path]:
    [folder] = kalathi.marketplace.__path__
    return Path(folder).rglob("*.py")


@cache
def _texts_by_source() -> list[list[str]]:
    """Return the texts in the code of each file, with single spaces."""
    trees = [ast.parse(source.read_text("utf-8")) for source in _sources()]
    return [
        [
            normalise_spaces(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        for tree in trees
    ]


def test_the_hash_of_texts_is_that_of_postgresql() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    texts = ["".join(chosen.choices("abcXYZ019-_.αβγ€ 🧺", k=length)) for length in range(40) for _ in range(10)]
    with psycopg.connect(server_url()) as connection:
        rows = connection.execute('SELECT t, hashtext(t COLLATE "C") FROM unnest(%s::text[]) t', [texts]).fetchall()
    assert [(text, hash_text(text)) for text, _ in rows] == rows


@pytest.mark.skipif(bool(CITUS), reason="every database of this run is spread")
def test_a_database_without_citus_is_not_spread_and_the_command_says_what_is_missing() -> None:
    url = fresh_postgres()
    with psycopg.connect(url) as connection:
        assert not is_spread(connection)
    with pytest.raises(DistributeError, match="Install it on each server"):
        make_plan(url, HEAD)
    drop_postgres(url)
