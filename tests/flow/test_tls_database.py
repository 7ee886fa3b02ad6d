"""A PostgreSQL that is reached by TLS alone: what the commands say of it, and rows and history over it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.contract.postgres.encrypted import EncryptedServer
from tests.flow.calls import Http
from tests.flow.command import aerostack
from tests.flow.conftest import ServerProcess
from tests.flow.databases import PostgresDatabase
from tests.flow.wire import Dial


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncryptedServer]:
    made = EncryptedServer(Authority(tmp_path_factory.mktemp("certificates"), "authority"))
    made.execute("CREATE DATABASE shop", "CREATE ROLE ann LOGIN SUPERUSER PASSWORD 'se4cret'")
    yield made
    made.remove()


@pytest.fixture
async def shop(postgres: EncryptedServer, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    database = PostgresDatabase(postgres.address("shop", "ann:se4cret", sslmode="verify-full"))
    process = ServerProcess(database, tmp_path / "server.log")
    await process.start()
    yield process
    await process.close()


@pytest.mark.parametrize("command", [("check",), ("dev", "--port", "0")])
async def test_a_certificate_of_another_authority_keeps_a_server_from_starting(
    postgres: EncryptedServer, tmp_path: Path, command: tuple[str, ...]
) -> None:
    other = Authority(tmp_path, "other").certificate
    address = postgres.address("shop", "ann:se4cret", sslmode="verify-ca", sslrootcert=str(other))
    ran = await aerostack(*command, "--db", address, cwd=tmp_path)
    assert ran.code == 2
    said = [line for line in ran.err.splitlines() if "sslrootcert" in line]
    assert len(said) == 1
    assert "certificate verify failed" in said[0]
    assert "se4cret" not in ran.out + ran.err


async def test_everything_resumes_over_tls_after_a_cut(
    postgres: EncryptedServer, shop: ServerProcess, dial: Dial, calls: Callable[[ServerProcess], Http]
) -> None:
    http = calls(shop)
    await http.sql("CREATE TABLE orders(id INTEGER PRIMARY KEY)")
    rows, room = await dial(shop), await dial(shop)
    await rows.subscribe("orders")
    await room.subscribe("chat/room")
    for number in range(3):
        await shop.database.write(f"INSERT INTO orders VALUES ({number})")
        assert (await rows.hear("db_change"))["data"] == {"id": number}
        await room.publish("chat/room", number, persist=True)
        assert (await room.hear("event"))["data"] == number
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aerostack'"
        )
    assert [message["data"] for message in await http.history("chat/room")] == [2, 1, 0]
