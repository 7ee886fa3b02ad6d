"""What is SQLite's own runs against SQLite alone."""

from collections.abc import AsyncIterator

import pytest

from aerostack_realtime.database.sqlite import SqliteDatabase
from tests.contract.conftest import Recorder, SqliteBackend


@pytest.fixture
def backend(sqlite_backend: SqliteBackend) -> SqliteBackend:
    return sqlite_backend


@pytest.fixture
async def database(sqlite_backend: SqliteBackend, recorder: Recorder) -> AsyncIterator[SqliteDatabase]:
    async with sqlite_backend.open(recorder) as database:
        yield database
