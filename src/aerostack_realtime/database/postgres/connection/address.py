"""The address of a PostgreSQL server: a URL, or libpq's keywords and values (`host=… dbname=…`).

Nothing of an address that cannot be read is ever printed, because any part of it may belong to the password.
psycopg is imported for the address of a server only: with other databases nothing else imports it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from aerostack_realtime.database.base import DatabaseUnusable

SESSION: Final = {
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "client_encoding": "UTF8",
}
"""Every session prints values alike, whatever the settings of the server and the role are."""

CONNECT_SECONDS: Final = 10

_KEEPALIVE: Final = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A broken network path is detected within half a minute; the system's own defaults take hours. A proxy in between
may answer for a server that is unreachable: for that, see TimeoutConnection."""

_UNREADABLE: Final = (
    "The database's address cannot be read: write postgresql://user:password@host:5432/database, with options "
    "that libpq knows, and in the password %25 for %, %40 for @, %2F for / and %3A for :."
)


def names_server(address: str) -> bool:
    """Whether an address is meant for a PostgreSQL server, even if it is misspelled; else it is a file's path."""
    text = address.strip().strip("'\"")
    if text.startswith(("/", "./", "../")) and not text.startswith("//"):
        return False
    return text.startswith("postgres:") or any(mark in text for mark in ("://", "=", "@"))


def parameters(dsn: str, *, session: Mapping[str, str] = {}, **more: Any) -> dict[str, Any]:
    """libpq's parameters for an address; `session` is set in addition to SESSION. Raises DatabaseUnusable."""
    given = _read(dsn)
    options = [given.get("options") or os.environ.get("PGOPTIONS", "")]
    options += [f"-c {name}={_escaped(value)}" for name, value in (SESSION | dict(session)).items()]
    given["options"] = " ".join(filter(None, options))
    return {"connect_timeout": CONNECT_SECONDS, "application_name": "aerostack"} | _KEEPALIVE | given | more


def shown(dsn: str) -> str:
    """The address without its password. Raises DatabaseUnusable."""
    given = _read(dsn)
    if given.get("service"):
        return f"postgresql://?service={given['service']}"
    database = given.get("dbname") or os.environ.get("PGDATABASE") or given.get("user") or ""
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "localhost"
    if host.startswith(("/", "@")):
        return f"postgresql:///{database}?host={host}"
    return f"postgresql://{host}:{given.get('port') or os.environ.get('PGPORT') or 5432}/{database}"


def _read(dsn: str) -> dict[str, Any]:
    """The parameters in `dsn`. libpq's own message may quote the password, so it is not repeated."""
    import psycopg
    from psycopg import conninfo

    try:
        given = conninfo.conninfo_to_dict(dsn)
        if not _is_misread(dsn, given):
            return given
    except psycopg.ProgrammingError:
        pass
    raise DatabaseUnusable(_UNREADABLE)


def _is_misread(dsn: str, given: Mapping[str, Any]) -> bool:
    """Whether host, port or database hold the rest of a password with an unescaped character. A host that begins
    with `/` or `@` is a Unix socket."""
    hosts, ports = str(given.get("host") or "").split(","), str(given.get("port") or "").split(",")
    return (
        any("@" in host[1:] and not host.startswith("/") for host in hosts)
        or not all(port.strip().isdecimal() for port in ports if port)
        or ("://" in dsn and "@" in str(given.get("dbname") or ""))
    )


def _escaped(value: str) -> str:
    """A setting's value as libpq's `options` require it."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
