"""TLS to PostgreSQL, as libpq does it: on each of our connections, and what is said where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aerostack_realtime.database.base import DatabaseUnusable, Replay, Selection
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.diagnostics import diagnose
from aerostack_realtime.database.postgres.settings import PostgresSettings
from aerostack_realtime.database.postgres.wal.stream import Keepalive, ReplicationStream
from tests.authority import Authority
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.encrypted import EncryptedServer, client_certificate
from tests.contract.postgres.shop import ORDERS, Shop, ids
from tests.contract.test_message_store import TOPIC, append, message
from tests.postgres import PostgresServer

SMALL = 50_000
"""Bytes of changes in memory: some hundred of the tests' rows."""

Addresses = dict[str, Callable[[], str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(place: Path) -> Authority:
    return Authority(place, "authority")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[EncryptedServer]:
    made = EncryptedServer(authority)
    made.execute(
        "CREATE ROLE ann LOGIN PASSWORD 'right'",
        "CREATE ROLE bob LOGIN REPLICATION",
        "CREATE ROLE reader NOLOGIN",
    )
    yield made
    made.remove()


@pytest.fixture
def shop(server: EncryptedServer) -> Iterator[Shop]:
    server.execute("CREATE DATABASE shop")
    yield Shop(server, "shop")
    server.drop_database("shop")


@asynccontextmanager
async def opened(address: str, recorder: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
    database = await PostgresDatabase.open(address, recorder, settings=PostgresSettings(**settings))
    try:
        yield database
    finally:
        async with asyncio.timeout(PATIENCE):
            await database.close()


async def backends(shop: Shop) -> list[tuple[str, bool]]:
    """Our connections to the server, as it sees them: what kind, and whether with TLS."""
    query = (
        "SELECT backend_type, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) "
        "WHERE application_name = 'aerostack' ORDER BY 1"
    )
    async with await psycopg.AsyncConnection.connect(shop.server.socket_dsn(shop.name)) as connection:
        return [(kind, tls) for kind, tls in await (await connection.execute(query)).fetchall()]


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_every_connection_of_ours_is_encrypted(
    server: EncryptedServer, shop: Shop, recorder: Recorder, mode: str
) -> None:
    """Queries, a snapshot that is read, the store's two, the log, and a copy of the slot that reads it again."""
    shop.execute(ORDERS, "GRANT SELECT ON orders TO reader")
    settings = {"log_bytes": SMALL, "query_role": "reader"}
    async with opened(server.address("shop", sslmode=mode), recorder, **settings) as database:
        await database.changes.watch("orders")
        since = database.changes.cursor("orders")
        shop.execute("INSERT INTO orders SELECT i, 'new' FROM generate_series(1, 5000) i")
        await recorder.until_changes(5000)
        assert (await database.query("SELECT count(*) AS n FROM orders")).rows == [{"n": 5000}]
        await append(database.messages, message(1))
        assert [found.position for found in await database.messages.history(TOPIC, 10)] == [1]
        first: asyncio.Future[Replay] = asyncio.get_running_loop().create_future()
        database.changes.replay("orders", since, first.set_result, first.set_exception)
        async with asyncio.timeout(PATIENCE):
            assert (await first).more
        async with database.snapshot("orders", Selection(lambda row: True)) as snapshot:
            rows = [row async for part in snapshot for row in part]
            assert len(rows) == 5000
            found = await backends(shop)
        assert found.count(("walsender", True)) == 2, "the log, and what is read of it again"
        assert found.count(("client backend", True)) >= 4, "queries, a snapshot, and the store's two"
        assert all(tls for _, tls in found)
        changes, parts = await replay(database, "orders", since)
        assert changes == recorder.changes
        assert all(part.recovered for part in parts)


async def test_a_broken_connection_is_restored_encrypted_without_a_gap(
    server: EncryptedServer, shop: Shop, recorder: Recorder
) -> None:
    shop.execute(ORDERS)
    async with opened(server.address("shop", sslmode="verify-full"), recorder) as database:
        await database.changes.watch("orders")
        for number in range(3):
            shop.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aerostack'"
            )
            shop.insert(number)
            await recorder.until_changes(number + 1)
            await append(database.messages, message(number + 1))
        assert ids(recorder) == [0, 1, 2]
        assert recorder.interruptions == []
        assert [found.position for found in await database.messages.history(TOPIC, 10)] == [3, 2, 1]
        assert all(tls for _, tls in await backends(shop))


async def test_a_certificate_of_ours_opens_every_connection(
    server: EncryptedServer, authority: Authority, place: Path, shop: Shop, recorder: Recorder
) -> None:
    shop.execute(ORDERS, "ALTER TABLE orders OWNER TO bob", "GRANT CREATE ON DATABASE shop TO bob")
    address = server.address("shop", "bob", sslmode="verify-full", **client_certificate(authority, place, "bob"))
    async with opened(address, recorder) as database:
        await database.changes.watch("orders")
        shop.insert(1)
        await recorder.until_changes(1)
        await append(database.messages, message(1))


# --- bursts ----------------------------------------------------------------------------------------------


async def test_a_burst_is_delivered_in_batches(server: EncryptedServer, shop: Shop) -> None:
    """What TLS has decrypted already is not announced by the socket. Nobody speaks here but for the rows: the
    server sends no keep-alives to us, and we confirm nothing."""
    shop.execute("ALTER DATABASE shop SET wal_sender_timeout = 0")
    shop.execute(ORDERS, "CREATE PUBLICATION all_of_it FOR ALL TABLES")
    shop.execute("SELECT pg_create_logical_replication_slot('burst', 'pgoutput')")
    stream = await ReplicationStream.connect(server.address("shop", sslmode="verify-full"))
    try:
        await stream.start("burst", 0, {"proto_version": "1", "publication_names": '"all_of_it"'})
        number = 0
        for length in (1, 100, 8_000, 17_000, 70_000):
            state = f"repeat('é', {length})"
            shop.execute(
                f"INSERT INTO orders SELECT i, {state} FROM generate_series({number + 1}, {number + 40}) i"
            )
            for _ in range(10):
                number += 1
                shop.execute(f"INSERT INTO orders VALUES (-{number}, {state})")
            number += 40
            await received(stream, rows=50, commits=11)
        shop.execute("INSERT INTO orders SELECT i, 'new' FROM generate_series(1000001, 1020000) i")
        await received(stream, rows=20_000, commits=1)
        async with await psycopg.AsyncConnection.connect(server.socket_dsn("shop"), autocommit=True) as writer:
            for number in range(2_000_000, 2_002_000):
                await writer.execute("INSERT INTO orders VALUES (%s, 'new')", (number,))
        await received(stream, rows=2_000, commits=2_000)
    finally:
        await stream.close()


async def received(stream: ReplicationStream, *, rows: int, commits: int) -> None:
    """Read until this number of rows and commits has come."""
    async with asyncio.timeout(PATIENCE):
        while rows or commits:
            received = stream.receive()
            if received is None:
                await stream.more()
            elif not isinstance(received, Keepalive):
                rows -= bytes(received[:1]) == b"I"
                commits -= bytes(received[:1]) == b"C"


# --- bad days --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def addresses(server: EncryptedServer, authority: Authority, place: Path) -> Iterator[Addresses]:
    """Addresses that cannot be used, by what is wrong with them."""
    strangers = place / "strangers"
    strangers.mkdir()
    other = Authority(strangers, "other")
    bobs, zoes = (client_certificate(authority, place, user) for user in ("bob", "zoe"))
    open_to_all = client_certificate(authority, strangers, "open")
    Path(open_to_all["sslkey"]).chmod(0o644)
    expired = EncryptedServer(authority, expired=True)
    plain = PostgresServer.started(tcp=True)

    def bob(**files: str) -> Callable[[], str]:
        return lambda: server.address(user="bob", sslmode="verify-full", **files)

    yield {
        "wrong authority": lambda: server.address(sslmode="verify-ca", sslrootcert=str(other.certificate)),
        "wrong name": lambda: server.address(sslmode="verify-full", host="other.test"),
        "expired": lambda: expired.address(sslmode="verify-ca"),
        "expired, under require": lambda: expired.address(sslmode="require"),
        "no authority": lambda: server.address(sslmode="verify-full", sslrootcert="/nowhere/ca.crt"),
        "authority that is none": lambda: server.address(sslmode="verify-ca", sslrootcert="/etc/hostname"),
        "no TLS there": lambda: f"{plain.dsn()}&sslmode=require",
        "no TLS here": lambda: server.address(sslmode="disable"),
        "wrong password": lambda: server.address(user="ann:wrong", sslmode="verify-full"),
        "wrong password, under prefer": lambda: server.address(user="ann:wrong", sslmode="prefer"),
        "not let in": lambda: server.address(user="reader", sslmode="prefer"),
        "no sslmode": lambda: server.address(sslmode="verify"),
        "no client certificate": bob(),
        "another's certificate": bob(**zoes),
        "a stranger's certificate": bob(**client_certificate(other, strangers, "bob")),
        "certificate without a key": bob(sslcert=bobs["sslcert"], sslkey="/nowhere/bob.key"),
        "another's key": bob(sslcert=bobs["sslcert"], sslkey=zoes["sslkey"]),
        "key that all may read": bob(**open_to_all),
    }
    for each in (expired, plain):
        each.remove()


@pytest.mark.parametrize(
    "wrong",
    [
        "wrong authority",
        "wrong name",
        "expired",
        "expired, under require",
        "no authority",
        "authority that is none",
        "no TLS there",
        "no TLS here",
        "wrong password",
        "wrong password, under prefer",
        "not let in",
        "no sslmode",
        "no client certificate",
        "another's certificate",
        "a stranger's certificate",
        "certificate without a key",
        "another's key",
        "key that all may read",
    ],
)
async def test_a_tls_failure_is_one_line_with_a_hint(addresses: Addresses, wrong: str) -> None:
    expected = "sslrootcert|role, its password|~/.pgpass"
    address = addresses[wrong]()
    with pytest.raises(DatabaseUnusable, match=expected) as caught:
        await Connections.open(address)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert "wrong@" not in sentence
    with pytest.raises(DatabaseUnusable, match=expected):  # what aerostack check says
        await diagnose(address, slot=None, publication="aerostack", resume_bytes=0)
    with pytest.raises(DatabaseUnusable, match=expected):
        await ReplicationStream.connect(address)
