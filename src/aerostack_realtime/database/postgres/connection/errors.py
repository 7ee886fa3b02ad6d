"""PostgreSQL's errors as ours, by SQLSTATE (its manual's appendix "PostgreSQL Error Codes")."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    TooLarge,
    Unavailable,
)

_TOO_SLOW = (
    BadMessage,
    "It took longer than the server's statement_timeout allows ({}): make it do less at once.",
)
_GOES_ON = (Unavailable, "The database does not serve now ({}). Try again in a moment.")

_MEANINGS: Final[dict[str, tuple[type[AerostackError], str]]] = {
    "08": (Unavailable, "The connection to the database broke ({}). Try again in a moment."),
    "25001": (BadMessage, "{}: run it by psql, the server may keep running."),
    "25006": (
        Unavailable,
        "The database is read-only: it is a standby, or default_transaction_read_only is on. Connect the server "
        "to the primary ({}).",
    ),
    "25P03": (Unavailable, "The database gave the transaction up ({}). Try again."),
    "25P04": _TOO_SLOW,
    "28": (Unavailable, "The database refuses the server's role ({}). Give it the right to connect."),
    "40": (Unavailable, "Another transaction was in the way ({}). Try again."),
    "42501": (Forbidden, "The server's role may not do this in the database ({}): grant it the right."),
    "53": (Unavailable, "The database has run out of a resource ({}). Try again in a moment."),
    "53100": (Unavailable, "The disk of the database is full ({}). Make room on it, then try again."),
    "53300": (
        Unavailable,
        "The database has no connection free ({}). Raise its max_connections, or try again in a moment.",
    ),
    "54": (TooLarge, "It is more than PostgreSQL can take ({})."),
    "55P03": (Unavailable, "A row or table stays locked by another transaction ({}). Try again."),
    "57": _GOES_ON,
    "57014": _TOO_SLOW,
    "58": (Unavailable, "The database's machine has a fault ({}). See PostgreSQL's log, then try again."),
    "F0": _GOES_ON,
    "XX": (Unavailable, "The database reports an internal fault ({}). See PostgreSQL's log, then try again."),
}
"""By state or its class, the state first. What is not here is the statement's own fault, in the server's words."""

_UNUSABLE: Final = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (
            r"password authentication failed for user (\"[^\"]*\")",
            "the password of the role {} is wrong: set it in the address, in PGPASSWORD or in ~/.pgpass.",
        ),
        (
            r"no password supplied|empty password",
            "it asks for a password: set it in the address, in PGPASSWORD or in ~/.pgpass.",
        ),
        (r"database (\"[^\"]*\") does not exist", "there is no database {}: CREATE DATABASE it, or name another."),
        (r"role (\"[^\"]*\") does not exist", "there is no role {}: CREATE ROLE it WITH LOGIN, or name another."),
        (r"role (\"[^\"]*\") is not permitted to log in", "the role {} may not log in: ALTER ROLE it WITH LOGIN."),
        (
            r"must be superuser or replication role|permission denied to start WAL sender",
            "its role may not read the log: ALTER ROLE it REPLICATION (on RDS: GRANT rds_replication TO it).",
        ),
        (
            r"permission denied for database (\"?[^\"\n]*\"?)",
            "the role may not connect: GRANT CONNECT ON DATABASE {} to it.",
        ),
        (
            r"(?s)^(?!.*(?:SSL encryption|SSL on)).*?(no pg_hba\.conf entry[^\n]*(?:no encryption|SSL off))",
            "the server lets this client not in without TLS ({}): set sslmode=require or verify-full, or add a "
            "line to its pg_hba.conf and reload it.",
        ),
        (
            r"(no pg_hba\.conf entry[^\n]*|pg_hba\.conf rejects[^\n]*)",
            "the server lets this client not in ({}): add a line to its pg_hba.conf and reload it.",
        ),
        (
            r"((?:Peer|Ident|GSSAPI|LDAP|RADIUS|PAM|Certificate|certificate|trust|md5)[^\n]* authentication failed"
            r"[^\n]*)",
            "the server does not take this client for that role ({}): see its pg_hba.conf.",
        ),
        (
            r"server does not support SSL",
            "the server speaks no TLS and the address asks for it: turn ssl on there, or set sslmode=prefer.",
        ),
        (
            r"connection requires a valid client certificate",
            "it asks for a client's certificate: set sslcert and sslkey to files that are there.",
        ),
        (
            r"(tlsv1 alert [^\n]*|sslv3 alert [^\n]*)",
            "it does not take the client's certificate ({}): see whether sslcert is of the authority that its "
            "ssl_ca_file names, and has not expired.",
        ),
        (
            r"(root certificate file [^\n]* does not exist|could not read root certificate file[^\n]*)",
            "its certificate cannot be checked ({}): set sslrootcert to the file of its authority.",
        ),
        (
            r"((?:certificate present|could not (?:load|open|read) (?:certificate|private key)|private key file)"
            r"[^\n]*)",
            "the client's certificate cannot be used ({}): set sslcert to it and sslkey to its key.",
        ),
        (
            r"(server certificate for [^\n]*)",
            "its certificate is another name's ({}): write the host as the certificate does, or set "
            "sslmode=verify-ca.",
        ),
        (
            r"(certificate verify failed[^\n]*)",
            "its certificate cannot be trusted ({}): see whether sslrootcert is of the authority that signed it, "
            "and whether it has expired.",
        ),
        (
            r"(SSL error[^\n]*|SSL SYSCALL error[^\n]*)",
            "TLS with the server fails ({}): set sslmode and sslrootcert to what it has.",
        ),
        (
            r"invalid sslmode value: (\"[^\"]*\")",
            "there is no sslmode {}: write disable, prefer, require, verify-ca or verify-full.",
        ),
        (r"Servname not supported|invalid port", "its port is no number from 1 to 65535."),
        (
            r"(could not translate host name [^\n]*|[Nn]ame or service not known|failed to resolve host[^\n]*|"
            r"[Nn]o address associated[^\n]*|Temporary failure in name resolution)",
            "its host has no address ({}): see whether the name is written right.",
        ),
        (
            r"[Cc]onnection refused|No such file or directory",
            "nobody listens there: start PostgreSQL, and see its port and listen_addresses.",
        ),
        (
            r"timeout|timed out|No route to host|Network is unreachable",
            "its host does not answer: see whether it runs and whether a firewall is between.",
        ),
        (
            r"too many (?:clients|connections)[^\n]*|remaining connection slots",
            "it has no connection free: raise its max_connections, or end other clients.",
        ),
        (
            r"the database system is ([^\n]*)",
            "the database system is {}: start again when it serves.",
        ),
        (
            r"invalid response to SSL negotiation|expected authentication request",
            "what listens there is not PostgreSQL: see the port.",
        ),
        (
            r"unsupported startup parameter[^\n]*",
            "a connection pooler is in between that takes no settings: name PostgreSQL itself, which logical "
            "replication needs too.",
        ),
    )
)


def translate(error: Exception) -> AerostackError:
    """An error of psycopg as ours."""
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
                f"The connection to the database broke ({_first_line(error)}): what was under way may have taken "
                "effect or not. Try again in a moment."
            )
    return BadMessage(str(error))


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection is gone, so that nobody knows what became of a commit."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError)
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith("08") or error.sqlstate in ("57P01", "57P02", "57P03", "57P05", "25P03")


def why_unusable(error: psycopg.Error) -> str:
    """What keeps a server from being connected to. libpq gives no state then: its words are looked through."""
    text = str(error)
    for pattern, sentence in _UNUSABLE:
        if found := pattern.search(text):
            return sentence.format(found[1].rstrip(".") if pattern.groups and found[1] else "")
    return f"{_first_line(error)}."


def _words(error: psycopg.Error) -> str:
    """The server's own sentences: what happened, and its detail and hint."""
    parts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
    return " ".join(part.rstrip(".") + "." for part in parts if part) or f"{_first_line(error)}."


def _primary(error: psycopg.Error) -> str:
    return (error.diag.message_primary or _first_line(error)).rstrip(".")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
