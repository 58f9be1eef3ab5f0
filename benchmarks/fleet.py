"""Measure the deliveries a second of several workers on one PostgreSQL, each a process of `kalathi serve`.

Arguments: WORKERS DATABASE FOLDER. The due deliveries are planned already. The time runs from the first attempt to the
last one, so that neither the start of the processes nor the handing out of shards counts.
"""

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg


def main(workers: int, database: str, folder: Path) -> float:
    """Run the workers until nothing is due. Return the rate."""
    with ExitStack() as stack, psycopg.connect(database, autocommit=True) as connection:
        # The clock of a sandbox moves no due time, so the rows wait here until every worker has its shards.
        connection.execute("UPDATE due SET due_at = due_at + 86400000")
        for number in range(workers):
            command = ["serve", "--port", "0", "--data", str(folder / str(number)), "--database", database]
            process = subprocess.Popen(
                [sys.executable, "-m", "kalathi.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            assert process.stdout is not None
            process.stdout.readline()
        while _count(connection, "SELECT count(DISTINCT worker) FROM shards") < workers:
            time.sleep(0.05)  # Poll the table, because the workers are other processes.
        time.sleep(1)  # Let the workers finish their first steps; their start does not count.
        total = _count(connection, "SELECT count(*) FROM due")
        connection.execute("UPDATE due SET due_at = due_at - 86400000")
        started = time.perf_counter()
        while _count(connection, "SELECT count(*) FROM due"):
            time.sleep(0.02)  # Poll rarely, because each count costs the database time.
        return total / (time.perf_counter() - started)


def _count(connection: psycopg.Connection, sql: str) -> int:
    row = connection.execute(sql.encode()).fetchone()
    return row[0] if row else 0


if __name__ == "__main__":
    print(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
