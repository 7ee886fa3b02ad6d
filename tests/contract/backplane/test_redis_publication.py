"""Entries that Redis delivers as they are appended, and nodes that have to read them instead."""

import logging
from pathlib import Path

import pytest

from aerostack_realtime.backplane.redis.scripts import PUBLISHED_BYTES
from tests.contract.backplane.conftest import RedisCluster
from tests.contract.backplane.lossy_proxy import LossyProxy
from tests.contract.backplane.node import publish, settle
from tests.contract.backplane.test_redis_servers import PASSWORD, RIGHTS
from tests.redis import RedisServer

ROUNDS = 200


def reads(server: RedisServer) -> int:
    """How many reads of the log the server has carried out."""
    statistics = server.command("INFO", "commandstats")
    return int(statistics.partition(b"cmdstat_xread:calls=")[2].partition(b",")[0] or 0)


@pytest.fixture
def user(redis_server: RedisServer) -> str:
    """The address for a user who may use the keys of journals, and no channel."""
    redis_server.command("ACL", "SETUSER", "node", "on", f">{PASSWORD}", "~{ae:*", "resetchannels", *RIGHTS)
    return f"redis://node:{PASSWORD}@127.0.0.1:{redis_server.port}"


async def test_nodes_are_sent_what_is_appended(redis_server: RedisServer, redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.join("a"), await redis_cluster.join("b")
    await settle(a, b)
    before = reads(redis_server)
    for _ in range(ROUNDS):
        await settle(a, b)
    found = reads(redis_server) - before  # beside those by the clock, which are more on a busy machine
    assert found < 2 * ROUNDS, "each round would take two reads of each node"


async def test_large_entries_are_announced_and_read(redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.join("a"), await redis_cluster.join("b")
    for number in range(20):
        (a, b)[number % 2].append(publish(f"{number} " + "x" * PUBLISHED_BYTES * (number % 3)))
    await settle(a, b)


async def test_a_user_without_rights_on_channels_reads_everything(
    redis_server: RedisServer, user: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with RedisCluster(user, tmp_path) as cluster:
        a, b = await cluster.join("a"), await cluster.join("b")
        assert "`aerostack check` prints the ACL SETUSER" in caplog.text
        for _ in range(20):
            a.append()
            await settle(a, b)
    redis_server.command("ACL", "SETUSER", "node", "&{ae:*")
    caplog.clear()
    async with RedisCluster(user, tmp_path) as cluster:
        await settle(await cluster.join("c"))
    assert caplog.messages == []


async def test_a_right_that_is_taken_back_loses_nothing(
    redis_server: RedisServer, user: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    redis_server.command("ACL", "SETUSER", "node", "&{ae:*")
    async with RedisCluster(user, tmp_path) as cluster:
        a, b = await cluster.join("a"), await cluster.join("b")
        for node in (a, b):
            node.publish_steadily()
        await b.heard.until_more()
        redis_server.command("ACL", "SETUSER", "node", "-publish")
        await b.heard.until(lambda: "does not deliver what the journal publishes" in caplog.text)
        for node in (a, b):
            await node.quiet()
        await settle(a, b)


async def test_nodes_that_publish_and_nodes_that_do_not_hear_each_other(
    redis_server: RedisServer, redis_cluster: RedisCluster
) -> None:
    async with LossyProxy(redis_server.port) as proxy:
        a, b = await redis_cluster.join("a"), await redis_cluster.join("b", url=proxy.url)
        for node in (a, b):
            node.publish_steadily()
        c = await redis_cluster.join("c")
        await c.heard.until_more()
        for node in (a, b):
            await node.quiet()
        await settle(a, b, c)
