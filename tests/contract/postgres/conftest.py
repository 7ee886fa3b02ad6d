"""Databases on the shared PostgreSQL server, and separate servers for tests that crash them."""

import logging
from collections.abc import Iterator
from itertools import count

import pytest

from tests.contract.postgres.heard import Heard
from tests.contract.postgres.published import Log, Make
from tests.contract.postgres.shop import Shop
from tests.postgres import PostgresServer

_numbers = count(1)


@pytest.fixture(scope="module")
def module_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database for all tests of a module."""
    name = f"module{next(_numbers)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@pytest.fixture
def shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    """On the server of all tests."""
    name = f"shop{next(_numbers)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield Shop(postgres_server, name)
    postgres_server.drop_database(name)


@pytest.fixture
def own() -> Iterator[Shop]:
    """On a server of the test's own, which may be crashed."""
    server = PostgresServer.started()
    server.execute("CREATE DATABASE shop")
    yield Shop(server, "shop")
    server.remove()


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What is logged during a test."""
    handler, logger = Heard(), logging.getLogger("aerostack_realtime")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def log(postgres_dsn: str) -> Iterator[Make]:
    made: list[Log] = []

    def make(*statements: str) -> Log:
        made.append(Log(postgres_dsn, *statements))
        return made[-1]

    yield make
    for each in made:
        each.connection.close()
