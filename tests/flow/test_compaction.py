"""Compaction: one message replaces the stored ones before it (docs/protocol.md §5)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import Http
from tests.flow.cluster import Cluster
from tests.flow.wire import Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]


async def dial_backend(dial: Dial, node: "ServerProcess") -> Wire:
    return await dial(node, protocols=["aerostack-v1", f"aerostack-token.{node.secret_key}"])


async def read_all(dial: Dial, node: "ServerProcess", topic: str, **fields: Any) -> list[Any]:
    wire = await dial(node)
    await wire.subscribe(topic, **fields)
    return [each["data"] for each in await wire.settled() if each["type"] == "event"]


async def test_a_new_reader_gets_the_compaction_and_what_follows(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    backend, live = await dial_backend(dial, node), await dial(node)
    topic = "compact/new"
    await live.subscribe(topic)
    acks = [await backend.publish(topic, number, persist=True) for number in range(5)]
    await backend.publish(topic, "0 to 3", persist=True, compacts=acks[3]["cursor"])
    await backend.publish(topic, 5, persist=True)
    assert [each["data"] for each in await live.events(7)] == [0, 1, 2, 3, 4, "0 to 3", 5]
    expected = [4, "0 to 3", 5]
    assert await read_all(dial, node, topic, history="all") == expected
    assert [each["data"] for each in await http.history(topic)] == expected[::-1]


async def test_a_compaction_behind_another_is_a_conflict(node: "ServerProcess", dial: Dial) -> None:
    backend = await dial_backend(dial, node)
    topic = "compact/behind"
    first = await backend.publish(topic, 1, persist=True)
    await backend.publish(topic, "all", persist=True, compacts=first["cursor"])
    for cursor in (first["cursor"], "unknown.5", "nothing"):
        refused = await backend.ask(
            "publish", topic=topic, event="message", data="again", persist=True, compacts=cursor
        )
        assert (refused["type"], refused["code"]) == ("error", "conflict")
    assert await read_all(dial, node, topic, history="all") == ["all"]


async def test_a_compaction_needs_its_right_and_persist(node: "ServerProcess", dial: Dial, http: Http) -> None:
    ann, backend = await dial(node, "ann"), await dial_backend(dial, node)
    topic = "compact/rights"
    ack = await ann.publish(topic, 1, persist=True)
    fields = {"topic": topic, "event": "message", "data": "all", "compacts": ack["cursor"]}
    assert (await ann.ask("publish", **fields, persist=True))["code"] == "forbidden"
    assert (await backend.ask("publish", **fields))["code"] == "bad_message"
    assert (await backend.ask("publish", **fields, stream=True))["code"] == "bad_message"
    status, _ = await http.post("/api/v1/realtime/publish", {**fields, "persist": True})
    assert status == 200
    assert [each["data"] for each in await http.history(topic)] == ["all"]


async def test_a_rule_may_let_users_compact(serve: Serve, dial: Dial) -> None:
    node = await serve(
        'anonymous = true\n[[channels]]\ntopic = "**"\nsubscribe = "anyone"\npublish = "anyone"\n'
        'history = "anyone"\ncompact = "anyone"'
    )
    wire = await dial(node)
    ack = await wire.publish("compact/rule", 1, persist=True)
    await wire.publish("compact/rule", "all", persist=True, compacts=ack["cursor"])
    assert await read_all(dial, node, "compact/rule", history="all") == ["all"]


async def test_a_compaction_survives_a_crash_and_resumes_from_before(server: "ServerProcess", dial: Dial) -> None:
    backend = await dial_backend(dial, server)
    topic = "compact/crash"
    acks = [await backend.publish(topic, number, persist=True) for number in range(3)]
    await backend.publish(topic, "all", persist=True, compacts=acks[2]["cursor"])
    await server.kill()
    await server.start()
    assert await read_all(dial, server, topic, since=acks[0]["cursor"]) == ["all"]
    assert await read_all(dial, server, topic, history="all") == ["all"]


async def test_readers_miss_nothing_while_compactions_happen(node: "ServerProcess", dial: Dial) -> None:
    """Numbers are published and compacted to the list of all so far; each reader ends up with all numbers."""
    backend = await dial_backend(dial, node)
    topic, count = "compact/seam", 400

    async def write() -> None:
        done: list[int] = []
        for number in range(count):
            ack = await backend.publish(topic, [number], persist=True)
            done.append(number)
            if number % 20 == 0:
                await backend.publish(topic, done, persist=True, compacts=ack["cursor"])

    async def read() -> None:
        wire = await dial(node)
        await wire.subscribe(topic, history="all")
        seen: set[int] = set()
        while len(seen) < count:
            [event] = await wire.events(1)
            seen.update(event["data"])

    writing = asyncio.create_task(write())
    reading: list[asyncio.Task[None]] = []
    watcher = await dial(node)
    await watcher.subscribe(topic)
    while len(reading) < 8:
        await watcher.events(40)
        reading.append(asyncio.create_task(read()))
    await asyncio.gather(writing, *reading)


@pytest.mark.database("postgres")
async def test_a_compaction_reaches_all_nodes(cluster: Cluster, dial: Dial) -> None:
    a, b = await cluster.start(2)
    on_a, on_b, live = await dial_backend(dial, a), await dial_backend(dial, b), await dial(b)
    topic = "compact/nodes"
    await live.subscribe(topic)
    ack = await on_a.publish(topic, 1, persist=True)
    await on_b.publish(topic, "all", persist=True, compacts=ack["cursor"])
    assert [each["data"] for each in await live.events(2)] == [1, "all"]
    for node in (a, b):
        assert await read_all(dial, node, topic, history="all") == ["all"]
    refused = await on_a.ask("publish", topic=topic, event="message", data=2, persist=True, compacts=ack["cursor"])
    assert refused["code"] == "conflict"
