"""What the suites share: one PostgreSQL server for each process that runs tests."""

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer.started()
    yield server
    server.remove()
