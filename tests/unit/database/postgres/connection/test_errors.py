from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolTimeout

from aerostack_realtime.database.postgres.connection.address import parameters, shown
from aerostack_realtime.database.postgres.connection.errors import is_lost, translate, unusable
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    NotFound,
    TooLarge,
    Unavailable,
)


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (errors.UniqueViolation("twice"), BadMessage, "twice"),
        (errors.SyntaxError("near SELEC"), BadMessage, "SELEC"),
        (errors.UndefinedTable("no t"), BadMessage, "no t"),
        (errors.NumericValueOutOfRange("big"), BadMessage, "big"),
        (errors.RaiseException("mine"), BadMessage, "mine"),
        (errors.QueryCanceled("timeout"), BadMessage, "statement_timeout"),
        (errors.ActiveSqlTransaction("VACUUM cannot run"), BadMessage, "psql"),
        (errors.InsufficientPrivilege("table t"), Forbidden, "grant"),
        (errors.ProgramLimitExceeded("index row size"), TooLarge, "index row"),
        (errors.LockNotAvailable("locked"), Unavailable, "locked"),
        (errors.DeadlockDetected("deadlock"), Unavailable, "conflicted with another"),
        (errors.SerializationFailure("serialize"), Unavailable, "conflicted with another"),
        (errors.AdminShutdown("terminating"), Unavailable, "again"),
        (errors.CrashShutdown("crash"), Unavailable, "again"),
        (errors.CannotConnectNow("starting up"), Unavailable, "again"),
        (errors.TooManyConnections("slots"), Unavailable, "max_connections"),
        (errors.DiskFull("no space"), Unavailable, "Make room"),
        (errors.OutOfMemory("memory"), Unavailable, "resource"),
        (errors.ReadOnlySqlTransaction("read-only"), Unavailable, "primary"),
        (errors.ConnectionFailure("gone"), Unavailable, "broke"),
        (errors.DataCorrupted("page"), Unavailable, "log"),
        (errors.IoError("read"), Unavailable, "fault"),
        (psycopg.OperationalError("server closed the connection\nmore"), Unavailable, "may not have taken"),
        (psycopg.InterfaceError("the connection is closed"), Unavailable, "may not have taken"),
        (PoolTimeout("5 s"), Unavailable, "became free"),
        (NotFound("ours"), NotFound, "ours"),
    ],
)
def test_each_state_maps_to_its_error(error: Exception, kind: type[AerostackError], expected: str) -> None:
    translated = translate(error)
    assert type(translated) is kind
    assert expected in translated.message
    assert translated.message.endswith((".", "ours"))
    assert "\n" not in translated.message


def test_a_connection_is_lost_when_the_outcome_of_its_commit_is_unknown() -> None:
    assert is_lost(psycopg.OperationalError("server closed the connection"))
    assert is_lost(errors.AdminShutdown("terminating"))
    assert is_lost(ConnectionResetError())
    assert not is_lost(errors.UniqueViolation("twice"))
    assert not is_lost(errors.DiskFull("no space"))
    assert not is_lost(ValueError("ours"))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql+asyncpg://ann:secret@db/app",
        "mysql://ann:secret@db/app",
        "postgresql://ann:se%cret@db/app",
        "postgresql://ann:secret@db:port:1/app?secret",
        "ann:secret@db/app",
        "host=db password=se cret",
        "postgresql://ann:sec@cret/x@db/app",
        "postgresql://ann:x/secret@db/app?connect_timeout=1",
        "postgresql://ann:secret@db/app?foo=1",
        "postgresql://ann:se?w@cret@db/app",
        "postgresql://ann:se?x=1@cret@db/app",
        "postgresql://ann:x/se?cret=1@db/app",
        "postgresql://ann:secret/app",
        "PostgreSQL://ann:secret@db/app",
        "'postgresql://ann:secret@db/app'",
        "postgresql://db/app?password=se&cret=1",
        "host=db password=se cret=1",
        "postgresql://ann:12/secret@db/app",
    ],
)
def test_nothing_of_an_unreadable_address_is_printed(dsn: str) -> None:
    for read in (parameters, shown):
        with pytest.raises(Unavailable, match="address cannot be read") as caught:
            read(dsn)
        assert not any(part in str(caught.value) for part in ("cret", "12"))
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("dsn", "seen"),
    [
        ("postgresql://ann:secret@db.example:5433/app?sslmode=require", "postgresql://db.example:5433/app"),
        ("postgres://ann:secret@db/app", "postgresql://db:5432/app"),
        ("host=/run/postgresql dbname=app password=secret", "postgresql:///app?host=/run/postgresql"),
        ("postgresql://ann@db", "postgresql://db:5432/ann"),
        ("service=shop password=secret", "postgresql://?service=shop"),
        ("postgresql://ann:s?cret@db/app?application_name=a@b", "postgresql://db:5432/app"),
        ("postgresql://ann:secret@/app?host=@abstract", "postgresql:///app?host=@abstract"),
        ("postgresql://ann:secret@a:1,b:2/app", "postgresql://a,b:1,2/app"),
    ],
)
def test_an_address_is_shown_without_its_password(dsn: str, seen: str) -> None:
    assert shown(dsn) == seen


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (errors.InvalidPassword("PASSWORT FALSCH"), "~/.pgpass"),
        (errors.InvalidAuthorizationSpecification("x"), "pg_hba.conf"),
        (errors.InvalidCatalogName("x"), "CREATE DATABASE"),
        (errors.InsufficientPrivilege("x"), "REPLICATION"),
        (errors.TooManyConnections("x"), "max_connections"),
        (errors.CannotConnectNow("x"), "once the server accepts connections"),
        (psycopg.OperationalError("x"), "sslmode"),
    ],
)
def test_an_unusable_server_is_reported_with_a_hint_by_state(error: psycopg.Error, hint: str) -> None:
    message = str(unusable(type(error)(f"{error}\nDETAIL:  more"), "postgresql://ann:secret@db/app"))
    assert message.startswith(f"postgresql://db:5432/app cannot be used: {error}. ")
    assert hint in message
    assert "more" not in message
    assert "secret" not in message


def test_a_session_is_ours_beside_what_the_address_sets() -> None:
    given = parameters("postgresql://db/app?options=-c%20work_mem%3D8MB", session={"a": "read committed"})
    assert given["options"].startswith("-c work_mem=8MB -c DateStyle=ISO")
    assert given["options"].endswith(r"-c a=read\ committed")
    assert parameters("postgresql://db/app?connect_timeout=3")["connect_timeout"] == "3"
