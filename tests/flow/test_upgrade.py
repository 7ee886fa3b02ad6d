"""A database of the previous version: the server upgrades it, and what can be done with it afterwards.

The files in `previous` are dumps of databases that the version before streams has written: a table, four messages,
two row changes and a revocation.
"""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import jwt
import pytest

from aerostack_realtime import Aerostack
from aerostack_realtime.config import DEV_TOKEN_SECRET
from tests.flow.conftest import ServerProcess
from tests.flow.databases import Database
from tests.flow.wire import Dial, Wire

PREVIOUS: Final = Path(__file__).parent / "previous"
REVOKED_AT: Final = 1_795_926_513
"""Mallory's tokens until then are revoked, in seconds since the Unix epoch."""
OLD_INSERT: Final = """INSERT INTO _aerostack_messages(topic, created_at, position, id, user_id, event, data)
VALUES('chat/1/default', {created_at}, {position}, 'rolled-back', '', 'message', '{{"n":6}}')"""
"""How the previous version stores a message in SQLite."""


@pytest.fixture
async def upgraded(database: Database, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """This version's server, on a database of the previous one."""
    await database.write((PREVIOUS / f"{database.kind}.sql").read_text())
    server = ServerProcess(database, tmp_path / "server.log")
    await server.start()
    yield server
    await server.close()


async def history(sdk: Aerostack) -> list[object]:
    return [each.data for each in await sdk.realtime.channel("chat/1").get_history()]


async def test_messages_rows_and_revocations_survive_an_upgrade(
    upgraded: ServerProcess, database: Database, dial: Dial
) -> None:
    async with Aerostack(upgraded.url, api_key=upgraded.secret_key) as sdk:
        assert await history(sdk) == [{"n": 4}, {"n": 3}, {"n": 2}, {"n": 1}]
        async with sdk.realtime.channel("chat/1").stream("answer", persist=True) as stream:
            await stream.append("five")
        assert (await history(sdk))[0] == "five"
    wire = await dial(upgraded)
    await wire.subscribe("orders")
    await database.write("UPDATE orders SET total = 20 WHERE id = 1")
    change = await wire.hear("db_change")
    assert (change["operation"], change["data"]["total"], change["old"]["total"]) == ("UPDATE", 20, 10)
    for issued, answer in ((REVOKED_AT - 60, "error"), (REVOKED_AT + 60, "connected")):
        claims = {"sub": "mallory", "iat": issued, "exp": int(time.time()) + 60}
        token = jwt.encode(claims, DEV_TOKEN_SECRET, algorithm="HS256")
        mallory = await Wire.open(upgraded.url, protocols=["aerostack-v1", f"aerostack-token.{token}"])
        await mallory.hear(answer)
        mallory.drop()


@pytest.mark.database("sqlite")
async def test_the_previous_version_can_use_an_upgraded_sqlite_file(
    upgraded: ServerProcess, database: Database
) -> None:
    await upgraded.terminate()
    now = int(time.time() * 1000)
    await database.write(OLD_INSERT.format(created_at=now, position=now * 1000))
    columns = json.loads(await database.write("SELECT json_group_array(name) FROM pragma_table_info('orders')"))
    assert columns == ["id", "total"], "the user's own table is as it was"
    await upgraded.start()
    async with Aerostack(upgraded.url, api_key=upgraded.secret_key) as sdk:
        assert (await history(sdk))[:2] == [{"n": 6}, {"n": 4}]


@pytest.mark.database("postgres")
async def test_the_previous_version_refuses_an_upgraded_postgresql_schema(
    upgraded: ServerProcess, database: Database
) -> None:
    await upgraded.terminate()
    found = int(await database.write("SELECT value FROM aerostack.meta WHERE key = 'version'"))
    assert found > 4, "the previous version supports up to 4, and refuses a later one"
    await database.write(f"UPDATE aerostack.meta SET value = '{found + 1}' WHERE key = 'version'")
    with pytest.raises(AssertionError, match=f"has version {found + 1}, made by a newer aerostack"):
        await upgraded.start()
