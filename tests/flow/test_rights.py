"""A role that may only log in, from `aerostack check` to `aerostack db cleanup`, as a DBA goes along."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.command import Ran, aerostack
from tests.flow.conftest import ServerProcess
from tests.flow.databases import PostgresDatabase
from tests.flow.wire import Wire
from tests.postgres import PostgresServer, psql


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    postgres_server.execute("CREATE DATABASE rights", "CREATE ROLE rights_app LOGIN")
    yield postgres_server
    postgres_server.drop_database("rights")
    postgres_server.execute("DROP ROLE rights_app")


async def paste(server: PostgresServer, checked: Ran) -> None:
    """Everything that stands below a problem, as it is printed, into the psql of a superuser."""
    assert checked.code == 2
    lines = [line for line in checked.err.splitlines() if line.startswith("    ")]
    process = await asyncio.create_subprocess_exec(
        *(psql(), "-X", "-v", "ON_ERROR_STOP=1", server.dsn("rights")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaints = await process.communicate("\n".join(lines).encode())
    assert process.returncode == 0, complaints.decode()


async def test_what_is_printed_is_all_that_a_dba_has_to_run(server: PostgresServer, tmp_path: Path) -> None:
    dsn = server.dsn("rights", "rights_app")
    await paste(server, await aerostack("check", "--db", dsn))
    assert (await aerostack("check", "--db", dsn)).code == 0
    server.execute(
        "CREATE TABLE ours(id INTEGER PRIMARY KEY)",
        "ALTER TABLE ours OWNER TO rights_app",
        "CREATE TABLE theirs(id INTEGER PRIMARY KEY)",
        database="rights",
    )
    assert (await aerostack("tables", "watch", "ours", "--db", dsn)).code == 0
    refused = await aerostack("tables", "watch", "theirs", "--db", dsn)
    assert refused.code == 1
    server.execute(*refused.complaint.partition(", run: ")[2].split("; "), database="rights")
    assert (await aerostack("tables", "watch", "theirs", "--db", dsn)).code == 0
    await paste(server, await aerostack("check", "--db", dsn))
    assert (await aerostack("check", "--db", dsn)).code == 0

    process = ServerProcess(PostgresDatabase(dsn), tmp_path / "server.log")
    await process.start()
    try:
        wire = await Wire.open(process.url)
        for table in ("ours", "theirs"):
            await wire.subscribe(table)
            server.execute(f"INSERT INTO {table} VALUES (1)", database="rights")
            assert (await wire.hear("db_change"))["data"] == {"id": 1}
        busy = await aerostack("db", "cleanup", "--db", dsn)
        assert busy.code == 1
        assert busy.complaint == "error: A server runs on this database: stop it first, then clean up."
        wire.drop()
    finally:
        await process.terminate()
    done = await aerostack("db", "cleanup", "--db", dsn)
    assert done.code == 0
    assert "DROP SCHEMA aerostack CASCADE;" in done.out
