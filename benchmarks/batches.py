"""Read and record due deliveries on PostgreSQL in batches, without sending them: with our code, and with bare psycopg
and the same statements. Each worker is a process with the arguments KIND URL PLACE WORKERS, and has its share of the
shops. A line on standard input starts it."""

import sys
import time
from functools import partial

import psycopg
import uvloop

from kalathi.marketplace.kernel.due import DueKind, DueRow, Wanted, find_due
from kalathi.marketplace.kernel.shards import shard_of
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.storage.postgres import PostgresDatabase
from kalathi.marketplace.webhooks import store
from kalathi.marketplace.webhooks.answer import Answer, SendError
from kalathi.marketplace.webhooks.dispatcher import Attempted, Dispatcher
from kalathi.marketplace.webhooks.retry import Delivered
from kalathi.serving import spare_the_collector

BATCH = 400
NOW = 4_000_000_000_000
ANSWER = Answer("http://127.0.0.1:1/hook", 200, SendError.NONE, b"", 3)


async def ours(url: str, place: int, workers: int) -> int:
    """Read and record all due deliveries of our shops. Return their number."""
    database = PostgresDatabase(url)
    count = 0
    wanted = Wanted(
        DueKind.DELIVERY,
        now_millis=NOW,
        real_millis=0,
        limit=BATCH,
        most_of=lambda _shop_id: BATCH,
        owns=lambda shop_id: shard_of(shop_id) % workers == place,
    )

    def query(view: View) -> list[DueRow]:
        rows = find_due(view, wanted).rows
        assert not rows or len(store.find_events(view, rows)) == len(rows)
        return rows

    while rows := await database.read_ahead(query):
        ended = [Attempted(row, ANSWER, Delivered(), "delivered", NOW) for row in rows]
        assert await database.commit_each([Dispatcher.record(ended)]) == [None]
        count += len(rows)
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
  SELECT d.kind, d.shop_id, d.subject, d.sequence, d.due_at, d.anchor_at, d.attempts FROM due d
  WHERE d.shop_id = k.key AND d.kind = %s AND d.due_at <= %s
  AND NOT EXISTS (SELECT 1 FROM due e
                  WHERE (e.shop_id, e.kind, e.subject, e.sequence) >= (d.shop_id, d.kind, d.subject, 0)
                  AND (e.shop_id, e.kind, e.subject, e.sequence) < (d.shop_id, d.kind, d.subject, d.sequence)
                  AND e.attempts = 0)
  ORDER BY d.due_at LIMIT %s OFFSET 0) r"""
EVENTS = """
SELECT r.* FROM unnest(%s::text[], %s::text[], %s::bigint[]) k(shop_id, subject, sequence) CROSS JOIN LATERAL (
  SELECT w.shop_id, w.subject, w.sequence, w.event_type, w.body FROM webhook_events w
  WHERE w.shop_id = k.shop_id AND w.subject = k.subject AND w.sequence = k.sequence OFFSET 0) r"""
DONE = """
DELETE FROM due t USING unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
  AS v(shop_id, kind, subject, sequence, attempts)
WHERE t.shop_id = v.shop_id AND t.kind = v.kind AND t.subject = v.subject AND t.sequence = v.sequence
  AND t.attempts = v.attempts"""
ATTEMPTS = """
INSERT INTO delivery_attempts
  (shop_id, subject, sequence, number, at, url, outcome, status, error, duration_millis, answer)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
                     %s::bigint[], %s::text[], %s::bigint[], %b::bytea[])"""


def bare(url: str, place: int, workers: int) -> int:
    """Read and record all due deliveries of our shops with bare psycopg. Return their number."""
    count = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while rows := _bare_read(connection, place, workers):
            kinds, shops, subjects, sequences, _, _, attempts = (list(column) for column in zip(*rows, strict=True))
            size = len(rows)
            with connection.pipeline():
                connection.execute("BEGIN")
                connection.execute("SELECT pg_current_xact_id()::text")
                done = connection.execute(DONE, [shops, kinds, subjects, sequences, attempts], binary=True)
            assert done.rowcount == size
            numbers = [count + 1 for count in attempts]
            same = [[value] * size for value in (NOW, ANSWER.url, "delivered", 200, "", 3, b"")]
            with connection.pipeline():
                connection.execute(ATTEMPTS, [shops, subjects, sequences, numbers, *same])
                connection.execute("COMMIT")
            count += size
    return count


def _bare_read(connection: psycopg.Connection, place: int, workers: int) -> list[tuple[object, ...]]:
    kind = "delivery"
    waiting = connection.execute(SHOPS, [kind] * 3, binary=True).fetchall()
    shops = [shop for _, shop in sorted(waiting) if shard_of(shop) % workers == place]
    if not shops:
        return []
    rows = connection.execute(FOUND, [shops, kind, NOW, -(-BATCH // len(shops))], binary=True).fetchall()[:BATCH]
    keys = [[row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows]]
    assert len(connection.execute(EVENTS, keys, binary=True).fetchall()) == len(rows)
    return rows


if __name__ == "__main__":
    kind, url, place, workers = sys.argv[1:]
    spare_the_collector()
    share = (url, int(place), int(workers))
    work = partial(bare, *share) if kind == "bare" else partial(uvloop.run, ours(*share))
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.time()
    print(work(), started, time.time())
