"""Nodes on Redis whose generations PostgreSQL decides, as in production."""

from contextlib import AsyncExitStack

from aerostack_realtime.backplane.factory import open_journal
from aerostack_realtime.database.postgres.database import PostgresDatabase
from tests.contract.backplane.checker import violations
from tests.contract.backplane.conftest import Mark
from tests.contract.backplane.node import Node, settle
from tests.contract.conftest import Recorder
from tests.redis import RedisServer


async def test_generations_of_redis_are_rows_of_postgres(redis_server: RedisServer, postgres_dsn: str) -> None:
    async with AsyncExitStack() as stack:
        nodes = []
        for name in ("a", "b"):
            database = await PostgresDatabase.open(postgres_dsn, Recorder(), node=name, follow=False)
            stack.push_async_callback(database.close)
            journal = open_journal(
                redis_server.url,
                arbiter=database.generations,
                store=Mark(),
                now=lambda: 0,  # the clock of a node whose battery is empty
                epochs=database,
                node=name,
            )
            nodes.append(await stack.enter_async_context(Node(journal)))
        await settle(*nodes)
        first = nodes[0].heard.entries[0]
        for node in nodes:
            node.publish_steadily()
        redis_server.kill()
        redis_server.start()
        for node in nodes:
            await node.heard.until_gap()
        for node in nodes:
            await node.quiet()
        await settle(*nodes)
        assert {node.journal.epoch for node in nodes} == {"2"}
        assert nodes[1].journal.understands("1", first.position)
        assert not nodes[1].journal.understands("1", nodes[1].journal.last)
        assert nodes[1].journal.understands("2", nodes[1].journal.last)
    assert violations(*nodes) == []
