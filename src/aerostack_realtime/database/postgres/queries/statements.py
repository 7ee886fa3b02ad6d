"""Runs the user's SQL: single statements, in a transaction, with bounded results.

All of a transaction is sent in one round trip (pipeline.py): a one-row query takes 187 µs of CPU, against 640 µs
by psycopg's transaction, chunked stream and pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import psycopg
from msgspec import Struct
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from aerostack_realtime.database.base import DatabaseUnusable, QueryResult, Value
from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.queries.pipeline import Communication, Pipeline
from aerostack_realtime.database.postgres.queries.placeholders import Statement, translate
from aerostack_realtime.database.postgres.types.types import Types
from aerostack_realtime.database.postgres.types.values import to_parameters
from aerostack_realtime.protocol.errors import BadMessage, TooLarge, Unavailable

RESULT_ROWS: Final = 100_000
RESULT_BYTES: Final = 16 << 20
"""The limits of a result: a query must not exhaust the server's memory."""
PARAMETERS: Final = 65_535
"""The limit of PostgreSQL's protocol for one statement."""

_BATCH = "A query is a transaction of its own: send several statements as a batch instead."
_PREPARED = "A prepared statement would outlive its query: send the statement itself."
_SETTING = "A setting would outlive the query on a connection that others share: use SET LOCAL in a batch."
_REFUSED: Final = {
    **dict.fromkeys(("BEGIN", "START", "COMMIT", "END", "ABORT", "ROLLBACK", "SAVEPOINT", "RELEASE"), _BATCH),
    **dict.fromkeys(("PREPARE", "EXECUTE", "DEALLOCATE"), _PREPARED),
    **dict.fromkeys(("RESET", "DISCARD"), _SETTING),
    **dict.fromkeys(("LISTEN", "UNLISTEN"), "LISTEN receives nothing here: subscribe to a topic instead."),
    "COPY": "COPY cannot run here: use \\copy of psql, while the server keeps running.",
    "DECLARE": "A cursor cannot be read here: use LIMIT, and the last row's key for the next page.",
}
_BOUND_TO_TRANSACTION = frozenset({"LOCAL", "TRANSACTION", "CONSTRAINTS"})

_POSITION: Final = (
    b"SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
    b"ELSE pg_catalog.pg_current_wal_insert_lsn() END, pg_catalog.pg_advisory_unlock_all()"
)
"""The position of the WAL; it also releases the advisory locks that a statement may have left."""

Bound = tuple[bytes, list[bytes | None]]
"""A statement with its parameters, in text format; PostgreSQL infers their types."""


class _Answer(Struct):
    """`columns`: names and type OIDs. `rows` as text, NULL as None. `count`: rows returned, else changed."""

    columns: list[tuple[str, int]]
    rows: list[tuple[bytes | None, ...]]
    count: int


async def try_role(connection: Connection, role: str) -> None:
    """Check that statements can run as a role. Raises DatabaseUnusable."""
    quoted = '"' + role.replace('"', '""') + '"'
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {quoted}".encode())
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.InsufficientPrivilege) as error:
        own = connection.info.user.replace('"', '""')
        raise DatabaseUnusable(
            f"query_role cannot be used ({error.diag.message_primary}): create it if it is missing, then "
            f'GRANT {quoted} TO "{own}";'
        ) from None


async def run(
    connection: Connection,
    sql: str,
    params: Sequence[Value],
    types: Types,
    cursor_at: Callable[[int], str],
    role: str | None = None,
) -> QueryResult:
    """Run one statement in a transaction of its own. Arguments and errors as in `run_all`."""
    return (await run_all(connection, [(sql, params)], types, cursor_at, role))[0]


async def run_all(
    connection: Connection,
    queries: Sequence[tuple[str, Sequence[Value]]],
    types: Types,
    cursor_at: Callable[[int], str],
    role: str | None = None,
) -> list[QueryResult]:
    """Run statements in one transaction: all or none.

    `cursor_at` converts the position of the WAL after the commit into the results' cursor. Each statement runs
    as `role`. That limits statements by mistake, not by intent: one can leave the role by `set_config('role',
    …)`. Untrusted statements need a login of their own.

    Afterwards the connection is as before: settings, role and advisory locks that a statement left are reset; it
    is closed when a result was not read to its end. Raises AerostackError, psycopg.Error.
    """
    bound = [_bind(sql, params, role) for sql, params in queries]
    try:
        connection.pgconn.enter_pipeline_mode()
        outcome = await connection.wait(_transaction(connection.pgconn, bound, role))
        connection.pgconn.exit_pipeline_mode()
    except BaseException:
        await connection.close()
        raise
    if isinstance(outcome, Exception):
        raise outcome
    answers, position = outcome
    oids = {oid for answer in answers for _, oid in answer.columns}
    if wanted := types.missing(oids) | types.composed(oids):  # a composite may have been altered
        await types.load(connection, wanted)
    cursor = cursor_at(position)
    return [_result(answer, types, cursor) for answer in answers]


def _bind(sql: str, params: Sequence[Value], role: str | None) -> Bound:
    """Raises BadMessage for what cannot run as one statement in our transaction, and TooLarge."""
    if "\0" in sql or any("\ud800" <= letter <= "\udfff" for letter in sql):
        raise BadMessage("The SQL contains a character that PostgreSQL cannot store in text.")
    statement = translate(sql)
    _check(statement, role)
    if len(params) > PARAMETERS:
        raise TooLarge(f"A statement takes at most {PARAMETERS} parameters: split it.")
    if statement.placeholders != len(params):
        raise BadMessage(
            f"The statement has {statement.placeholders} placeholders and {len(params)} bindings: give one for "
            "each ?, and write the operator ? as ??."
        )
    return statement.sql.encode(), to_parameters(params)


def _check(statement: Statement, role: str | None) -> None:
    words = statement.words
    if not words:
        raise BadMessage("The SQL contains no statement.")
    if words[:2] == ("PREPARE", "TRANSACTION"):
        raise BadMessage(_BATCH)
    if words[0] in _REFUSED:
        raise BadMessage(_REFUSED[words[0]])
    if statement.several:
        raise BadMessage("The SQL contains more than one statement: send several as a batch instead.")
    if words[0] == "SET":
        if len(words) < 2 or words[1] not in _BOUND_TO_TRANSACTION:
            raise BadMessage(_SETTING)
        if role is not None and words[1] == "LOCAL" and words[2:3] in (("ROLE",), ("SESSION",), ('"',)):
            raise BadMessage(f"Statements run as the role {role} here and cannot change it.")


def _transaction(
    pgconn: PGconn, bound: Sequence[Bound], role: str | None
) -> Communication[tuple[list[_Answer], int] | Exception]:
    """Run statements and commit: their answers and the position after it, or the server's error.

    Raises psycopg.Error when the connection is lost, TooLarge inside a result.
    """
    first = Pipeline(pgconn)
    first.send(b"BEGIN")
    for sql, params in bound:
        if role is not None:  # before each statement: the previous one may have left it
            first.send(b'SET LOCAL ROLE "%s"' % role.replace('"', '""').encode())
        first.send(sql, params)
    first.sync()
    answers: list[_Answer] | Exception
    try:
        answers = yield from _answers(first, len(bound), role)
    except (psycopg.Error, Unavailable) as error:
        answers = _reported(error)
    yield from first.rest()
    last = Pipeline(pgconn)
    last.send(b"COMMIT" if isinstance(answers, list) else b"ROLLBACK")
    for ending in (_POSITION, b"RESET ALL", b"RESET ROLE"):
        last.send(ending)
    last.sync()
    position = 0
    try:
        yield from last.only()
        position = _position((yield from last.only()))
    except psycopg.Error as error:  # a deferred constraint
        answers = _reported(error)
    yield from last.rest()
    return answers if isinstance(answers, Exception) else (answers, position)


def _reported(error: Exception) -> Exception:
    """The error, if the server reported it. Raises it if the connection is gone."""
    if isinstance(error, psycopg.Error) and error.sqlstate is None:
        raise error
    return error


def _answers(pipeline: Pipeline, count: int, role: str | None) -> Communication[list[_Answer]]:
    """Raises psycopg.Error, Unavailable, TooLarge."""
    yield from pipeline.only()
    answers = []
    for _ in range(count):
        if role is not None:
            try:
                yield from pipeline.only()
            except psycopg.Error as error:
                raise Unavailable(f"The role {role} cannot be set for statements: {error}.") from error
        answers.append((yield from _answer(pipeline)))
    return answers


def _answer(pipeline: Pipeline) -> Communication[_Answer]:
    """Raises psycopg.Error, TooLarge."""
    pipeline.by_chunks()
    answer = _Answer([], [], 0)
    taken = 0
    while (result := (yield from pipeline.next())) is not None:
        columns = range(result.nfields)
        answer.columns = [((result.fname(at) or b"").decode(), result.ftype(at)) for at in columns]
        for row in range(result.ntuples):
            values = tuple([result.get_value(row, at) for at in columns])
            taken += sum([8 if value is None else len(value) for value in values])
            answer.rows.append(values)
        if len(answer.rows) > RESULT_ROWS:
            raise TooLarge(f"The result has more than {RESULT_ROWS} rows: add a LIMIT.")
        if taken > RESULT_BYTES:
            raise TooLarge(f"The result takes more than {RESULT_BYTES >> 20} MiB: add a LIMIT or fewer columns.")
        changes = result.status == ExecStatus.COMMAND_OK
        answer.count = (result.command_tuples or 0) if changes else len(answer.rows)
    return answer


def _position(result: PGresult) -> int:
    """A position in the WAL, which PostgreSQL prints as two hexadecimal numbers; 0 for none."""
    high, _, low = (result.get_value(0, 0) or b"0/0").partition(b"/")
    return int(high, 16) << 32 | int(low, 16)


def _result(answer: _Answer, types: Types, cursor: str) -> QueryResult:
    layout = types.layout(answer.columns)
    return QueryResult([layout.to_row(row) for row in answer.rows], answer.count, cursor)
