"""Sends statements together in one round trip, and reads their results as they arrive.

This is libpq's pipeline mode. psycopg's pipeline waits until everything is sent before it reads; here both happen
at once, so a server whose results fill the pipe does not block.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, TypeVar

from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

CHUNK_ROWS: Final = 4
"""Rows that libpq returns at once: they are in memory before they can be counted. More is hardly faster."""

Result = TypeVar("Result")
Communication = Generator[Wait, Ready | int, Result]
"""What `Connection.wait` runs."""

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED, ExecStatus.BAD_RESPONSE})


class Pipeline:
    """`send` statements, `sync`, read the results of each in turn, and finally the `rest`."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._unsent = True

    def send(self, sql: bytes, params: Sequence[bytes | None] | None = None) -> None:
        """Parameters and results are text; PostgreSQL infers the parameters' types."""
        self._pgconn.send_query_params(sql, params)

    def sync(self) -> None:
        """End a group: after an error, the server skips the rest of it."""
        self._pgconn.pipeline_sync()
        self._unsent = True

    def by_chunks(self) -> None:
        """Receive the rows of the next statement CHUNK_ROWS at a time."""
        self._pgconn.set_chunked_rows_mode(CHUNK_ROWS)

    def next(self) -> Communication[PGresult | None]:
        """The next result of a statement, None after its last. Raises psycopg.Error."""
        result = yield from self._receive()
        if result is not None and result.status in _FAILED:
            raise error_from_result(result)
        return result

    def only(self) -> Communication[PGresult]:
        """The result of a statement that has exactly one. Raises psycopg.Error."""
        result = yield from self.next()
        assert result is not None, "a statement has a result"
        end = yield from self.next()
        assert end is None, "a statement has one result only"
        return result

    def rest(self) -> Communication[None]:
        """Skip the remaining results, up to the `sync`."""
        while True:
            result = yield from self._receive()
            if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
                return

    def _receive(self) -> Communication[PGresult | None]:
        """The next result of any kind; unsent statements are sent meanwhile.

        It reads only what is needed for it, because libpq buffers the rest without a limit. For the same reason it
        flushes only while the socket accepts data: otherwise libpq would read.
        """
        pgconn = self._pgconn
        while pgconn.is_busy():
            ready = yield Wait.RW if self._unsent else Wait.R
            # Nothing is ready when psycopg resumes after it has cancelled the query.
            if ready and ready & Ready.W:
                self._unsent = pgconn.flush() != 0
            if ready and ready & Ready.R:
                pgconn.consume_input()
        return pgconn.get_result()
