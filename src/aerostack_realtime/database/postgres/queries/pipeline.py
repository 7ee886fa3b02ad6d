"""Statements sent together in one round trip, and their results as they come.

libpq's pipeline mode. psycopg's own waits until all is sent before it reads; here both go on at once, so that a
server whose answer fills the pipe is listened to.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, TypeVar

from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

CHUNK_ROWS: Final = 4
"""Rows that libpq hands over at once, so what is in memory before anybody can count it. More is hardly faster."""

Result = TypeVar("Result")
Communication = Generator[Wait, Ready | int, Result]
"""What `Connection.wait` runs."""

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED, ExecStatus.BAD_RESPONSE})


class Pipeline:
    """`send` some, `sync`, then ask for the results of each in turn, and at last for the `rest`."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._unsent = True

    def send(self, sql: bytes, params: Sequence[bytes | None] | None = None) -> None:
        """Parameters and results are text; PostgreSQL infers the parameters' types."""
        self._pgconn.send_query_params(sql, params)

    def sync(self) -> None:
        """What was sent before is done together: after an error, nothing more of it."""
        self._pgconn.pipeline_sync()
        self._unsent = True

    def by_chunks(self) -> None:
        """Let the rows of the statement that is next come CHUNK_ROWS at a time."""
        self._pgconn.set_chunked_rows_mode(CHUNK_ROWS)

    def next(self) -> Communication[PGresult | None]:
        """The next result of a statement, None after its last. Raises psycopg.Error."""
        result = yield from self._receive()
        if result is not None and result.status in _FAILED:
            raise error_from_result(result)
        return result

    def only(self) -> Communication[PGresult]:
        """The result of a statement that has one. Raises psycopg.Error."""
        result = yield from self.next()
        assert result is not None, "a statement has a result"
        end = yield from self.next()
        assert end is None, "and one only"
        return result

    def rest(self) -> Communication[None]:
        """Leave out what is left, up to the `sync`."""
        while True:
            result = yield from self._receive()
            if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
                return

    def _receive(self) -> Communication[PGresult | None]:
        """The next result, whichever it is; what is still to be sent is sent beside.

        Read only what is needed for it: libpq keeps the rest without a bound. That is why nothing is flushed while
        the socket takes nothing, for then libpq reads.
        """
        pgconn = self._pgconn
        while pgconn.is_busy():
            ready = yield Wait.RW if self._unsent else Wait.R
            # Nothing is ready when psycopg goes on after it has cancelled the query.
            if ready and ready & Ready.W:
                self._unsent = pgconn.flush() != 0
            if ready and ready & Ready.R:
                pgconn.consume_input()
        return pgconn.get_result()
