"""Streams that are stored: in the history while they grow, after a crash, and when nobody ends them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.flow.calls import Http
from tests.flow.stream_wire import Reader, answer, append, open_stream
from tests.flow.wire import PATIENCE_SECONDS, Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]


async def stored(http: Http, topic: str, **fields: Any) -> dict[str, Any]:
    """The newest message of a topic, once the history has these fields of it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            [newest] = await http.history(topic, limit=1)
            if fields.items() <= newest.items():
                return newest


async def test_the_history_shows_the_text_so_far_and_the_end(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    writer = await dial(node, "bot")
    opened = await open_stream(writer, "stored/grows", persist=True)
    [row] = await http.history("stored/grows")
    assert row == {
        "id": "s",
        "room_id": "stored/grows/default",
        "user_id": "bot",
        "event": "answer",
        "data": "",
        "created_at": opened["timestamp"],
        "n": 0,
        "state": "open",
    }
    await append(writer, "stored/grows", 0, "so far")
    so_far = await stored(http, "stored/grows", n=1)
    assert (so_far["data"], so_far["state"]) == ("so far", "open")
    later = await writer.publish("stored/grows", "later", persist=True)
    ended = await append(writer, "stored/grows", 1, ", all", state="complete")
    assert ended["timestamp"] == opened["timestamp"]
    newest, row = await http.history("stored/grows")
    assert newest["created_at"] == later["timestamp"]
    assert "state" not in newest
    assert (row["data"], row["n"], row["state"]) == ("so far, all", 2, "complete")
    assert row["created_at"] == opened["timestamp"]


async def test_a_reader_gets_pieces_at_once_and_the_end_in_its_place(node: "ServerProcess", dial: Dial) -> None:
    writer, wire, vendor = await dial(node), await dial(node), await dial(node)
    await wire.subscribe("stored/order", streams=True)
    await vendor.subscribe("stored/order")
    await open_stream(writer, "stored/order", persist=True)
    writer.say("append", topic="stored/order", id="s", n=0, data="a")
    writer.say("publish", topic="stored/order", event="e", data=1, persist=True)
    writer.say("append", topic="stored/order", id="s", n=1, data="b", state="complete")
    writer.say("publish", topic="stored/order", event="e", data=2)
    heard = await vendor.events(3)
    assert [each["data"] for each in heard] == [1, "ab", 2]
    reader = Reader()
    order: list[Any] = []
    while 2 not in order:
        message = await wire.next()
        reader.take(message)
        order.append(message.get("state") or message.get("data"))
    assert (reader.data, reader.state) == ("ab", "complete")
    assert [each for each in order if each in (1, "complete", 2)] == [1, "complete", 2]


async def test_a_server_that_is_killed_mid_stream_loses_nothing_stored(
    server: "ServerProcess", dial: Dial, calls: Calls
) -> None:
    topic = "stored/killed"
    writer, wire, vendor = await dial(server, "bot"), await dial(server), await dial(server)
    cursor = (await wire.subscribe(topic, streams=True))["cursor"]
    await vendor.subscribe(topic)
    await open_stream(writer, topic, persist=True)
    pieces = [f"piece {n} " for n in range(20)]
    for n, piece in enumerate(pieces[:10]):
        await append(writer, topic, n, piece)
    await stored(calls(server), topic, n=10)
    for n, piece in enumerate(pieces[10:15], 10):
        await append(writer, topic, n, piece)
    reader = Reader()
    await reader.until(wire, 15)
    await server.kill()
    await server.start()
    again, wire, vendor = await dial(server, "bot"), await dial(server), await dial(server)
    known = await open_stream(again, topic, persist=True)
    assert 10 <= known["n"] <= 15
    assert known["state"] == "open"
    await wire.subscribe(topic, since=cursor, streams={"s": reader.n})
    await vendor.subscribe(topic, since=cursor)
    for n, piece in enumerate(pieces[known["n"] :], known["n"]):
        await append(again, topic, n, piece)
    await append(again, topic, 20, state="complete")
    await reader.until(wire, 20, "complete")
    assert reader.data == "".join(pieces)
    assert (await vendor.hear("event"))["data"] == "".join(pieces)
    newest = await stored(calls(server), topic, state="complete")
    assert newest["data"] == "".join(pieces)


async def test_the_end_is_replayed_after_a_restart(server: "ServerProcess", dial: Dial) -> None:
    topic = "stored/replayed"
    writer, wire = await dial(server, "bot"), await dial(server)
    await wire.subscribe(topic, streams=True)
    await open_stream(writer, topic, persist=True)
    await writer.publish(topic, "between", persist=True)
    await append(writer, topic, 0, "half")
    reader = Reader()
    await reader.until(wire, 1)
    cursor = (await writer.publish(topic, "last seen", persist=True))["cursor"]
    wire.drop()
    await append(writer, topic, 1, " and half", state="complete")
    await server.kill()
    await server.start()
    wire, vendor = await dial(server), await dial(server)
    await wire.subscribe(topic, since=cursor, streams={"s": 1})
    await reader.until(wire, 2, "complete")
    assert reader.data == "half and half"
    await vendor.subscribe(topic, since=cursor)
    assert (await vendor.hear("event"))["data"] == "half and half"
    assert await vendor.settled() == []
    writer = await dial(server, "bot")
    assert (await open_stream(writer, topic, persist=True))["state"] == "complete"


async def test_a_stream_without_a_writer_ends_as_failed(serve: Serve, dial: Dial, calls: Calls) -> None:
    server = await serve("anonymous = true\n[limits]\nstream_seconds = 1")
    topic = "stored/orphan"
    writer, wire = await dial(server, "bot"), await dial(server)
    await wire.subscribe(topic, streams=True)
    await open_stream(writer, topic, persist=True)
    await open_stream(writer, topic, id="t")
    await append(writer, topic, 0, "half")
    writer.drop()
    stored_one, ephemeral = Reader(), Reader("t")
    while "open" in (stored_one.state, ephemeral.state):
        message = await wire.next()
        stored_one.take(message)
        ephemeral.take(message)
    assert (stored_one.state, stored_one.data, ephemeral.state) == ("failed", "half", "failed")
    newest = (await calls(server).history(topic))[0]
    assert (newest["data"], newest["state"]) == ("half", "failed")
    again = await dial(server, "bot")
    assert (await append(again, topic, 1, "x"))["code"] == "conflict"


async def test_a_stream_that_a_crash_orphaned_ends_as_failed(serve: Serve, dial: Dial, calls: Calls) -> None:
    server = await serve("anonymous = true\n[limits]\nstream_seconds = 1")
    topic = "stored/crashed"
    writer = await dial(server, "bot")
    await open_stream(writer, topic, persist=True, data="begun")
    await server.kill()
    await server.start()
    newest = await stored(calls(server), topic, state="failed")
    assert newest["data"] == "begun"


async def test_an_idle_writer_keeps_its_stream_open(serve: Serve, dial: Dial) -> None:
    server = await serve("anonymous = true\n[limits]\nstream_seconds = 1")
    idle, orphan = await dial(server, "bot"), await dial(server, "bot")
    await open_stream(idle, "stored/idle", id="idle")
    await open_stream(orphan, "stored/idle", id="orphan")
    wire = await dial(server)
    await wire.subscribe("stored/idle", streams=True)
    orphan.drop()
    reader = Reader("orphan")
    await reader.until(wire, 0, "failed")
    assert (await append(idle, "stored/idle", 0, "still here", id="idle"))["n"] == 1


async def test_the_id_of_a_stored_message_is_taken(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node, "bot")
    await writer.publish("stored/taken", 1, id="s", persist=True)
    assert (await open_stream(writer, "stored/taken", persist=True))["code"] == "conflict"
    assert (await append(writer, "stored/taken", 0, "x"))["code"] == "not_found"


async def test_a_cancelled_stream_is_stored_as_cancelled(node: "ServerProcess", dial: Dial, http: Http) -> None:
    writer, wire = await dial(node, "bot"), await dial(node)
    await open_stream(writer, "stored/cancelled", persist=True, data="begun")
    wire.say("cancel", topic="stored/cancelled", id="s")
    ack = await answer(wire, "s")
    assert (ack["type"], ack["state"]) == ("ack", "cancelled")
    [row] = await http.history("stored/cancelled")
    assert (row["data"], row["state"]) == ("begun", "cancelled")


async def test_an_end_that_is_sent_again_is_answered_after_its_commit(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    writer: Wire = await dial(node, "bot")
    await open_stream(writer, "stored/twice", persist=True)
    for _ in range(2):
        writer.say("append", topic="stored/twice", id="s", n=0, data="x", state="complete")
    first, second = await answer(writer, "s"), await answer(writer, "s")
    assert (first["n"], first["state"]) == (second["n"], second["state"]) == (1, "complete")
    [row] = await http.history("stored/twice")
    assert (row["data"], row["state"]) == ("x", "complete")
