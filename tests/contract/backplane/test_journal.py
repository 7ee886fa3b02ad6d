"""What every engine of the journal promises, on real servers."""

import asyncio

import pytest

from aerostack_realtime.backplane.items import Beat, Hello
from aerostack_realtime.protocol.errors import Overloaded
from tests.contract.backplane.conftest import Cluster, RedisCluster
from tests.contract.backplane.node import Recorder, publish, settle
from tests.redis import RedisServer


async def test_a_node_gets_what_it_appends(cluster: Cluster) -> None:
    a = await cluster.join("a")
    for item in (publish("one"), Hello("a", "1.0"), Beat(connections=3)):
        entry = await a.heard.until_item(a.append(item))
        assert entry.node == a.journal.node
        assert entry.position == a.journal.last
    assert a.heard.reach == []


async def test_the_first_report_is_where_the_journal_begins(cluster: Cluster) -> None:
    a = await cluster.join("a")
    entry = await a.heard.until_item(a.append())
    (began,) = a.heard.began_calls
    assert (began.since, began.after) == (0, 0)
    assert began.until < entry.position


async def test_every_node_gets_every_item_its_own_included(redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.join("a"), await redis_cluster.join("b")
    items = [a.append(publish("one")), b.append(Hello("b", "1.0")), a.append(Beat(connections=3))]
    for item in items:
        await a.heard.until_item(item)
        await b.heard.until_item(item)
    await settle(a, b)
    assert a.heard.entries == b.heard.entries


async def test_items_of_one_step_keep_their_order_(cluster: Cluster) -> None:
    a = await cluster.join("a")
    for _ in range(5000):
        a.append()
    await settle(a)
    assert [entry.item for entry in a.heard.entries] == a.accepted


async def test_a_newcomer_gets_the_kept_items_before_start_returns(
    redis_cluster: RedisCluster,
) -> None:
    a = await redis_cluster.join("a")
    items = [a.append() for _ in range(200)]
    await settle(a)
    b = await redis_cluster.join("b")
    assert [entry.item for entry in b.heard.entries][: len(items)] == items
    assert b.journal.last == b.heard.entries[-1].position
    assert b.heard.began_calls[0].since == 0


async def test_a_later_node_gives_higher_positions(cluster: Cluster) -> None:
    a = await cluster.join("a")
    before = await a.heard.until_item(a.append())
    b = await cluster.join("b")
    after = await b.heard.until_item(b.append())
    assert after.position > before.position


async def test_a_position_is_understood_under_the_epoch_it_was_given_in(cluster: Cluster) -> None:
    a = await cluster.join("a")
    entry = await a.heard.until_item(a.append())
    assert a.journal.understands(a.journal.epoch, entry.position)
    assert not a.journal.understands("no epoch", entry.position)


async def test_a_position_before_the_generation_is_not_understood(redis_cluster: RedisCluster) -> None:
    a = await redis_cluster.join("a")
    assert not a.journal.understands(a.journal.epoch, 1)


async def test_concurrent_nodes_agree_on_one_order(redis_cluster: RedisCluster) -> None:
    nodes = await asyncio.gather(*(redis_cluster.join(name) for name in "abc"))
    for _ in range(100):
        for node in nodes:
            node.append()
        await asyncio.sleep(0)
    await settle(*nodes)
    entries = [node.heard.entries for node in nodes]
    assert entries[0] == entries[1] == entries[2]


async def test_what_waits_is_appended_before_the_journal_closes(redis_cluster: RedisCluster) -> None:
    a = await redis_cluster.join("a")
    leaving = redis_cluster.journal("leaving")
    await leaving.start(Recorder(leaving))
    last = publish("goodbye")
    leaving.append(last)
    await leaving.close()
    await a.heard.until_item(last)


async def test_a_trimmed_journal_begins_at_its_floor_for_a_newcomer(redis_cluster: RedisCluster) -> None:
    a = await redis_cluster.join("a", max_log=2_000_000)
    for _ in range(500):
        for _ in range(10):
            item = a.append()
        await a.heard.until_item(item)
    floor = a.heard.entries[2505].position
    a.journal.trim(floor)
    await settle(a)
    b = await redis_cluster.join("b")
    assert b.heard.entries[0].position > a.heard.entries[0].position
    assert b.heard.began_calls[0].until < b.heard.entries[0].position
    assert b.heard.entries == a.heard.entries[-len(b.heard.entries) :]
    assert b.heard.entries[0].position <= floor


async def test_too_much_waiting_is_refused_and_never_enters(
    redis_cluster: RedisCluster, redis_server: RedisServer
) -> None:
    a = await redis_cluster.join("a", max_waiting=10_000)
    redis_server.freeze()
    error = await a.until_refused()
    assert isinstance(error, Overloaded)
    redis_server.thaw()
    await settle(a)


async def test_a_full_log_takes_a_beat_and_the_rest_once_it_is_trimmed(redis_cluster: RedisCluster) -> None:
    a = await redis_cluster.join("a", max_log=50_000)
    for _ in range(1500):
        item = a.append()  # one step, so one entry, which is larger than the log may be
    entry = await a.heard.until_item(item)
    for floor in (0, entry.position):  # the entry that holds the floor stays
        a.journal.trim(floor)
        with pytest.raises(Overloaded, match="no room"):
            a.append()
    beat = await a.heard.until_item(a.append(Beat()))
    a.journal.trim(beat.position)
    await settle(a)


async def test_figures_follow_what_was_appended(cluster: Cluster) -> None:
    a = await cluster.join("a")
    a.append()
    await settle(a)
    figures = a.journal.figures
    assert 0 <= figures["journal_lag_seconds"] < 60
    if "journal_batches" in figures:
        assert (figures["journal_batches"], figures["journal_backlog_bytes"]) == (1, 0)
        assert figures["journal_batch_bytes"] > 0
        assert figures["journal_generation"] == 1
