"""A Redis with a replica and three Sentinels: what a failover does to the nodes. See also test_redis_faults.py."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.backplane.conftest import RedisCluster
from tests.contract.backplane.node import PATIENCE, TICK, Node, settle
from tests.ports import free_port
from tests.redis import Sentinel, WatchedRedis

DOWN_AFTER_MS = 2_000
"""A master that a busy machine stops for half a second must not be replaced before a test does something to it."""


@pytest.fixture
def watched() -> Iterator[WatchedRedis]:
    watched = WatchedRedis(down_after_ms=DOWN_AFTER_MS)
    yield watched
    watched.remove()


@pytest.fixture
async def cluster(watched: WatchedRedis, tmp_path: Path) -> AsyncIterator[RedisCluster]:
    async with RedisCluster(watched.url, tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def nodes(cluster: RedisCluster) -> list[Node]:
    """Three nodes that publish all the time."""
    nodes = [await cluster.join(name) for name in ("a", "b", "c")]
    await settle(*nodes)
    for node in nodes:
        node.publish_steadily()
    await _until_more(nodes)
    return nodes


async def _until_more(nodes: list[Node]) -> None:
    """Until each node has been handed another hundred items."""
    for node in nodes:
        await node.heard.until_more()


async def _moved(nodes: list[Node], watched: WatchedRedis) -> None:
    """Until all nodes are on the replica, and quiet."""
    for node in nodes:
        await node.heard.until_gap()
    for node in nodes:
        await node.quiet()
    await settle(*nodes)
    assert watched.replica.command("ROLE")[0] == b"master"
    assert len({node.journal.epoch for node in nodes}) == 1


async def test_the_master_is_killed(watched: WatchedRedis, nodes: list[Node]) -> None:
    watched.master.kill()
    await _moved(nodes, watched)


async def test_a_replica_that_lacks_acknowledged_items_becomes_the_master(
    watched: WatchedRedis, nodes: list[Node]
) -> None:
    watched.replica.command("REPLICAOF", "127.0.0.1", free_port())  # it follows nobody
    await _until_more(nodes)
    watched.master.kill()
    await _moved(nodes, watched)
    assert any(gap.until < gap.since for node in nodes for gap in node.heard.gaps), "items were lost"


async def test_a_frozen_master_returns_as_a_second_one(watched: WatchedRedis, nodes: list[Node]) -> None:
    watched.master.freeze()
    await _moved(nodes, watched)
    watched.master.thaw()
    await settle(*nodes)


async def test_a_commanded_failover_leaves_two_masters(watched: WatchedRedis, nodes: list[Node]) -> None:
    watched.fail_over()
    await _moved(nodes, watched)


async def test_a_failover_back_to_the_same_process_happens_at_once(
    watched: WatchedRedis, nodes: list[Node], caplog: pytest.LogCaptureFixture
) -> None:
    watched.fail_over()
    await _moved(nodes, watched)
    watched.await_master(watched.replica)
    watched.master.command("REPLICAOF", "127.0.0.1", watched.replica.port)  # Sentinels take their time
    watched.await_complete()
    watched.fail_over()
    for node in nodes:
        await node.heard.until_gap(2)
    await settle(*nodes)
    assert watched.master.is_master
    assert "disagree" not in caplog.text


async def test_a_host_that_is_gone_does_not_hold_up_the_move_to_the_next_master(
    watched: WatchedRedis, cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aerostack_realtime.backplane.redis.connection.CONNECT_SECONDS", 2 * PATIENCE)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as gone, ExitStack() as waiting:
        place = gone.getsockname()
        waiting.enter_context(socket.create_connection(place))  # the queue is full: no connection is completed
        _monitor(watched, place[1])
        joining = asyncio.create_task(cluster.join("a", start_seconds=2 * PATIENCE))
        for sentinel in watched.sentinels:
            await _asked(sentinel)
        _monitor(watched, watched.master.port)
        node = await joining
        await settle(node)


async def _asked(sentinel: Sentinel) -> None:
    """Until a node has asked it for the master."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if any(
                "name= " in each and "cmd=sentinel" in each and "addr=127" in each for each in sentinel.clients
            ):
                return
            await asyncio.sleep(TICK)


def _monitor(watched: WatchedRedis, port: int) -> None:
    """Let all Sentinels take the server at a port for the master."""
    for sentinel in watched.sentinels:
        sentinel.command("SENTINEL", "REMOVE", watched.NAME)
        sentinel.command("SENTINEL", "MONITOR", watched.NAME, "127.0.0.1", port, 2)


async def test_a_minority_of_sentinels_decides_nothing(watched: WatchedRedis, nodes: list[Node]) -> None:
    for sentinel in watched.sentinels[1:]:
        sentinel.kill()
    await _until_more(nodes)
    watched.sentinels[0].command("SENTINEL", "REMOVE", watched.NAME)
    watched.sentinels[0].command("SENTINEL", "MONITOR", watched.NAME, "127.0.0.1", watched.replica.port, 1)
    await _until_more(nodes)
    for node in nodes:
        await node.quiet()
    await settle(*nodes)
    assert [node.heard.gaps for node in nodes] == [[], [], []]
