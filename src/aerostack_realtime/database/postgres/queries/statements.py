"""The user's SQL: one statement at a time, in a transaction, with a bounded result."""

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
"""What one result may take: a query must not eat the server's memory."""
PARAMETERS: Final = 65_535
"""What PostgreSQL's protocol has room for in one statement."""

_BATCH = "A query is a transaction of its own: send several statements by batch instead."
_PREPARED = "A prepared statement would outlive its query: send the statement itself."
_SETTING = "A setting would outlive the query on a connection that others share: use SET LOCAL in a batch."
_REFUSED: Final = {
    **dict.fromkeys(("BEGIN", "START", "COMMIT", "END", "ABORT", "ROLLBACK", "SAVEPOINT", "RELEASE"), _BATCH),
    **dict.fromkeys(("PREPARE", "EXECUTE", "DEALLOCATE"), _PREPARED),
    **dict.fromkeys(("RESET", "DISCARD"), _SETTING),
    **dict.fromkeys(("LISTEN", "UNLISTEN"), "LISTEN hears nothing here: subscribe to a topic instead."),
    "COPY": "COPY cannot run here: use \\copy of psql, the server may keep running.",
    "DECLARE": "A cursor cannot be read here: use LIMIT, and the last row's key for the next page.",
}
_BOUND_TO_TRANSACTION = frozenset({"LOCAL", "TRANSACTION", "CONSTRAINTS"})

_POSITION: Final = (
    b"SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
    b"ELSE pg_catalog.pg_current_wal_insert_lsn() END, pg_catalog.pg_advisory_unlock_all()"
)
"""Where the log stands; with it go the locks that the statement may have left."""

Bound = tuple[bytes, list[bytes | None]]
"""A statement with its parameters, in text format; PostgreSQL infers their types."""


class _Answer(Struct):
    """`columns`: names and type OIDs. `rows` as text, NULL as None. `count`: rows returned, else changed."""

    columns: list[tuple[str, int]]
    rows: list[tuple[bytes | None, ...]]
    count: int


async def try_role(connection: Connection, role: str) -> None:
    """See whether statements can run as a role. Raises DatabaseUnusable."""
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
    """One statement in a transaction of its own. Arguments and errors as of `run_all`."""
    return (await run_all(connection, [(sql, params)], types, cursor_at, role))[0]


async def run_all(
    connection: Connection,
    queries: Sequence[tuple[str, Sequence[Value]]],
    types: Types,
    cursor_at: Callable[[int], str],
    role: str | None = None,
) -> list[QueryResult]:
    """Statements in one transaction: all or none.

    `cursor_at` gets where the write-ahead log stood after the commit and gives the results' cursor. `role`: each
    statement runs as it. That keeps honest statements to its rights; one that sets out to leave it can, by
    `set_config('role', …)`: what must not, gets a login of its own.

    The connection is as before afterwards: settings, role and advisory locks that a statement left are gone; it is
    closed when the result was not read to its end. Raises AerostackError, psycopg.Error.
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
    if wanted := types.missing(oids) | types.composed(oids):  # a composite may have been altered since
        await types.load(connection, wanted)
    cursor = cursor_at(position)
    return [_result(answer, types, cursor) for answer in answers]


def _bind(sql: str, params: Sequence[Value], role: str | None) -> Bound:
    """Raises BadMessage for what cannot run as one statement in our transaction, TooLarge."""
    if "\0" in sql or any("\ud800" <= letter <= "\udfff" for letter in sql):
        raise BadMessage("The SQL holds a character that is no text.")
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
        raise BadMessage("There is no statement in the SQL.")
    if words[:2] == ("PREPARE", "TRANSACTION"):
        raise BadMessage(_BATCH)
    if words[0] in _REFUSED:
        raise BadMessage(_REFUSED[words[0]])
    if statement.several:
        raise BadMessage("There is more than one statement: send several by batch instead.")
    if words[0] == "SET":
        if len(words) < 2 or words[1] not in _BOUND_TO_TRANSACTION:
            raise BadMessage(_SETTING)
        if role is not None and words[1] == "LOCAL" and words[2:3] in (("ROLE",), ("SESSION",), ('"',)):
            raise BadMessage(f"Statements run as the role {role} here and cannot take another one.")


def _transaction(
    pgconn: PGconn, bound: Sequence[Bound], role: str | None
) -> Communication[tuple[list[_Answer], int] | Exception]:
    """Run statements and commit: their answers and the position after it, or what the server has against one.

    Raises psycopg.Error when the connection is lost, TooLarge in the midst of a result.
    """
    first = Pipeline(pgconn)
    first.send(b"BEGIN")
    for sql, params in bound:
        if role is not None:  # before each: the last one may have left it
            first.send(b'SET LOCAL ROLE "%s"' % role.replace('"', '""').encode())
        first.send(sql, params)
    first.sync()
    answers: list[_Answer] | Exception
    try:
        answers = yield from _answers(first, len(bound), role)
    except (psycopg.Error, Unavailable) as error:
        answers = _told(error)
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
    except psycopg.Error as error:  # a constraint that is looked at in the end
        answers = _told(error)
    yield from last.rest()
    return answers if isinstance(answers, Exception) else (answers, position)


def _told(error: Exception) -> Exception:
    """The error, when it is the server's word. Raises it when the connection is gone."""
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
                raise Unavailable(f"The role {role} for statements cannot be taken on: {error}.") from error
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
    """A position in the write-ahead log, which PostgreSQL prints as two numbers in base 16; 0 for none."""
    high, _, low = (result.get_value(0, 0) or b"0/0").partition(b"/")
    return int(high, 16) << 32 | int(low, 16)


def _result(answer: _Answer, types: Types, cursor: str) -> QueryResult:
    layout = types.layout(answer.columns)
    return QueryResult([layout.to_row(row) for row in answer.rows], answer.count, cursor)
