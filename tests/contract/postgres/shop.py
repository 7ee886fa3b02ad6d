"""A database of a test's own with a table `orders`, on a server that may be another's, and opening it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.settings import PostgresSettings
from tests.contract.conftest import PATIENCE, Recorder
from tests.postgres import PostgresServer

CUT = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()"
"""Ends the connections by which servers follow a database."""
ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT)"


class Shop:
    """A database of the test's own on a server, and a foreign writer."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.slot = f"aerostack_{name}"

    def dsn(self, user: str = "postgres") -> str:
        return self.server.dsn(self.name, user)

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements, database=self.name)

    def insert(self, *numbers: int) -> None:
        self.execute(f"INSERT INTO orders VALUES {', '.join(f'({number}, {NEW})' for number in numbers)}")

    def value(self, query: str) -> Any:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            found = connection.execute(query.encode()).fetchone()
            return None if found is None else found[0]

    def state(self, columns: str) -> Any:
        """Of the replication slot."""
        return self.value(f"SELECT {columns} FROM pg_replication_slots WHERE slot_name = '{self.slot}'")

    def cut(self) -> None:
        """Kill the process that streams from the slot."""
        self.state("pg_terminate_backend(active_pid)")

    def active_pid(self) -> int:
        """The process that streams from the slot."""
        return int(self.state("active_pid"))

    def drop_slot(self) -> None:
        while True:
            self.cut()
            try:
                self.execute(f"SELECT pg_drop_replication_slot('{self.slot}')")
            except psycopg.errors.ObjectInUse:
                continue
            return


NEW = "'new'"


@asynccontextmanager
async def opened(shop: Shop, recorder: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
    database = await PostgresDatabase.open(shop.dsn(), recorder, settings=PostgresSettings(**settings))
    try:
        yield database
    finally:
        async with asyncio.timeout(PATIENCE):
            await database.close()


@asynccontextmanager
async def watching(shop: Shop, recorder: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
    shop.execute(ORDERS)
    async with opened(shop, recorder, **settings) as database:
        await database.changes.watch("orders")
        yield database


def ids(recorder: Recorder) -> list[Any]:
    return [change.data["id"] for change in recorder.changes]
