"""A subscription that begins with history: no seam, no repeat (docs/protocol.md §5)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.stream_wire import Reader, append, open_stream
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]


async def test_the_newest_messages_come_first_then_what_follows(node: "ServerProcess", dial: Dial) -> None:
    writer, wire = await dial(node), await dial(node)
    for number in range(5):
        await writer.publish("begin/newest", number, persist=True)
    await writer.publish("begin/newest", "ephemeral")
    subscribed = await wire.subscribe("begin/newest", history=3)
    assert (subscribed["recovered"], subscribed["history"]) == (None, 3)
    await writer.publish("begin/newest", "after")
    assert [each["data"] for each in await wire.events(4)] == [2, 3, 4, "after"]
    assert await wire.settled() == []


async def test_all_history_comes_in_order(node: "ServerProcess", dial: Dial) -> None:
    writer, wire = await dial(node), await dial(node)
    for number in range(1_100):
        writer.say("publish", topic="begin/all", event="e", data=number, persist=True, id=f"m{number}")
    while (await writer.hear("ack"))["id"] != "m1099":
        pass
    assert "history" not in await wire.subscribe("begin/all", history="all")
    assert [each["data"] for each in await wire.events(1_100)] == list(range(1_100))
    await writer.publish("begin/all", "live")
    assert [each["data"] for each in await wire.events(1)] == ["live"]


async def test_an_empty_history_is_followed_by_live_events(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    assert (await wire.subscribe("begin/empty", history=10))["history"] == 0
    await wire.publish("begin/empty", 1)
    assert [each["data"] for each in await wire.events(1)] == [1]


async def test_no_message_is_missed_or_repeated_while_it_is_read(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node)
    for number in range(300):
        await writer.publish("begin/seam", number, persist=True)

    async def publish() -> None:
        for number in range(300, 600):
            await writer.publish("begin/seam", number, persist=number % 2 == 0)

    async def read() -> list[Any]:
        wire = await dial(node)
        await wire.subscribe("begin/seam", history="all")
        heard = await wire.events(300)
        while heard[-1]["data"] != 599:
            heard += await wire.events(1)
        return [each["data"] for each in heard]

    publishing = asyncio.create_task(publish())
    for heard in await asyncio.gather(*(read() for _ in range(5))):
        persisted = [number for number in heard if number % 2 == 0 or number < 300]
        assert persisted == [number for number in range(600) if number % 2 == 0 or number < 300]
        assert heard == sorted(set(heard))
    await publishing


async def test_a_reader_that_was_cut_off_in_the_history_resumes_in_it(node: "ServerProcess", dial: Dial) -> None:
    writer, wire = await dial(node), await dial(node)
    for number in range(10):
        await writer.publish("begin/cut", number, persist=True)
    subscribed = await wire.subscribe("begin/cut", history=4)
    cursor = (await wire.events(2))[-1]["cursor"]
    wire.drop()
    again = await dial(node)
    assert (await again.subscribe("begin/cut", since=cursor, history=4))["recovered"] is True
    assert [each["data"] for each in await again.events(2)] == [8, 9]
    first = await dial(node)
    await first.subscribe("begin/cut", since=subscribed["cursor"], history=4)
    assert [each["data"] for each in await first.events(4)] == [6, 7, 8, 9]


async def test_an_unknown_cursor_is_answered_with_history(node: "ServerProcess", dial: Dial) -> None:
    writer, wire = await dial(node), await dial(node)
    await writer.publish("begin/unknown", 1, persist=True)
    assert (await wire.subscribe("begin/unknown", since="another.5", history="all"))["recovered"] is False
    assert [each["data"] for each in await wire.events(1)] == [1]


async def test_history_survives_a_restart(server: "ServerProcess", dial: Dial) -> None:
    writer = await dial(server)
    for number in range(3):
        await writer.publish("begin/restart", number, persist=True)
    await server.kill()
    await server.start()
    wire = await dial(server)
    await wire.subscribe("begin/restart", history=2)
    await wire.publish("begin/restart", "live")
    assert [each["data"] for each in await wire.events(3)] == [1, 2, "live"]


async def test_streams_come_as_they_ended_or_from_memory(node: "ServerProcess", dial: Dial) -> None:
    writer, wire, vendor = await dial(node), await dial(node), await dial(node)
    topic = "begin/streams"
    await open_stream(writer, topic, id="ended", persist=True)
    await open_stream(writer, topic, id="open", persist=True)
    await append(writer, topic, 0, "half", id="open")
    await writer.publish(topic, "between", persist=True)
    await append(writer, topic, 0, "whole", id="ended", state="complete")
    await vendor.subscribe(topic, history=10)
    assert [each["data"] for each in await vendor.events(2)] == ["between", "whole"]
    assert await vendor.settled() == []
    await wire.subscribe(topic, history="all", streams=True)
    between, ended, still_open = await wire.events(3)
    assert between["data"] == "between"
    assert (ended["data"], ended["stream"]) == ("whole", {"n": 1, "state": "complete"})
    assert (still_open["data"], still_open["stream"]) == ("half", {"n": 1, "state": "open"})
    await append(writer, topic, 1, " and half", id="open", state="complete")
    reader = Reader("open")
    reader.take(still_open)
    await reader.until(wire, 2, "complete")
    assert reader.data == "half and half"
    assert (await vendor.events(1))[0]["data"] == "half and half"


@pytest.mark.parametrize("history", [0, -1, 1_001, "some", True, 1.5])
async def test_a_wrong_history_is_refused(node: "ServerProcess", dial: Dial, history: Any) -> None:
    wire = await dial(node)
    refused = await wire.ask("subscribe", topic="begin/wrong", history=history)
    assert (refused["type"], refused["code"]) == ("error", "bad_message")


async def test_a_table_has_no_history(node: "ServerProcess", dial: Dial) -> None:
    refused = await (await dial(node)).ask("subscribe", topic="orders", history=3)
    assert refused["code"] == "bad_message"


async def test_history_needs_its_right(serve: Serve, dial: Dial) -> None:
    server = await serve('anonymous = true\n[[channels]]\ntopic = "**"\nsubscribe = "anyone"\nhistory = "server"')
    wire = await dial(server)
    assert (await wire.ask("subscribe", topic="begin/denied", history=3))["code"] == "forbidden"
    await wire.subscribe("begin/denied")
