"""SQLite as the database: `SqliteDatabase.open`."""

from aerostack_realtime.database.sqlite.connection import DatabaseUnusable
from aerostack_realtime.database.sqlite.database import SqliteDatabase

__all__ = ["DatabaseUnusable", "SqliteDatabase"]
