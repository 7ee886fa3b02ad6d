"""What SQLite's SQL can do that a server's must not."""

import pytest

from aerostack_realtime.database.base import Database
from aerostack_realtime.protocol.errors import BadMessage


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("ATTACH 'other.db' AS other", "attached"),
        ("PRAGMA journal_mode=OFF", "journal_mode"),
        ("PRAGMA writable_schema(1)", "writable_schema"),
        ("VACUUM", "shell"),
    ],
)
async def test_what_would_reach_beyond_the_database_is_refused(database: Database, sql: str, says: str) -> None:
    with pytest.raises(BadMessage, match=says):
        await database.query(sql)
