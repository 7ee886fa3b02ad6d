"""A database of which every change is published, and read by SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from aerostack_realtime.database.postgres.wal.pgoutput import (
    Begin,
    Commit,
    Decoder,
    Message,
    Relation,
    Type,
)


class Log:
    """A database whose every change is published, and the slot that remembers them."""

    def __init__(self, dsn: str, *statements: str) -> None:
        self.dsn = dsn
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.streams = self.connection.info.server_version >= 140_000
        """Transactions in progress, and logical messages."""
        self.execute(
            *statements,
            "CREATE PUBLICATION p FOR ALL TABLES WITH (publish_via_partition_root = true)",
            "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
            "SET logical_decoding_work_mem = '64kB'",
        )

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def one(self, query: str) -> Any:
        row = self.connection.execute(query).fetchone()
        assert row is not None
        return row[0]

    def read(self, version: int = 1, **options: str) -> list[Message]:
        """All messages that are new."""
        options = {"proto_version": str(version), "publication_names": "p"} | options
        decode = Decoder().decode
        rows = self.connection.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, VARIADIC %s::text[])",
            ([part for option in options.items() for part in option],),
        )
        return [decode(data) for (data,) in rows]

    def changes(self, **options: str) -> list[Message]:
        """All that are new, without those that only frame or describe."""
        return [each for each in self.read(1, **options) if not isinstance(each, Begin | Commit | Relation | Type)]


Make = Callable[..., Log]
