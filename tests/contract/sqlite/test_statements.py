"""SQL that only SQLite has, and that would outlive its query."""

import pytest

from aerostack_realtime.database.sqlite import SqliteDatabase
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
async def test_what_would_outlive_its_query_is_refused(database: SqliteDatabase, sql: str, says: str) -> None:
    with pytest.raises(BadMessage, match=says):
        await database.query(sql)
