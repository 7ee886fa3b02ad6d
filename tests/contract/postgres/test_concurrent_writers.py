"""Snapshots under writers of every kind: each, with the changes that follow it, is the table at the end.

What follows is applied strictly: an INSERT of a row that is there, an UPDATE or DELETE of one that is not or that
was another, would be a change delivered twice, or one that was missed.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Rollback

from aerostack_realtime.database.base import Change, Row, Selection
from aerostack_realtime.database.postgres.database import PostgresDatabase
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.shop import Shop, opened
from tests.contract.test_snapshot import everything
from tests.postgres import PostgresServer

ACCOUNTS = 700
"""More than a step of a snapshot brings, so that commits come between two."""
SPARE = 40
"""Ids beyond, for rows that come and go."""
TRANSACTIONS = 25
"""Of each writer."""
FOLLOWED = 12
"""Snapshots, out of all that were taken, that are compared with the end: each asks for most of the log."""
LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
SETTINGS = {"max_prepared_transactions": "10", "logical_decoding_work_mem": "64kB", "deadlock_timeout": "20ms"}
IN_THE_WAY = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UniqueViolation,
)
WRAPPING = "wrapping"
NEAR_THE_WRAP = 2**32 - 300
"""A transaction number shortly before 32 bits wrap around."""


def near_the_wraparound(server: PostgresServer) -> None:
    """Continue a new server's transaction numbers there (its manual, "pg_resetwal").

    Without `-u` it would take its oldest tables for younger than every snapshot, and remove rows that those need.
    """
    for database in ("postgres", "template1"):
        server.execute("VACUUM FREEZE", database=database)
    server.stop()
    server.run("pg_resetwal", "-D", str(server.data), "-x", str(NEAR_THE_WRAP), "-u", str(NEAR_THE_WRAP))
    (server.data / "pg_xact" / "0FFF").write_bytes(bytes(256 << 10))
    server.own_files()
    server.start()


@pytest.fixture(scope="module", params=["bank", WRAPPING])
def bank(request: pytest.FixtureRequest) -> Iterator[Shop]:
    server = PostgresServer.started(settings=SETTINGS)
    if request.param == WRAPPING:
        near_the_wraparound(server)
    server.execute(f"CREATE DATABASE {request.param}")
    yield Shop(server, request.param)
    server.remove()


class Writer(threading.Thread):
    """Carries out one kind of transaction, again and again; one that another was in the way of, once more."""

    def __init__(self, dsn: str, seed: int, level: str, carry_out: Callable[["Writer"], None]) -> None:
        super().__init__()
        self.choose = random.Random(seed)
        self.level = level
        self.name = f"{carry_out.__name__} {seed}"
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.execute(f"SET default_transaction_isolation TO '{level.lower()}'".encode())
        self.next_snapshot: Callable[[], None] = lambda: None
        self.repeated = 0
        self.failure: BaseException | None = None
        self._carry_out = carry_out

    def run(self) -> None:
        try:
            for _ in range(TRANSACTIONS):
                while not self._tried():
                    self.repeated += 1
        except BaseException as failure:
            self.failure = failure
        finally:
            self.connection.close()

    def _tried(self) -> bool:
        try:
            self._carry_out(self)
        except IN_THE_WAY:
            self.connection.rollback()
            return False
        return True

    def execute(self, statement: str, *parameters: Any) -> int:
        """How many rows it changed."""
        return self.connection.execute(statement.encode(), parameters).rowcount

    def undo(self, statement: str, *parameters: Any) -> None:
        """Run a statement and roll it back, by a savepoint."""
        with self.connection.transaction():
            self.execute(statement, *parameters)
            raise Rollback

    def account(self) -> int:
        return self.choose.randrange(ACCOUNTS)

    def move(self) -> None:
        """Some of one account to another, if both are there."""
        one, other = self.account(), self.account()
        with self.connection.transaction():
            if self.execute("UPDATE accounts SET amount = amount - 1 WHERE id = %s", one) != self.execute(
                "UPDATE accounts SET amount = amount + 1 WHERE id = %s", other
            ):
                raise Rollback


def moves(writer: Writer) -> None:
    with writer.connection.transaction():
        for _ in range(writer.choose.randrange(1, 4)):
            writer.move()


def comes_and_goes(writer: Writer) -> None:
    """A row of nothing is made or deleted, or renamed."""
    spare, other = (ACCOUNTS + writer.choose.randrange(SPARE) for _ in range(2))
    with writer.connection.transaction():
        if not writer.execute("DELETE FROM accounts WHERE id = %s", spare):
            writer.execute("INSERT INTO accounts VALUES (%s, 0, 'new') ON CONFLICT DO NOTHING", spare)
            writer.execute(
                "UPDATE accounts SET id = %s WHERE id = %s AND NOT EXISTS (SELECT FROM accounts WHERE id = %s)",
                other, spare, other,
            )  # fmt: skip


def rolls_back_in_part(writer: Writer) -> None:
    """Of savepoints within savepoints some are undone; what they did is in the log, but was never committed."""
    with writer.connection.transaction():
        writer.move()
        for depth in range(3):
            with writer.connection.transaction():
                writer.execute("UPDATE accounts SET note = 'seen' WHERE id = %s", writer.account())
                writer.undo("UPDATE accounts SET amount = amount + 1000 WHERE id = %s", writer.account())
                if depth == 1:
                    raise Rollback
        if writer.choose.random() < 0.2:
            raise Rollback


def changes_many(writer: Writer) -> None:
    """A transaction large enough to be streamed before its commit, with a rolled back part."""
    with writer.connection.transaction():
        writer.execute("UPDATE accounts SET note = 'many' || %s WHERE id %% 3 = 0", writer.choose.random())
        writer.undo("UPDATE accounts SET amount = %s WHERE id %% 2 = 0", 0)


def is_prepared(writer: Writer) -> None:
    """In two phases, with a snapshot between them."""
    name = f"{writer.ident}"
    writer.execute("BEGIN")
    spare = ACCOUNTS + SPARE + writer.choose.randrange(SPARE)
    if not writer.execute("DELETE FROM accounts WHERE id = %s", spare):
        writer.execute("INSERT INTO accounts VALUES (%s, 0, 'prepared')", spare)
    writer.execute(f"PREPARE TRANSACTION '{name}'")
    if writer.choose.random() < 0.3:
        writer.next_snapshot()
    writer.execute(f"{'ROLLBACK' if writer.choose.random() < 0.2 else 'COMMIT'} PREPARED '{name}'")


class Snapshots:
    """Takes one snapshot after the other while anyone writes; `wait` gives a thread the next one."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[Any, Row], str]] = []
        self._another = threading.Condition()

    async def take(self, database: PostgresDatabase) -> None:
        async with database.snapshot("accounts", Selection(everything)) as snapshot:
            rows: dict[Any, Row] = {}
            async for chunk in snapshot:
                for row in chunk:
                    assert row["id"] not in rows, "each row once"
                    rows[row["id"]] = row
                await asyncio.sleep(0)  # let the changes of the time in
        with self._another:
            self.taken.append((rows, snapshot.cursor))
            self._another.notify_all()

    def wait(self) -> None:
        """Until one was begun and ended after this call."""
        with self._another:
            enough = len(self.taken) + 2
            assert self._another.wait_for(lambda: len(self.taken) >= enough, PATIENCE)


def apply(rows: dict[Any, Row], changes: list[Change]) -> dict[Any, Row]:
    """Rows after changes, each of which fits what is there."""
    state = dict(rows)
    for change in changes:
        if change.operation == "INSERT":
            assert change.data["id"] not in state, f"twice: {change}"
        else:
            assert change.old is not None, "there was a row before"
            assert state.pop(change.old["id"], None) == change.old, f"not as it was: {change}"
        if change.operation != "DELETE":
            state[change.data["id"]] = change.data
    return state


def amount(rows: dict[Any, Row]) -> int:
    return sum(int(str(row["amount"])) for row in rows.values())


@pytest.mark.parametrize("log_bytes", [64 << 20, 50_000], ids=["from memory", "read again"])
async def test_each_snapshot_and_what_follows_it_is_the_table_at_the_end(
    bank: Shop, recorder: Recorder, log_bytes: int
) -> None:
    bank.execute(
        "DROP TABLE IF EXISTS accounts",
        "CREATE TABLE accounts(id INTEGER PRIMARY KEY, amount INTEGER, note TEXT)",
        f"INSERT INTO accounts SELECT i, 100, 'old' FROM generate_series(0, {ACCOUNTS - 1}) i",
    )
    column_types = (moves, comes_and_goes, rolls_back_in_part)
    every = [(level, kind) for level in LEVELS for kind in column_types]
    every += [("READ COMMITTED", changes_many), ("READ COMMITTED", is_prepared), ("SERIALIZABLE", is_prepared)]
    snapshots = Snapshots()
    async with opened(bank, recorder, log_bytes=log_bytes) as database:
        await database.changes.watch("accounts")
        writers = [Writer(bank.dsn(), seed, level, kind) for seed, (level, kind) in enumerate(every)]
        for writer in writers:
            writer.next_snapshot = snapshots.wait
            writer.start()
        while any(writer.is_alive() for writer in writers):
            await snapshots.take(database)
        assert [writer.failure for writer in writers] == [None] * len(writers)
        assert any(writer.repeated for writer in writers), "they were in each other's way"
        await snapshots.take(database)
        last, cursor = snapshots.taken[-1]
        assert (await replay(database, "accounts", cursor))[0] == [], "nothing follows, and all of it is here"
        assert last == {row["id"]: row for row in (await database.query("SELECT * FROM accounts")).rows}
        assert len(snapshots.taken) > FOLLOWED
        if bank.name == WRAPPING:
            assert bank.value("SELECT pg_current_xact_id()::text::bigint") > 2**32
        for rows, _ in snapshots.taken:
            assert amount(rows) == 100 * ACCOUNTS, "a snapshot is one moment"
        for rows, cursor in snapshots.taken[:: len(snapshots.taken) // FOLLOWED]:
            changes, parts = await replay(database, "accounts", cursor)
            assert all(part.recovered for part in parts)
            assert apply(rows, changes) == last
