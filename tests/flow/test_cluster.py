"""Several nodes on one PostgreSQL database and one Redis: what one node accepts, every node delivers."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.cluster import Cluster
from tests.flow.command import aerostack
from tests.flow.wire import PATIENCE_SECONDS, Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("postgres")


async def test_all_nodes_deliver_the_same_events_in_one_order(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    await ann.subscribe("room/order")
    await bob.subscribe("room/order")
    for number in range(50):
        ann.say("publish", topic="room/order", event="n", data=number)
        bob.say("publish", topic="room/order", event="n", data=100 + number)
    heard_by_ann, heard_by_bob = await ann.events(100), await bob.events(100)
    assert heard_by_ann == heard_by_bob
    numbers = [event["data"] for event in heard_by_ann]
    assert [each for each in numbers if each < 100] == list(range(50))
    assert [each for each in numbers if each >= 100] == list(range(100, 150))


async def test_a_persisted_event_reaches_every_node_and_its_history(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    await bob.subscribe("room/kept")
    ack = await ann.publish("room/kept", {"n": 1}, persist=True)
    event = await bob.hear("event")
    assert (event["data"], event["cursor"]) == ({"n": 1}, ack["cursor"])
    for node in (a, b):
        assert [each["data"] for each in await cluster.http(node).history("room/kept")] == [{"n": 1}]


@pytest.mark.parametrize("persist", [False, True])
async def test_a_repeat_through_another_node_is_a_duplicate(cluster: Cluster, dial: Dial, persist: bool) -> None:
    a, b = await cluster.start(2)
    on_a, on_b, bob = await dial(a, "ann"), await dial(b, "ann"), await dial(b, "bob")
    await bob.subscribe("room/once")
    first = await on_a.publish("room/once", 1, id="the-id", persist=persist)
    repeat = await on_b.publish("room/once", 1, id="the-id", persist=persist)
    assert (repeat["duplicate"], repeat["cursor"]) == (True, first["cursor"])
    await on_a.publish("room/once", 2)
    assert [event["data"] for event in await bob.events(2)] == [1, 2]


async def test_a_client_resumes_on_another_node_without_a_gap(cluster: Cluster, dial: Dial) -> None:
    a, b, c = await cluster.start(3)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    await bob.subscribe("room/resume")
    await ann.publish("room/resume", 1)
    cursor = (await bob.hear("event"))["cursor"]
    bob.drop()
    for number in (2, 3):
        await ann.publish("room/resume", number)
    again = await dial(c, "bob")
    assert (await again.subscribe("room/resume", since=cursor))["recovered"] is True
    await ann.publish("room/resume", 4)
    assert [event["data"] for event in await again.events(3)] == [2, 3, 4]


async def test_a_member_is_present_on_all_nodes(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    bob = await dial(b, "bob")
    await bob.subscribe("room/members")
    ann = await dial(a, "ann")
    await ann.ask("track", topic="room/members", state={"mood": "good"})
    assert _member(await bob.hear("event")) == ("presence:join", "ann")
    c = (await cluster.start(1))[0]
    for node in (a, b, c):
        assert await _members(cluster, node, "room/members") == ["ann"]
    ann.drop()
    assert _member(await bob.hear("event")) == ("presence:leave", "ann")


async def test_members_of_a_killed_node_leave_unless_they_reconnect(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    ann, eve, bob = await dial(a, "ann"), await dial(a, "eve"), await dial(b, "bob")
    await bob.subscribe("room/killed")
    for wire, user in ((ann, "ann"), (eve, "eve")):
        await wire.ask("track", topic="room/killed", state={})
        assert _member(await bob.hear("event")) == ("presence:join", user)
    await a.kill()
    again = await dial(b, "ann")
    await again.ask("track", topic="room/killed", state={})
    event = await bob.hear("event")
    assert _member(event) == ("presence:leave", "eve")
    assert await _members(cluster, b, "room/killed") == ["ann"]
    assert [_member(each) for each in await bob.settled() if each["type"] == "event"] == []


async def test_a_killed_nodes_unsettled_publish_does_not_block_its_channel(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    await bob.subscribe("room/orphan")
    for number in range(200):
        ann.say("publish", topic="room/orphan", event="n", data=number, persist=True)
    await bob.hear("event")
    await a.kill()
    await bob.publish("room/orphan", "after", persist=True)
    heard = [0]
    while (event := await bob.hear("event"))["data"] != "after":
        heard.append(event["data"])
    stored = [each["data"] for each in await cluster.http(b).history("room/orphan", limit=1000)]
    assert ["after", *reversed(heard)] == stored


async def test_every_node_delivers_row_changes_with_the_same_cursors(cluster: Cluster, dial: Dial) -> None:
    await cluster.database.write("CREATE TABLE orders(id int PRIMARY KEY, total int)")
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    for wire in (ann, bob):
        await wire.subscribe("orders")
    await cluster.database.write("INSERT INTO orders VALUES (1, 10); UPDATE orders SET total = 11")
    heard = [[await wire.hear("db_change") for _ in range(2)] for wire in (ann, bob)]
    assert heard[0] == heard[1]
    ann.drop()
    await cluster.database.write("DELETE FROM orders")
    again = await dial(b, "ann")
    assert (await again.subscribe("orders", since=heard[0][1]["cursor"]))["recovered"] is True
    assert (await again.hear("db_change"))["operation"] == "DELETE"


async def test_operators_reach_all_nodes_through_any(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    on_a, on_b, bob = await dial(a, "ann"), await dial(b, "ann"), await dial(b, "bob")
    for wire in (on_a, on_b, bob):
        await wire.subscribe("room/counted")
    assert await cluster.http(a).get("/api/v1/realtime/channels") == (
        200,
        {"channels": [{"topic": "room/counted/default", "subscribers": 3, "members": 0}]},
    )
    assert await cluster.http(b).post("/api/v1/realtime/disconnect", {"userId": "ann"}) == (200, {"closed": 2})
    assert [(await wire.ended()).code for wire in (on_a, on_b)] == [4403, 4403]
    assert await cluster.http(a).post("/api/v1/realtime/revoke", {"userId": "bob"}) == (200, {"closed": 1})
    assert (await bob.ended()).code == 4403


async def test_the_nodes_are_listed_with_one_keeper(cluster: Cluster) -> None:
    a, b = await cluster.start(2)
    status, body = await cluster.http(a).get("/api/v1/realtime/nodes")
    assert status == 200
    assert [node["keeper"] for node in body["nodes"]] == [True, False]
    assert {node["generation"] for node in body["nodes"]} == {"1"}
    assert (await cluster.http(b).get("/api/v1/realtime/nodes"))[1]["nodes"][0]["node"] == body["nodes"][0]["node"]


async def test_the_command_cluster_lists_the_nodes(cluster: Cluster) -> None:
    a, _ = await cluster.start(2)
    ran = await aerostack("cluster", "--url", a.url)
    assert ran.code == 0, ran.err
    head, *nodes = ran.out.splitlines()
    assert head.split() == ["name", "version", "connections", "lag", "generation", "keeper"]
    assert [line.rstrip().endswith("yes") for line in nodes] == [True, False]


async def test_a_rolling_restart_leaves_no_gap_and_no_flicker(cluster: Cluster, dial: Dial) -> None:
    nodes = await cluster.start(3)
    watcher = await dial(nodes[2], "watcher")
    joined = await watcher.subscribe("room/roll")
    roamer = await dial(nodes[0], "roamer")
    await roamer.subscribe("room/roll")
    await roamer.ask("track", topic="room/roll", state={})
    assert _member(await watcher.hear("event")) == ("presence:join", "roamer")
    heard: list[int] = []
    cursor = joined["cursor"]
    for turn, node in enumerate(nodes[:2]):
        for number in range(10):
            await watcher.publish("room/roll", turn * 20 + number)
        stopping = asyncio.create_task(node.terminate())
        assert (await roamer.ended()).code == 1012
        for number in range(10, 20):
            await watcher.publish("room/roll", turn * 20 + number)
        roamer = await dial(nodes[1 - turn] if turn == 0 else nodes[2], "roamer")
        answer = await roamer.subscribe("room/roll", since=cursor)
        assert answer["recovered"] is True
        await roamer.ask("track", topic="room/roll", state={})
        while len(heard) < turn * 20 + 20:
            event = await roamer.hear("event", event="message")
            heard.append(event["data"])
            cursor = event["cursor"]
        assert await stopping == 0
        await node.start()
    assert heard == list(range(40))
    for each in await watcher.settled():
        assert each["type"] != "event" or not each["event"].startswith("presence:"), each


async def test_a_paused_node_returns_and_loses_nothing(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    paused = cluster.nodes[0]
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    for wire in (ann, bob):
        await wire.subscribe("room/paused")
    await ann.ask("track", topic="room/paused", state={})
    assert _member(await bob.hear("event")) == ("presence:join", "ann")
    paused.pause()
    try:
        for number in range(20):
            await bob.publish("room/paused", number, persist=number % 2 == 0)
        assert _member(await bob.hear("event", event="presence:leave")) == ("presence:leave", "ann")
    finally:
        paused.resume()
    assert [(await ann.hear("event", event="message"))["data"] for _ in range(20)] == list(range(20))
    assert _member(await bob.hear("event", event="presence:join")) == ("presence:join", "ann")
    await ann.publish("room/paused", "again", persist=True)
    assert (await bob.hear("event", data="again"))["userId"] == "ann"


async def test_a_node_cut_off_from_redis_is_not_ready_and_catches_up(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    await ann.subscribe("room/cut")
    await cluster.until_ready(a)
    cluster.nodes[0].cut_from_redis()
    await cluster.until_ready(a, ready=False)
    refused = await ann.ask("publish", topic="room/cut", event="n", data=0)
    assert (refused["type"], refused["code"]) == ("error", "unavailable")
    for number in range(10):
        await bob.publish("room/cut", number)
    cluster.nodes[0].join_redis_again()
    assert [event["data"] for event in await ann.events(10)] == list(range(10))
    await cluster.until_ready(a)
    await ann.publish("room/cut", "again")


@pytest.mark.parametrize("keeps_data", [True, False])
async def test_a_restarted_redis_is_a_gap_and_loses_nothing_persisted(
    cluster: Cluster, dial: Dial, keeps_data: bool
) -> None:
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    for wire in (ann, bob):
        await wire.subscribe("room/redis")
    await ann.ask("track", topic="room/redis", state={})
    await bob.hear("event", event="presence:join")
    await ann.publish("room/redis", "before", persist=True)
    await bob.hear("event", data="before")
    await ann.publish("room/redis", "ephemeral", id="e1")
    await bob.hear("event", data="ephemeral")
    if keeps_data:
        cluster.redis.command("SAVE")
    cluster.redis.kill()
    if not keeps_data:
        cluster.redis.forget_data()
    cluster.redis.start()
    for wire in (ann, bob):
        assert (await wire.hear("subscribed", topic="room/redis/default"))["recovered"] is False
    await cluster.until_ready(a)
    await _publish_until_accepted(ann, "room/redis", "after")
    heard = [await bob.hear("event")]
    while heard[-1]["data"] != "after":
        heard.append(await bob.hear("event"))
    assert [each["event"] for each in heard if each["event"].startswith("presence:")] == []
    history = await cluster.http(b).history("room/redis")
    assert [each["data"] for each in history] == ["after", "before"]
    assert await _members(cluster, b, "room/redis") == ["ann"]
    path = "/api/v1/realtime/explain?topic=room/redis&user=bob&event=e1"
    status, found = await cluster.http(a).get(path)
    assert (status, found["code"], len(found["nodes"])) == (200, "gap", 2)
    assert "Redis had lost it" in found["verdict"]


async def test_a_publish_that_a_full_redis_refuses_is_answered(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    await bob.subscribe("room/full")
    cluster.redis.command("CONFIG", "SET", "maxmemory", "1")
    for persist in (True, False):
        refused = await ann.ask("publish", topic="room/full", event="n", data=1, id="one", persist=persist)
        assert (refused["type"], refused["code"]) == ("error", "overloaded")
        assert "out of memory" in refused["message"]
    cluster.redis.command("CONFIG", "SET", "maxmemory", "0")
    await _publish_until_accepted(ann, "room/full", 2)
    ack = await ann.publish("room/full", 3, id="one")
    assert not ack.get("duplicate")
    assert [event["data"] for event in await bob.events(2)] == [2, 3]


async def _publish_until_accepted(wire: Wire, topic: str, data: Any) -> None:
    """Publish, again while the journal is being joined."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            fields = {"topic": topic, "event": "message", "data": data, "persist": True}
            if (await wire.ask("publish", **fields))["type"] == "ack":
                return


async def _members(cluster: Cluster, node: "ServerProcess", topic: str) -> list[str]:
    status, body = await cluster.http(node).get("/api/v1/realtime/presence", topic=topic)
    assert status == 200, body
    return sorted(member["userId"] for member in body["members"])


def _member(event: dict[str, Any]) -> tuple[str, str]:
    return event["event"], event["userId"]
