"""What every engine of the journal promises, on real servers."""

import asyncio

from aerostack_realtime.backplane.items import Beat, Hello
from tests.contract.backplane.conftest import Cluster, RedisCluster
from tests.contract.backplane.node import Recorder, publish, settle


async def test_every_node_gets_every_item_its_own_included(cluster: Cluster) -> None:
    a, b = await cluster.join("a"), await cluster.join("b")
    items = [a.append(publish("one")), b.append(Hello("b", "1.0")), a.append(Beat(connections=3))]
    for item in items:
        await a.heard.until_item(item)
        await b.heard.until_item(item)
    await settle(a, b)
    assert a.heard.entries == b.heard.entries


async def test_items_of_one_step_keep_their_order_and_share_a_batch(cluster: Cluster) -> None:
    a = await cluster.join("a")
    for _ in range(5000):
        a.append()
    await settle(a)
    assert [entry.item for entry in a.heard.entries] == a.accepted


async def test_a_newcomer_gets_what_the_journal_still_holds_before_start_returns(cluster: Cluster) -> None:
    a = await cluster.join("a")
    items = [a.append() for _ in range(200)]
    await settle(a)
    b = await cluster.join("b")
    assert [entry.item for entry in b.heard.entries][: len(items)] == items
    assert b.journal.last == b.heard.entries[-1].position
    assert b.heard.began_calls[0].since == 0


async def test_positions_go_on_after_all_nodes_left(cluster: Cluster) -> None:
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
