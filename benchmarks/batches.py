"""Claim and record due deliveries on PostgreSQL in batches, without sending them: with our code, and with bare psycopg
and the same statements. Each worker is a process with the arguments KIND URL. A line on standard input starts it."""

import sys
import time
from functools import partial

import psycopg
import uvloop

from kalathi.marketplace.kernel.due import DueKind, DueRow, Wanted, claim, find_claimable
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.storage.postgres import PostgresDatabase
from kalathi.marketplace.webhooks.answer import Answer, SendError
from kalathi.marketplace.webhooks.dispatcher import Attempted, Dispatcher
from kalathi.marketplace.webhooks.retry import Delivered
from kalathi.marketplace.webhooks.store import EVENT
from kalathi.serving import spare_the_collector

BATCH = 200
PER_SHOP = 4
NOW = 4_000_000_000_000
ANSWER = Answer("http://127.0.0.1:1/hook", 200, SendError.NONE, b"", 3)


async def ours(url: str) -> int:
    """Claim and record all due deliveries with our code. Return their number."""
    database = PostgresDatabase(url)
    count = 0

    def command(view: View) -> tuple[ChangeSet, list[DueRow]]:
        found = find_claimable(
            view,
            Wanted(
                DueKind.DELIVERY, now_millis=NOW, real_millis=0, limit=BATCH, per_shop=PER_SHOP, busy={}, beside=EVENT
            ),
        )
        return claim([row for row, _ in found], 0)

    while leased := await database.claim(command):
        ended = [Attempted(row, ANSWER, Delivered(), "delivered", NOW) for row in leased]
        assert await database.commit_each([Dispatcher.record(ended)]) == [None]
        count += len(leased)
    await database.close()
    return count


SHOPS = """
WITH RECURSIVE s(shop_id) AS (
  SELECT (SELECT min(shop_id) FROM due WHERE kind = %s)
  UNION ALL
  SELECT (SELECT min(shop_id) FROM due WHERE kind = %s AND shop_id > s.shop_id) FROM s WHERE s.shop_id IS NOT NULL)
SELECT (SELECT min(due_at) FROM due WHERE kind = %s AND shop_id = s.shop_id), shop_id
FROM s WHERE shop_id IS NOT NULL"""
FOUND = """
SELECT r.* FROM unnest(%s::text[]) k(key) CROSS JOIN LATERAL (
  SELECT d.kind, d.shop_id, d.subject, d.sequence, d.due_at, d.anchor_at, d.attempts, d.lease, w.event_type, w.body
  FROM due d LEFT JOIN webhook_events w ON w.shop_id = d.shop_id AND w.subject = d.subject AND w.sequence = d.sequence
  WHERE d.shop_id = k.key AND d.kind = %s AND d.due_at <= %s AND d.leased_until <= %s
  AND NOT EXISTS (SELECT 1 FROM due e WHERE e.kind = d.kind AND e.shop_id = d.shop_id AND e.subject = d.subject
                  AND e.sequence < d.sequence AND e.attempts = 0)
  ORDER BY d.due_at LIMIT %s FOR UPDATE OF d SKIP LOCKED) r"""
LEASED = """
UPDATE due t SET lease = 7, leased_until = 20000
FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS v(shop_id, kind, subject, sequence, lease, attempts)
WHERE t.shop_id = v.shop_id AND t.kind = v.kind AND t.subject = v.subject AND t.sequence = v.sequence
  AND t.lease = v.lease AND t.attempts = v.attempts"""
DONE = """
DELETE FROM due t USING unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS v(shop_id, kind, subject, sequence)
WHERE t.shop_id = v.shop_id AND t.kind = v.kind AND t.subject = v.subject AND t.sequence = v.sequence AND t.lease = 7"""
ATTEMPTS = """
INSERT INTO delivery_attempts
  (shop_id, subject, sequence, number, at, url, outcome, status, error, duration_millis, answer)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
                     %s::bigint[], %s::text[], %s::bigint[], %b::bytea[])"""


def bare(url: str) -> int:
    """Claim and record all due deliveries with bare psycopg. Return their number."""
    count = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while rows := _bare_claim(connection):
            columns = [list(column) for column in zip(*rows, strict=True)]
            kinds, shops, subjects, sequences = columns[:4]
            numbers = [attempts + 1 for attempts in columns[6]]
            size = len(rows)
            with connection.pipeline():
                connection.execute("BEGIN")
                connection.execute("SELECT pg_current_xact_id()::text")
                done = connection.execute(DONE, [shops, kinds, subjects, sequences], binary=True)
            assert done.rowcount == size
            same = [[value] * size for value in (NOW, ANSWER.url, "delivered", 200, "", 3, b"")]
            with connection.pipeline():
                connection.execute(ATTEMPTS, [shops, subjects, sequences, numbers, *same])
                connection.execute("COMMIT")
            count += size
    return count


def _bare_claim(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    kind = "delivery"
    connection.execute("BEGIN")
    waiting = connection.execute(SHOPS, [kind] * 3, binary=True).fetchall()
    shops = [shop for _, shop in sorted(waiting)][:BATCH]
    share = min(PER_SHOP, -(-BATCH // max(len(shops), 1)))
    rows = connection.execute(FOUND, [shops, kind, NOW, 0, share], binary=True).fetchall()[:BATCH]
    if rows:
        kinds, names, subjects, sequences, _, _, attempts, leases, _, _ = (
            list(column) for column in zip(*rows, strict=True)
        )
        with connection.pipeline():
            leased = connection.execute(LEASED, [names, kinds, subjects, sequences, leases, attempts], binary=True)
        assert leased.rowcount == len(rows)
        connection.execute("SET LOCAL synchronous_commit = off")
    connection.execute("COMMIT")
    return rows


if __name__ == "__main__":
    kind, url = sys.argv[1:]
    spare_the_collector()
    work = partial(bare, url) if kind == "bare" else partial(uvloop.run, ours(url))
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.time()
    print(work(), started, time.time())
