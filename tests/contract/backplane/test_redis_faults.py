"""What each failure of Redis does to the nodes.

Every test runs the checker over all nodes at its end, so an item that is lost without a reported gap, repeated, or
out of order fails it.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aerostack_realtime.backplane.redis.openings import DELETIONS
from aerostack_realtime.backplane.redis.session import HEADROOM_US
from aerostack_realtime.protocol.errors import Overloaded, Unavailable
from tests.contract.backplane.conftest import RedisCluster
from tests.contract.backplane.lossy_proxy import LossyProxy
from tests.contract.backplane.node import Node, publish, settle
from tests.redis import RedisServer


@pytest.fixture
async def nodes(redis_cluster: RedisCluster) -> list[Node]:
    """Three nodes that publish all the time."""
    return await _publishing(redis_cluster)


async def _publishing(cluster: RedisCluster) -> list[Node]:
    nodes = [await cluster.join(name) for name in ("a", "b", "c")]
    await settle(*nodes)
    for node in nodes:
        node.publish_steadily()
    for node in nodes:
        await node.heard.until_more()
    return nodes


async def _quiet(nodes: list[Node]) -> None:
    for node in nodes:
        await node.quiet()
    await settle(*nodes)


async def _until_gap(nodes: list[Node]) -> None:
    for node in nodes:
        await node.heard.until_gap()


async def _until_cut_off(nodes: list[Node]) -> None:
    for node in nodes:
        await node.heard.until_cut_off()


async def test_redis_restarts_with_its_data_and_a_gap_is_reported(tmp_path: Path) -> None:
    server = RedisServer.started(appendonly="yes", appendfsync="always")
    try:
        async with RedisCluster(server.url, tmp_path) as cluster:
            nodes = await _publishing(cluster)
            server.kill()
            server.start()
            await _until_gap(nodes)
            await _quiet(nodes)
            assert {node.journal.epoch for node in nodes} == {"2"}
            assert all(node.heard.gaps[0].until >= node.heard.gaps[0].since for node in nodes)
    finally:
        server.remove()


async def test_redis_restarts_empty_and_a_gap_is_reported(redis_server: RedisServer, nodes: list[Node]) -> None:
    redis_server.kill()
    redis_server.start()
    await _until_gap(nodes)
    await _quiet(nodes)
    assert {gap.until for node in nodes for gap in node.heard.gaps} == {0}


async def test_a_frozen_redis_cuts_nodes_off_and_loses_nothing(
    redis_server: RedisServer, nodes: list[Node]
) -> None:
    redis_server.freeze()
    await _until_cut_off(nodes)
    for node in nodes:
        with pytest.raises(Unavailable):
            node.append()
    redis_server.thaw()
    for node in nodes:
        await node.heard.until_reconnected()
    await _quiet(nodes)
    assert [node.heard.gaps for node in nodes] == [[], [], []]


async def test_a_redis_that_stalls_for_a_moment_goes_unnoticed(
    redis_server: RedisServer, nodes: list[Node]
) -> None:
    """For less than the two seconds of REACH_SECONDS, with time for a busy machine to answer."""
    redis_server.command("DEBUG", "SLEEP", "0.5")
    await _quiet(nodes)
    assert [node.heard.gaps for node in nodes] == [[], [], []]
    assert [node.heard.reach for node in nodes] == [[], [], []]


async def test_flushall_is_reported_as_a_gap(redis_server: RedisServer, nodes: list[Node]) -> None:
    redis_server.command("FLUSHALL")
    await _until_gap(nodes)
    await _quiet(nodes)


async def test_flushall_is_noticed_by_nodes_that_append_nothing(
    redis_server: RedisServer, redis_cluster: RedisCluster
) -> None:
    nodes = [await redis_cluster.join(name) for name in ("a", "b")]
    await settle(*nodes)
    redis_server.command("FLUSHALL")
    await _until_gap(nodes)


async def test_a_journal_that_is_deleted_again_and_again_begins_more_rarely(
    redis_server: RedisServer, redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    a = await redis_cluster.join("a")
    for number in range(1, DELETIONS + 3):
        redis_server.command("FLUSHALL")
        await a.heard.until_gap(number)
    assert [f"begins after {seconds} seconds" in caplog.text for seconds in (1, 2, 4)] == [True, True, False]


async def test_many_restarts_in_a_row_are_not_taken_for_a_disagreement(
    redis_server: RedisServer, redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """A failover, too, leads to a process that the node has not been on before."""
    a = await redis_cluster.join("a")
    for number in range(1, 8):
        redis_server.kill()
        redis_server.start()
        await a.heard.until_gap(number)
    await settle(a)
    assert "disagree" not in caplog.text
    assert "again after" not in caplog.text


async def test_a_generation_begins_with_room_below_its_mark(
    redis_server: RedisServer, redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    a = await redis_cluster.join("a")
    for number in range(1, 4):
        await redis_cluster.arbiters[0].until_mark(a.heard.began_calls[-1].last + HEADROOM_US)
        redis_server.kill()
        redis_server.start()
        await a.heard.until_gap(number)
        for _ in range(100):
            a.append()
        await settle(a)
    assert "MARK" not in caplog.text


async def test_nodes_that_disagree_about_the_master_begin_ever_more_rarely(
    redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    other = RedisServer.started()
    try:
        a, b = await redis_cluster.join("a"), await redis_cluster.join("b", url=other.url)
        for node in (a, b):
            await node.heard.until_gap(2)
        begun = [int(node.journal.epoch) for node in (a, b)]
        assert max(begun) <= 6, "each node begins once, and contradicts the other twice"
        assert [f"again after {seconds} seconds" in caplog.text for seconds in (1, 2)] == [True, True]
    finally:
        other.remove()


async def test_a_deleted_log_is_reported_to_the_node_that_had_not_read_it(
    redis_server: RedisServer, nodes: list[Node]
) -> None:
    redis_server.command("DEL", "{ae:default}:log")
    await _quiet(nodes)


async def test_killed_connections_lose_and_repeat_nothing(redis_server: RedisServer, nodes: list[Node]) -> None:
    for _ in range(10):
        for kind in ("normal", "pubsub"):
            redis_server.command("CLIENT", "KILL", "TYPE", kind)
        await settle(*nodes)
    await _quiet(nodes)
    assert [node.heard.gaps for node in nodes] == [[], [], []]


async def test_a_full_redis_refuses_publishes_and_loses_nothing(
    redis_server: RedisServer, nodes: list[Node]
) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    a = nodes[0]
    error = await a.until_refused()
    assert isinstance(error, Overloaded)
    assert "out of memory" in error.message
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    await _quiet(nodes)
    assert [node.heard.gaps for node in nodes] == [[], [], []]


async def test_an_item_that_meets_a_full_redis_can_be_taken_back(
    redis_server: RedisServer, redis_cluster: RedisCluster
) -> None:
    a, b = [await redis_cluster.join(name) for name in ("a", "b")]
    await settle(a, b)
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    taken_back = publish("taken back")
    a.heard.withdrawing.append(taken_back)
    a.journal.append(taken_back)
    kept = a.append()
    await a.heard.until(lambda: a.heard.withdrawn == [taken_back])
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    await b.heard.until_item(kept)
    await settle(a, b)
    assert taken_back not in [entry.item for entry in b.heard.entries]


async def test_a_redis_that_the_journal_has_filled_takes_publishes_again(
    redis_server: RedisServer, redis_cluster: RedisCluster
) -> None:
    a, b = [await redis_cluster.join(name, kept_seconds=2) for name in ("a", "b")]
    await settle(a, b)
    for number in range(200):
        item = a.append(publish(f"{number} " + 10_000 * "x"))
    for node in (a, b):
        await node.heard.until_item(item)
    redis_server.command("CONFIG", "SET", "maxmemory", redis_server.used_memory - 500_000)
    assert "out of memory" in (await a.until_refused()).message
    await settle(a, b)
    c = await redis_cluster.join("c")
    await settle(a, b, c)
    assert [node.heard.gaps for node in (a, b, c)] == [[], [], []]


async def test_a_generation_begins_on_a_redis_that_is_out_of_memory(
    redis_server: RedisServer, nodes: list[Node]
) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    redis_server.command("FLUSHALL")
    await _until_gap(nodes)
    assert "out of memory" in (await nodes[0].until_refused()).message
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    await _quiet(nodes)


@pytest.fixture
async def lossy(redis_server: RedisServer) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(redis_server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("channels", [True, False])
async def test_an_append_whose_answer_is_lost_enters_once(
    redis_cluster: RedisCluster, redis_server: RedisServer, channels: bool
) -> None:
    async with LossyProxy(redis_server.port, channels=channels) as lossy:
        a, b = await redis_cluster.join("a", url=lossy.url), await redis_cluster.join("b")
        for _ in range(5):
            lossy.lose_next_answer()
            a.append()
            await lossy.until_lost()
            await settle(a, b)
        assert a.heard.gaps == []


async def test_time_and_positions_grow_when_redis_sets_its_clock_back(
    redis_server: RedisServer, redis_cluster: RedisCluster
) -> None:
    a = await redis_cluster.join("a")
    before = await a.heard.until_item(a.append())
    hour = 3_600_000_000
    for field in ("a", "c"):  # as if the clock had been an hour ahead until now
        redis_server.command("HINCRBY", "{ae:default}:head", field, hour)
    first = await a.heard.until_item(a.append(publish("an hour ahead")))
    second = await a.heard.until_item(a.append(publish("still an hour ahead")))
    assert first.at >= before.at + hour
    assert second.at >= first.at
    assert second.position > first.position > before.position


async def test_the_database_may_be_away_while_redis_stays(
    redis_cluster: RedisCluster, nodes: list[Node], redis_server: RedisServer
) -> None:
    for arbiter in redis_cluster.arbiters:
        arbiter.reachable = False
    redis_server.command("CLIENT", "KILL", "TYPE", "normal")
    await settle(*nodes)
    await _quiet(nodes)
    assert [node.heard.gaps for node in nodes] == [[], [], []]


async def test_no_generation_begins_while_the_database_is_away(
    redis_cluster: RedisCluster, nodes: list[Node], redis_server: RedisServer
) -> None:
    for arbiter in redis_cluster.arbiters:
        arbiter.reachable = False
    redis_server.kill()
    redis_server.start()
    await _until_cut_off(nodes)
    assert [node.heard.gaps for node in nodes] == [[], [], []]
    for arbiter in redis_cluster.arbiters:
        arbiter.reachable = True
    await _until_gap(nodes)
    await _quiet(nodes)


async def test_a_node_slower_than_the_log_reports_a_gap(
    redis_server: RedisServer, redis_cluster: RedisCluster, lossy: LossyProxy
) -> None:
    a, b = await redis_cluster.join("a"), await redis_cluster.join("b", url=lossy.url)
    await settle(a, b)
    lossy.hold_reads()
    b.append()
    await a.heard.until(lambda: a.heard.entries[-1].item == b.accepted[-1])
    await a.heard.until_item(a.append())
    redis_server.command("XTRIM", "{ae:default}:log", "MAXLEN", "0")
    lossy.release()
    await settle(a, b)
    assert a.heard.gaps == []
    assert b.heard.gaps != []


async def test_an_answered_append_that_redis_loses_unread_is_appended_again(
    redis_server: RedisServer, redis_cluster: RedisCluster, lossy: LossyProxy
) -> None:
    a, b = await redis_cluster.join("a", url=lossy.url), await redis_cluster.join("b")
    await settle(a, b)
    lossy.hold_reads()
    first = a.append()
    await b.heard.until_item(first)
    await b.heard.until_item(a.append())  # one is under way at a time: the first was answered
    redis_server.command("FLUSHALL")
    lossy.cut()
    await a.heard.until_item(first)
    await settle(a, b)
    assert [entry.item for entry in a.heard.entries].count(first) == 1
    again = [entry.item for entry in b.heard.entries].count(first)
    assert again == 2, "what waited for a commit here was dropped, and has to come again"
