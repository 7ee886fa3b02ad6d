"""PostgreSQL's errors mapped to ours by SQLSTATE (its manual's appendix "PostgreSQL Error Codes")."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.address import shown
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    TooLarge,
    Unavailable,
)

_TOO_SLOW = (
    BadMessage,
    "The statement took longer than statement_timeout allows ({}): split it, or add an index.",
)
_SHUTTING_DOWN = (Unavailable, "The database accepts no statements now ({}). Try again in a moment.")

_MEANINGS: Final[dict[str, tuple[type[AerostackError], str]]] = {
    "08": (Unavailable, "The connection to the database broke ({}). Try again in a moment."),
    "25001": (BadMessage, "{}: run it with psql, while the server keeps running."),
    "25006": (
        Unavailable,
        "The database is read-only: it is a standby, or default_transaction_read_only is on. Connect the server "
        "to the primary ({}).",
    ),
    "25P03": (Unavailable, "The database ended the transaction ({}). Try again."),
    "25P04": _TOO_SLOW,
    "28": (Unavailable, "The database refuses the server's role ({}). Give it the right to connect."),
    "40": (Unavailable, "The transaction conflicted with another one ({}). Try again."),
    "42501": (Forbidden, "The server's role may not do this in the database ({}): grant it the right."),
    "53": (Unavailable, "The database has run out of a resource ({}). Try again in a moment."),
    "53100": (Unavailable, "The disk of the database is full ({}). Make room on it, then try again."),
    "53300": (
        Unavailable,
        "The database has no free connection ({}). Raise its max_connections, or try again in a moment.",
    ),
    "54": (TooLarge, "It exceeds a limit of PostgreSQL ({})."),
    "55P03": (Unavailable, "A row or table stays locked by another transaction ({}). Try again."),
    "57": _SHUTTING_DOWN,
    "57014": _TOO_SLOW,
    "58": (Unavailable, "The database's machine reports a fault ({}). See PostgreSQL's log, then try again."),
    "F0": _SHUTTING_DOWN,
    "XX": (Unavailable, "The database reports an internal fault ({}). See PostgreSQL's log, then try again."),
}
"""By state or its class, the state first. Any other state is an error in the statement: the server's message."""

_HINTS: Final = {
    "28": "Check the role, its password and the server's pg_hba.conf.",
    "28P01": "Set the right password in the address, in PGPASSWORD or in ~/.pgpass.",
    "3D": "Create the database with CREATE DATABASE, or name another one.",
    "42501": "Grant the role the right; for the WAL: ALTER ROLE … REPLICATION (RDS: GRANT rds_replication).",
    "53300": "Raise its max_connections, or end other clients.",
    "57P03": "Start again once the server accepts connections.",
}
"""What to do about an error at the start, by state or its class, the state first."""
_NEEDS_PASSWORD: Final = "Set the role's password in the address, in PGPASSWORD or in ~/.pgpass."
_WRONG_PASSWORD: Final = (
    "Check the role, its password and the database in the address, and the server's pg_hba.conf."
)
_CHECK_ADDRESS: Final = (
    "Check that the server runs, its pg_hba.conf, and in the address the host, port, role, database and TLS "
    "options (sslmode, sslrootcert, sslcert, sslkey): psql has to connect with the same address."
)
"""libpq gives no state for a connection that was never made."""


def translate(error: Exception) -> AerostackError:
    """Map an error of psycopg."""
    match error:
        case AerostackError():
            return error
        case PoolTimeout():
            return Unavailable("No connection to the database became free in time. Try again in a moment.")
        case psycopg.Error(sqlstate=str() as state):
            for known in (state, state[:2]):
                if known in _MEANINGS:
                    kind, sentence = _MEANINGS[known]
                    return kind(sentence.format(_primary(error)))
            return BadMessage(_words(error))
        case psycopg.OperationalError() | psycopg.InterfaceError() | OSError():
            return Unavailable(
                f"The connection to the database broke ({_first_line(error)}): the statement may or may not have "
                "taken effect. Try again in a moment."
            )
        case _:
            return BadMessage(str(error))


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection is gone, so that the outcome of a commit is unknown."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError)
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith("08") or error.sqlstate in ("57P01", "57P02", "57P03", "57P05", "25P03")


def unusable(error: psycopg.Error, dsn: str) -> DatabaseUnusable:
    """What keeps the server from being used: the first line of libpq's or the server's message, and what to do.

    The text of the message is printed and never interpreted: the server writes it in its own language.
    """
    return DatabaseUnusable(f"{shown(dsn)} cannot be used: {_first_line(error)}. {_hint(error)}")


def _hint(error: psycopg.Error) -> str:
    state = error.sqlstate or ""
    for known in (state, state[:2]):
        if known in _HINTS:
            return _HINTS[known]
    connection = error.pgconn
    if connection is not None and connection.needs_password:
        return _NEEDS_PASSWORD
    if connection is not None and connection.used_password:
        return _WRONG_PASSWORD
    return _CHECK_ADDRESS


def _words(error: psycopg.Error) -> str:
    """The server's own message with its detail and hint."""
    parts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
    return " ".join(part.rstrip(".") + "." for part in parts if part) or f"{_first_line(error)}."


def _primary(error: psycopg.Error) -> str:
    return (error.diag.message_primary or _first_line(error)).rstrip(".")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
