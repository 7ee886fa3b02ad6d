"""A foreign writer: another process, Python's own sqlite3, that knows nothing of the server.

`python -m bench.load.writer DATABASE paced RATE COUNT` inserts single rows; prints when each commit was back.
`python -m bench.load.writer DATABASE burst COUNT CUSTOMERS BATCH` inserts as fast as it can, `BATCH` rows a
commit; prints when it began and ended. Times are CLOCK_MONOTONIC in seconds, JSON.
"""

import json
import os
import sqlite3
import sys
import time

from bench.machine import LOAD_CORE

TABLE = "bench_orders"
LAYOUT = "(id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, total INTEGER, note TEXT)"

_INSERT = f"INSERT INTO {TABLE}(customer, total, note) VALUES(?, ?, ?)"
_NOTE = "two words and some more of a usual length"


def paced(database: sqlite3.Connection, rate: float, count: int) -> list[float]:
    """When each of `count` single-row commits was back."""
    start = time.monotonic()
    times = []
    for number in range(count):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        database.execute(_INSERT, (number, number, _NOTE))
        times.append(time.monotonic())
    return times


def burst(database: sqlite3.Connection, count: int, customers: int, batch: int) -> list[float]:
    """When the first of `count` rows was begun and the last committed."""
    start = time.monotonic()
    for first in range(0, count, batch):
        database.execute("BEGIN IMMEDIATE")
        rows = range(first, min(count, first + batch))
        database.executemany(_INSERT, ((number % customers, number, _NOTE) for number in rows))
        database.execute("COMMIT")
    return [start, time.monotonic()]


def main() -> None:
    """Write on the generator's core."""
    os.sched_setaffinity(0, {LOAD_CORE})
    path, mode, *numbers = sys.argv[1:]
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    database.execute("PRAGMA journal_mode=WAL")
    if mode == "paced":
        print(json.dumps(paced(database, float(numbers[0]), int(numbers[1]))))
    else:
        print(json.dumps(burst(database, *(int(number) for number in numbers))))
    database.close()


if __name__ == "__main__":
    main()
