"""The tables of the merchant's file, created in one transaction, and the lock that the connector holds."""

import sqlite3
from pathlib import Path
from typing import IO, Final

from kalathi.system.locks import lock_file

# Increase this with every change of the tables. A new file is no loss: the connector fetches open and accepted orders
# from the marketplace again.
_VERSION: Final = 5
_PUBLICATIONS: Final = """
CREATE TABLE publications (
  product_id TEXT PRIMARY KEY, document BLOB, source INTEGER, held INTEGER, buffer INTEGER,
  is_confirmed INTEGER NOT NULL, published_at REAL, answer TEXT NOT NULL, waiting_price INTEGER, allowed_price INTEGER,
  gone_at REAL, batch_id TEXT NOT NULL, taken BLOB, refused BLOB) WITHOUT ROWID;
CREATE INDEX publications_unconfirmed ON publications (product_id) WHERE NOT is_confirmed;
CREATE INDEX publications_failed ON publications (product_id)
  WHERE answer NOT IN ('', 'success', 'no_change', 'in progress') AND gone_at IS NULL;
CREATE INDEX publications_allowed ON publications (product_id) WHERE allowed_price IS NOT NULL;
CREATE INDEX publications_waiting ON publications (product_id) WHERE waiting_price IS NOT NULL;
CREATE TABLE batches (batch_id TEXT PRIMARY KEY, tries INTEGER NOT NULL, not_before REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE moved (uid TEXT PRIMARY KEY) WITHOUT ROWID;
"""
# For each older version, the statements that upgrade it to the next one. Other versions cannot be upgraded.
_UPGRADES: Final = {3: "ALTER TABLE reservations ADD COLUMN shown_until REAL", 4: _PUBLICATIONS}
# A process that only reads, or requests a voucher, waits for the connector's own short writes.
_WAIT_MILLISECONDS: Final = 5000
_TABLES: Final = """
CREATE TABLE events (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL, received_at REAL NOT NULL,
  state TEXT NOT NULL, note TEXT NOT NULL, is_verified INTEGER NOT NULL);
CREATE INDEX events_new ON events (id) WHERE state = 'new';
CREATE INDEX events_aside ON events (id) WHERE state = 'aside';
CREATE TABLE looks (
  kind TEXT NOT NULL, code TEXT NOT NULL, state TEXT NOT NULL, wanted INTEGER NOT NULL, tries INTEGER NOT NULL,
  not_before REAL NOT NULL, note TEXT NOT NULL, seen TEXT NOT NULL, answer_until REAL, warned INTEGER NOT NULL,
  handed BLOB, looked_at REAL, has_left INTEGER NOT NULL, failure TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (kind, code)) WITHOUT ROWID;
CREATE INDEX looks_due ON looks (not_before) WHERE state = 'due';
CREATE INDEX looks_person ON looks (looked_at, code) WHERE state = 'person';
CREATE INDEX looks_to_answer ON looks (answer_until) WHERE answer_until IS NOT NULL;
CREATE INDEX looks_seen ON looks (seen);
CREATE TABLE reservations (
  code TEXT NOT NULL, uids TEXT NOT NULL, quantity INTEGER NOT NULL, left_at REAL, counted_as TEXT NOT NULL,
  number INTEGER, gone_at REAL, shown_until REAL, PRIMARY KEY (code, uids)) WITHOUT ROWID;
CREATE TABLE printed (
  url TEXT PRIMARY KEY, code TEXT NOT NULL, path TEXT NOT NULL, printed_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX printed_code ON printed (code);
CREATE TABLE handovers (
  id INTEGER PRIMARY KEY, code TEXT NOT NULL, body BLOB NOT NULL, tries INTEGER NOT NULL, not_before REAL NOT NULL,
  failure TEXT NOT NULL DEFAULT '');
CREATE INDEX handovers_code ON handovers (code, id);
CREATE TABLE notices (topic TEXT PRIMARY KEY, text TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE refused (
  reason TEXT PRIMARY KEY, status INTEGER NOT NULL, count INTEGER NOT NULL, detail TEXT NOT NULL, last_at REAL NOT NULL)
  WITHOUT ROWID;
CREATE TABLE moments (name TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""


class InboxInUseError(Exception):
    """Another connector works on this inbox; two would answer every order twice."""


class InboxVersionError(Exception):
    """The file has the format of another version. The sentence says what to do."""


def prepare(connection: sqlite3.Connection, path: Path, *, may_upgrade: bool) -> None:
    """Create the tables of a new file, or upgrade those of an older one. Only the connector may upgrade, because an
    older connector that is still running cannot write to the new tables. Raises InboxVersionError for a file of another
    version."""
    connection.execute(f"PRAGMA busy_timeout={_WAIT_MILLISECONDS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    # Use one transaction: a process that is killed in between leaves an empty file, and the next one starts again.
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and connection.execute("PRAGMA schema_version").fetchone()[0] == 0:
        for statement in (_TABLES + _PUBLICATIONS).split(";"):
            connection.execute(statement)
        version = _VERSION
        connection.execute(f"PRAGMA user_version = {version}")
    while may_upgrade and version in _UPGRADES:
        for statement in _UPGRADES[version].split(";"):
            connection.execute(statement)
        version += 1
        connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    if version in _UPGRADES:
        raise InboxVersionError(
            f"{path} is of an older version of Kalathi. First start the connector (kalathi merchant) of this version,"
            " which upgrades it."
        )
    if version != _VERSION:
        raise InboxVersionError(
            f"{path} is of another version of Kalathi. Start with another --data folder: the connector finds open and"
            " accepted orders again, and prints their vouchers again."
        )


def lock(path: Path) -> IO[str]:
    """Lock the inbox until the returned file is closed or the process ends. Raises InboxInUseError, OSError."""
    handle = lock_file(path)
    if handle is None:
        raise InboxInUseError(f"Another connector works on this inbox ({path} is locked). Stop it first.")
    return handle
