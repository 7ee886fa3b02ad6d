"""Connections to real PostgreSQL servers that refuse them, and to one that pretends to be too old."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection import pool
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.diagnostics import diagnose
from aerostack_realtime.protocol.errors import Overloaded, Unavailable
from tests.contract.conftest import PATIENCE
from tests.postgres import PostgresServer


@pytest.fixture(scope="module")
def strict() -> Iterator[PostgresServer]:
    """A server on a port, whose roles come in as its pg_hba.conf says."""
    server = PostgresServer.started(tcp=True)
    server.execute(
        "SET password_encryption = 'scram-sha-256'; CREATE ROLE ann LOGIN PASSWORD 'right'",  # 13's is md5
        "CREATE ROLE outcast LOGIN",
        "CREATE ROLE nologin NOLOGIN",
    )
    (server.data / "pg_hba.conf").write_text(
        "local all postgres trust\n"
        "host all ann 127.0.0.1/32 scram-sha-256\n"
        "host all outcast 127.0.0.1/32 reject\n"
        "host postgres,missing postgres,nologin,missing 127.0.0.1/32 trust\n"
        "host template1 postgres 127.0.0.1/32 trust\n"
    )
    server.execute("SELECT pg_reload_conf()")
    yield server
    server.remove()


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Connections]:
    connections = await Connections.open(dsn)
    try:
        yield connections
    finally:
        await connections.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ann:wrong@127.0.0.1:{port}/postgres", "~/.pgpass|role, its password"),
        ("ann@127.0.0.1:{port}/postgres", "~/.pgpass"),
        ("postgres@127.0.0.1:{port}/missing", '"missing".*database'),
        ("missing@127.0.0.1:{port}/postgres", '"missing".*role'),
        ("nologin@127.0.0.1:{port}/postgres", '"nologin".*role'),
        ("outcast@127.0.0.1:{port}/postgres", "pg_hba.conf"),
        ("postgres@127.0.0.1:{port}/template0", "pg_hba.conf"),
        ("postgres@127.0.0.1:{port}/postgres?sslmode=require", "sslmode"),
        ("postgres@127.0.0.1:1/postgres", "that the server runs"),
        ("postgres@127.0.0.1:99999/postgres", "port"),
        ("postgres@nowhere.invalid/postgres", "host, port"),
        ("/postgres?host=/nowhere", "that the server runs"),
    ],
)
async def test_an_unusable_server_is_reported_in_one_line_with_a_hint(
    strict: PostgresServer, address: str, expected: str
) -> None:
    with pytest.raises(DatabaseUnusable, match=expected) as caught:
        await Connections.open("postgresql://" + address.format(port=strict.port))
    assert "\n" not in str(caught.value)
    assert "wrong@" not in str(caught.value)


@asynccontextmanager
async def of_version(version: str) -> AsyncIterator[str]:
    """The address of a server that greets like a PostgreSQL of that version (its manual, "Message Flow")."""

    greeted = asyncio.Queue[asyncio.StreamWriter]()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.put_nowait(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack(">I", await reader.readexactly(4))
                asked = await reader.readexactly(size - 4)
                if asked[:2] == b"\0\3":  # the version of the protocol; else it asks for encryption
                    break
                writer.write(b"N")
            parameter = b"".join(part.encode() + b"\0" for part in ("server_version", version))
            writer.write(
                struct.pack(">cII", b"R", 8, 0) + struct.pack(">cI", b"S", 4 + len(parameter)) + parameter
            )
            writer.write(b"Z\0\0\0\5I")

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield f"postgresql://ann@127.0.0.1:{server.sockets[0].getsockname()[1]}/shop"
    while not greeted.empty():
        writer = greeted.get_nowait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("version", ["12.22", "9.6.24"])
async def test_an_outdated_version_is_named_with_the_oldest_supported_one(version: str) -> None:
    async with of_version(version) as address:
        message = rf"is PostgreSQL {version.partition('.')[0]}: upgrade it, 13 or newer is needed\.$"
        with pytest.raises(DatabaseUnusable, match=message):
            await Connections.open(address)
        with pytest.raises(DatabaseUnusable, match=message):
            await diagnose(address, slot=None, publication="aerostack", resume_bytes=1)


async def test_a_password_comes_from_the_address_or_the_environment(
    strict: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("ann:right", "ann"):
        async with opened(f"postgresql://{address}@127.0.0.1:{strict.port}/postgres"):
            monkeypatch.setenv("PGPASSWORD", "right")


async def test_sessions_print_alike_whatever_the_role_and_the_address_set(postgres_dsn: str) -> None:
    dsn = f"{postgres_dsn}&options=-c%20TimeZone%3DAsia/Tokyo%20-c%20work_mem%3D8MB"
    async with opened(dsn) as connections, connections.use() as connection:
        for setting, value in (("TimeZone", "UTC"), ("work_mem", "8MB"), ("statement_timeout", "30s")):
            found = await (await connection.execute("SELECT current_setting(%s)", (setting,))).fetchone()
            assert found == (value,)


async def test_a_stopped_server_is_unavailable_until_it_restarts(
    strict: PostgresServer,
) -> None:
    async with opened(f"postgresql://postgres@127.0.0.1:{strict.port}/postgres") as connections:
        async with connections.use() as connection:
            await connection.execute("SELECT 1")
        strict.crash()
        with pytest.raises(Unavailable, match="again"):
            async with connections.use():
                raise AssertionError("it is down")
        with pytest.raises(Unavailable, match="that the server runs"):
            await connections.connect()
        strict.start()
        async with connections.use() as connection:
            await connection.execute("SELECT 1")


async def test_timed_out_waiters_do_not_block_the_pool(
    strict: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(f"postgresql://postgres@127.0.0.1:{strict.port}/postgres") as connections:

        async def ask() -> None:
            async with connections.use() as lent:
                await lent.execute("SELECT 1")

        await ask()
        monkeypatch.setattr(pool, "WAITING_LIMIT", 10)
        monkeypatch.setattr(pool, "WAIT_SECONDS", 0.2)
        strict.crash()
        outcomes = await asyncio.gather(*(ask() for _ in range(30)), return_exceptions=True)
        assert {type(each) for each in outcomes} == {Unavailable, Overloaded}
        strict.start()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await ask()
                except Unavailable:  # its connection is being made
                    continue
                break
