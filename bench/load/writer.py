"""A foreign writer: another process, with the database's usual client, that knows nothing of the server.

`python -m bench.load.writer DATABASE WHAT …`, where DATABASE is a file (Python's sqlite3) or a URI (psycopg):

- `paced RATE COUNT` inserts single rows; prints when each commit was back.
- `burst COUNT CUSTOMERS BATCH` inserts as fast as it can, `BATCH` rows a commit.
- `update COUNT BATCH` changes a column of the rows 1 … `COUNT`, `BATCH` rows a commit.
- `transaction COUNT` inserts `COUNT` rows, each of a customer of its own, by one statement.
- `large BYTES` inserts a row with a note of BYTES bytes; `touch` changes another column of every row.
- `churn RATE` inserts a row, changes one and deletes one in a commit, RATE commits a second, until its standard
  input is closed; then it inserts a row of customer -1.

All but the first print when they began and when the last commit was back. Times are CLOCK_MONOTONIC in s, JSON.
"""

import itertools
import json
import os
import random
import select
import sqlite3
import sys
import time
from typing import Any

import psycopg

from bench.machine import LOAD_CORE

TABLE = "bench_orders"
_NOTE = "two words and some more of a usual length"


class _Sqlite:
    """Statements have `?` for parameters."""

    _LINES = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n"

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")

    def run(self, statement: str, *parameters: Any) -> None:
        self._connection.execute(statement, parameters)

    def run_all(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """In one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(statement, rows)
        self._connection.execute("COMMIT")

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        return self._connection.execute(statement).fetchall()

    numbers = f"({_LINES})"
    """A subquery of the numbers from 1 to its parameter."""
    filler = "replace(hex(zeroblob(? / 2)), '0', 'x')"
    """An expression: a text of `size` bytes."""


class _Postgres:
    """The same by psycopg."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def run(self, statement: str, *parameters: Any) -> None:
        self._connection.execute(statement.replace("?", "%s").encode(), parameters)

    def run_all(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s").encode(), rows)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode()).fetchall()

    numbers = "generate_series(1, ?::int) n(i)"
    filler = "repeat('x', ?::int)"


Database = _Sqlite | _Postgres
_INSERT = f"INSERT INTO {TABLE}(customer, total, note) VALUES(?, ?, ?)"
_UPDATE = f"UPDATE {TABLE} SET total = total + 1 WHERE id = ?"


def paced(database: Database, rate: float, count: int) -> list[float]:
    """When each of `count` single-row commits was back."""
    start = time.monotonic()
    times = []
    for number in range(count):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        database.run(_INSERT, number, number, _NOTE)
        times.append(time.monotonic())
    return times


def burst(database: Database, count: int, customers: int, batch: int) -> list[float]:
    """When the first of `count` rows was begun and the last committed."""
    start = time.monotonic()
    for first in range(0, count, batch):
        rows = range(first, min(count, first + batch))
        database.run_all(_INSERT, [(number % customers, number, _NOTE) for number in rows])
    return [start, time.monotonic()]


def update(database: Database, count: int, batch: int) -> list[float]:
    """When the first of `count` rows was begun and the last committed."""
    start = time.monotonic()
    for first in range(0, count, batch):
        database.run_all(_UPDATE, [(number + 1,) for number in range(first, min(count, first + batch))])
    return [start, time.monotonic()]


def churn(database: Database, rate: float) -> list[float]:
    """When the first commit was begun and the last, which says that it was the last, was back."""
    start = time.monotonic()
    choose = random.Random(7)
    (rows,) = database.rows(f"SELECT max(id) FROM {TABLE}")[0]
    for number in itertools.count(1):
        wait = max(0.0, start + number / rate - time.monotonic())
        if select.select([sys.stdin], [], [], wait)[0]:
            break
        database.run("BEGIN")
        database.run(_INSERT, 0, number, _NOTE)
        database.run(_UPDATE, choose.randint(1, rows))
        database.run(f"DELETE FROM {TABLE} WHERE id = ?", choose.randint(1, rows))
        database.run("COMMIT")
    database.run(_INSERT, -1, 0, _NOTE)
    return [start, time.monotonic()]


def once(database: Database, statement: str, *parameters: int) -> list[float]:
    """When a statement was begun and its commit was back."""
    start = time.monotonic()
    database.run(statement, *parameters)
    return [start, time.monotonic()]


def main() -> None:
    """Write on the generator's core."""
    os.sched_setaffinity(0, {LOAD_CORE})
    place, what, *numbers = sys.argv[1:]
    database: Database = _Postgres(place) if place.startswith("postgresql://") else _Sqlite(place)
    given = [int(float(each)) for each in numbers]
    match what:
        case "paced":
            times = paced(database, float(numbers[0]), given[1])
        case "burst":
            times = burst(database, *given)
        case "update":
            times = update(database, *given)
        case "transaction":
            rows = f"SELECT i, i, '{_NOTE}' FROM {database.numbers}"
            times = once(database, f"INSERT INTO {TABLE}(customer, total, note) {rows}", *given)
        case "large":
            times = once(database, f"INSERT INTO {TABLE}(customer, note) VALUES(0, {database.filler})", *given)
        case "touch":
            times = once(database, f"UPDATE {TABLE} SET total = coalesce(total, 0) + 1")
        case "churn":
            times = churn(database, float(numbers[0]))
        case _:
            raise SystemExit(__doc__)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
