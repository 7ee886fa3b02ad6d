"""Streams on several real nodes, with Redis and PostgreSQL."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.cluster import PATIENCE_SECONDS, Cluster
from tests.flow.stream_wire import Reader, append, open_stream
from tests.flow.wire import Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("postgres")


async def opened_again(wire: Wire, topic: str, **fields: Any) -> int:
    """How many pieces a stream has, once the node can tell; a node that was cut off cannot for a moment."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await open_stream(wire, topic, **fields)
            if answer["type"] == "ack":
                return int(answer["n"])
            assert answer["code"] in ("unavailable", "overloaded"), answer
            await asyncio.sleep(0.05)  # it has no event to await


async def appended(wire: Wire, topic: str, n: int, data: str | None = None, **fields: Any) -> None:
    """Append a piece, again while the journal is being joined."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (answer := await append(wire, topic, n, data, **fields))["type"] != "ack":
            assert answer["code"] in ("unavailable", "overloaded"), answer
            await asyncio.sleep(0.05)  # it has no event to await


async def stored(cluster: Cluster, node: "ServerProcess", topic: str, data: str, state: str) -> None:
    """Wait until the history has this of the channel's one stream."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            [row] = await cluster.http(node).history(topic)
            if (row["data"], row["state"]) == (data, state):
                return
            await asyncio.sleep(0.05)  # it has no event to await


async def test_a_writer_whose_node_is_killed_continues_on_another(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    topic, reader = "stream/killed", Reader()
    writer, wire = await dial(a, "bot"), await dial(b)
    await wire.subscribe(topic, streams=True)
    await open_stream(writer, topic, persist=True)
    pieces = [f"piece {n} " for n in range(20)]
    for n, piece in enumerate(pieces[:10]):
        await append(writer, topic, n, piece)
    await a.kill()
    again = await dial(b, "bot")
    known = await opened_again(again, topic, persist=True)
    assert known == 10
    c = (await cluster.start(1))[0]
    late, late_reader = await dial(c), Reader()
    await late.subscribe(topic, streams=True)
    for n, piece in enumerate(pieces[known:], known):
        await append(again, topic, n, piece)
    assert (await append(again, topic, 20, state="complete"))["state"] == "complete"
    for each, of in ((reader, wire), (late_reader, late)):
        await each.until(of, 20, "complete")
        assert each.data == "".join(pieces)
    await stored(cluster, c, topic, "".join(pieces), "complete")


async def test_a_stream_is_cancelled_and_continued_through_other_nodes(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    topic, reader = "stream/moves", Reader()
    on_a, on_b, wire = await dial(a, "bot"), await dial(b, "bot"), await dial(a)
    await wire.subscribe(topic, streams=True)
    await open_stream(on_a, topic)
    await append(on_a, topic, 0, "from a, ")
    assert await opened_again(on_b, topic) == 1
    await append(on_b, topic, 1, "from b")
    refused = await append(on_a, topic, 3, "too early")
    assert (refused["code"], refused["n"]) == ("out_of_step", 2)
    await reader.until(wire, 2)
    assert (await wire.ask("cancel", topic=topic, id="s", reason="enough"))["type"] == "ack"
    assert (await on_b.hear("cancel"))["reason"] == "enough"
    assert (await append(on_a, topic, 2, "more"))["code"] == "cancelled"
    await reader.until(wire, 2, "cancelled")
    assert reader.data == "from a, from b"


@pytest.mark.parametrize("keeps_data", [True, False])
async def test_streams_continue_when_redis_fails_over(cluster: Cluster, dial: Dial, keeps_data: bool) -> None:
    a, b = await cluster.start(2)
    topic, reader = "stream/redis", Reader()
    writer, wire = await dial(a, "bot"), await dial(b)
    await wire.subscribe(topic, streams=True)
    await open_stream(writer, topic, persist=True)
    await append(writer, topic, 0, "before ")
    await reader.until(wire, 1)
    if keeps_data:
        cluster.redis.command("SAVE")
    cluster.redis.kill()
    if not keeps_data:
        cluster.redis.forget_data()
    cluster.redis.start()
    assert await opened_again(writer, topic, persist=True) == 1
    await appended(writer, topic, 1, "after")
    await appended(writer, topic, 2, state="complete")
    await reader.until(wire, 2, "complete")
    assert reader.data == "before after"
    await stored(cluster, b, topic, "before after", "complete")


async def test_a_cluster_that_was_killed_continues_its_stored_streams(cluster: Cluster, dial: Dial) -> None:
    [a] = await cluster.start(1)
    topic, reader = "stream/all", Reader()
    writer = await dial(a, "bot")
    await open_stream(writer, topic, persist=True)
    await append(writer, topic, 0, "before ")
    await stored(cluster, a, topic, "before ", "open")
    await a.kill()
    cluster.redis.kill()
    cluster.redis.forget_data()
    cluster.redis.start()
    [b] = await cluster.start(1)
    again, wire = await dial(b, "bot"), await dial(b)
    await wire.subscribe(topic, streams=True)
    assert await opened_again(again, topic, persist=True) == 1
    await appended(again, topic, 1, "after", state="complete")
    await reader.until(wire, 2, "complete")
    assert reader.data == "before after"
