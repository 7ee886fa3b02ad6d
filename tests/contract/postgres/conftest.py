"""One PostgreSQL server for all tests of a process, and databases of their own for who asks."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.postgres import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer.started()
    yield server
    server.remove()


@contextmanager
def database(server: PostgresServer) -> Iterator[str]:
    """The address of a new, empty database, which is dropped in the end with its slots."""
    name = f"test_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    try:
        yield server.dsn(name)
    finally:
        server.drop_database(name)


@pytest.fixture
def dsn(server: PostgresServer) -> Iterator[str]:
    with database(server) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def module_dsn(server: PostgresServer) -> Iterator[str]:
    with database(server) as dsn:
        yield dsn
