"""SQLite as the database: `SqliteDatabase.open`."""

from aerostack_realtime.database.sqlite.database import SqliteDatabase

__all__ = ["SqliteDatabase"]
