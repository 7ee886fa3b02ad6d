"""What the suites share: one PostgreSQL server for each process that runs tests, and no deadlines."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PostgresServer

# A busy machine makes every example slow, which says nothing about the code. CI keeps its fixed examples.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer.started()
    yield server
    server.remove()


LONG = ("faults", "outage", "fuzz")
"""Directories of tests that take a minute each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests come first and the unit tests last, so that all processes end at the same time."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in LONG)
