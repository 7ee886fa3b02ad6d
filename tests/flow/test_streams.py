"""Streams on the wire: messages that grow, for their writers and their readers (docs/protocol.md, Streams)."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.stream_wire import Reader, answer, append, open_stream
from tests.flow.wire import Dial, frame

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess


async def test_a_reader_sees_a_message_grow(node: "ServerProcess", dial: Dial) -> None:
    writer, reader = await dial(node, "bot"), await dial(node, "ann")
    await reader.subscribe("streams/grow", streams=True)
    opened = await open_stream(writer, "streams/grow", data="He")
    assert (opened["type"], opened["n"], opened["state"]) == ("ack", 0, "open")
    first = await reader.next()
    assert first == {
        "type": "event",
        "topic": "streams/grow/default",
        "event": "answer",
        "data": "He",
        "timestamp": opened["timestamp"],
        "id": "s",
        "cursor": opened["cursor"],
        "userId": "bot",
        "stream": {"n": 0, "state": "open"},
    }
    ack = await append(writer, "streams/grow", 0, "llo")
    assert (ack["n"], ack["state"]) == (1, "open")
    grown = await reader.next()
    assert grown == {
        "type": "append",
        "topic": "streams/grow/default",
        "id": "s",
        "n": 0,
        "to": 1,
        "cursor": ack["cursor"],
        "data": "llo",
    }
    ack = await append(writer, "streams/grow", 1, "!", state="complete")
    assert (ack["n"], ack["state"]) == (2, "complete")
    last = await reader.next()
    assert (last["n"], last["to"], last["data"], last["state"]) == (1, 2, "!", "complete")


async def test_pieces_of_one_tick_come_joined_before_a_later_event(node: "ServerProcess", dial: Dial) -> None:
    writer, reader = await dial(node), await dial(node)
    await reader.subscribe("streams/tick", streams=True)
    await open_stream(writer, "streams/tick", data=[])
    frames = [
        *({"type": "append", "topic": "streams/tick", "id": "s", "n": n, "data": [n]} for n in range(3)),
        {"type": "publish", "topic": "streams/tick", "event": "e", "data": "between"},
        *({"type": "append", "topic": "streams/tick", "id": "s", "n": n, "data": [n]} for n in range(3, 5)),
    ]
    writer.write(b"".join(frame(json.dumps(each).encode()) for each in frames))
    heard = [await reader.next() for _ in range(4)]
    assert [each["data"] for each in heard] == [[], [0, 1, 2], "between", [3, 4]]


async def test_others_receive_one_event_when_a_stream_ends(node: "ServerProcess", dial: Dial) -> None:
    writer, vendor = await dial(node, "bot"), await dial(node)
    await vendor.subscribe("streams/vendor")
    await open_stream(writer, "streams/vendor")
    for n in range(3):
        await append(writer, "streams/vendor", n, str(n))
    assert await vendor.settled() == []
    ended = await append(writer, "streams/vendor", 3, "!", state="complete")
    event = await vendor.next()
    assert {key: event[key] for key in ("type", "event", "data", "id", "cursor", "userId")} == {
        "type": "event",
        "event": "answer",
        "data": "012!",
        "id": "s",
        "cursor": ended["cursor"],
        "userId": "bot",
    }
    assert "stream" not in event
    assert await vendor.settled() == []


async def test_a_late_joiner_gets_what_there_is_in_one_frame(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node)
    await open_stream(writer, "streams/late")
    for n in range(50):
        await append(writer, "streams/late", n, f"{n} ")
    late = await dial(node)
    await late.subscribe("streams/late", streams=True)
    reader = Reader()
    await reader.until(late, 50)
    assert (reader.frames, reader.data) == (1, "".join(f"{n} " for n in range(50)))
    await append(writer, "streams/late", 50, "end", state="complete")
    await reader.until(late, 51, "complete")
    assert reader.frames == 2


async def test_a_reader_resumes_within_a_word(node: "ServerProcess", dial: Dial) -> None:
    writer, reader = await dial(node), await dial(node)
    subscribed = await reader.subscribe("streams/halves", streams=True)
    await open_stream(writer, "streams/halves")
    await append(writer, "streams/halves", 0, "na\N{GRINNING FACE}")
    have = Reader()
    await have.until(reader, 1)
    reader.drop()
    await append(writer, "streams/halves", 1, "\N{GRINNING FACE}\u0308ive", state="complete")
    again = await dial(node)
    await again.subscribe("streams/halves", since=subscribed["cursor"], streams={"s": 1})
    await have.until(again, 2, "complete")
    whole = "na\N{GRINNING FACE}\N{GRINNING FACE}\u0308ive"
    assert (have.data, have.frames) == (whole, 3)
    vendor = await dial(node)
    await vendor.subscribe("streams/halves", since=subscribed["cursor"])
    assert (await vendor.hear("event"))["data"] == whole


async def test_half_of_a_surrogate_pair_is_not_a_piece(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node)
    await open_stream(writer, "streams/half")
    for half in ("a\ud83d", "\ude00b"):
        writer.say("append", topic="streams/half", id="s", n=0, data=half)
        assert (await writer.hear("error"))["code"] == "bad_message"
    assert (await append(writer, "streams/half", 0, "\N{GRINNING FACE}"))["n"] == 1


async def test_a_reader_that_was_away_learns_how_a_stream_ended(node: "ServerProcess", dial: Dial) -> None:
    writer, reader = await dial(node), await dial(node)
    cursor = (await reader.subscribe("streams/away", streams=True))["cursor"]
    reader.drop()
    await open_stream(writer, "streams/away", id="whole")
    await append(writer, "streams/away", 0, "all of it", id="whole", state="failed")
    again = await dial(node)
    await again.subscribe("streams/away", since=cursor, streams={"unknown": 3})
    event = await again.next()
    assert (event["data"], event["stream"]) == ("all of it", {"n": 1, "state": "failed"})
    lost = await again.next()
    assert (lost["id"], lost["n"], lost["to"], lost["state"]) == ("unknown", 3, 3, "failed")


async def test_two_streams_and_events_of_one_channel_keep_their_order(node: "ServerProcess", dial: Dial) -> None:
    writer, wire = await dial(node), await dial(node)
    await wire.subscribe("streams/two", streams=True)
    a, b = Reader("a"), Reader("b")
    for id in "ab":
        await open_stream(writer, "streams/two", id=id)
    for n in range(20):
        for id in "ab":
            writer.say("append", topic="streams/two", id=id, n=n, data=f"{id}{n} ")
    for id in "ab":
        writer.say("append", topic="streams/two", id=id, n=20, state="complete")
    while "open" in (a.state, b.state) or -1 in (a.n, b.n):
        message = await wire.next()
        a.take(message)
        b.take(message)
    assert [a.data, b.data] == ["".join(f"{id}{n} " for n in range(20)) for id in "ab"]


# --- writers that do something wrong, or return ----------------------------------------------------------------


async def test_a_bad_append_is_refused_and_the_stream_continues(node: "ServerProcess", dial: Dial) -> None:
    topic = "streams/bad"
    writer, other = await dial(node, "bot"), await dial(node, "eve")
    assert (await append(writer, topic, 0, "x"))["code"] == "not_found"
    await open_stream(writer, topic)
    early = await append(writer, topic, 5, "x")
    assert (early["code"], early["n"]) == ("out_of_step", 0)
    assert (await append(writer, topic, 0, [1]))["code"] == "bad_message"
    assert (await append(writer, topic, 0, 7))["code"] == "bad_message"
    assert (await append(other, topic, 0, "x"))["code"] == "forbidden"
    assert (await open_stream(other, topic))["code"] == "forbidden"
    assert (await append(writer, topic, -1, "x"))["code"] == "bad_message"
    assert (await append(writer, topic, 0))["code"] == "bad_message"
    ack = await append(writer, topic, 0, "a")
    assert ack["n"] == 1
    repeat = await append(writer, topic, 0, "a")
    assert (repeat["n"], repeat["duplicate"]) == (1, True)
    again = await open_stream(writer, topic)
    assert (again["n"], again["state"], again["duplicate"]) == (1, "open", True)
    done = await append(writer, topic, 1, "b", state="complete")
    assert done["state"] == "complete"
    repeated = await append(writer, topic, 1, "b", state="complete")
    assert (repeated["type"], repeated["n"], repeated["state"]) == ("ack", 2, "complete")
    assert (await append(writer, topic, 2, "c"))["code"] == "conflict"
    assert (await open_stream(writer, topic))["state"] == "complete"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"data": 7}, "bad_message"),
        ({"data": {}}, "bad_message"),
        ({"data": None}, "bad_message"),
        ({"topic": "orders"}, "forbidden"),
        ({"id": "x" * 257}, "bad_message"),
        ({"event": ""}, "bad_message"),
        ({"event": "presence:join"}, "bad_message"),
    ],
)
async def test_a_bad_opening_is_refused(
    node: "ServerProcess", dial: Dial, fields: dict[str, Any], code: str
) -> None:
    writer = await dial(node)
    opening = {"topic": "streams/opening", "event": "e", "data": "", "id": "s", "stream": True, **fields}
    writer.say("publish", **opening)
    assert (await answer(writer, opening["id"]))["code"] == code


async def test_an_opening_without_an_id_is_refused(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node)
    writer.say("publish", topic="streams/nameless", event="e", data="", stream=True)
    assert (await writer.hear("error"))["code"] == "bad_message"


async def test_a_vendor_client_that_sends_stream_opens_one(node: "ServerProcess", dial: Dial) -> None:
    vendor, other = await dial(node, protocols=()), await dial(node, protocols=())
    for wire in (vendor, other):
        await wire.subscribe("streams/vendors")
    vendor.say("publish", topic="streams/vendors", event="e", data={"text": "x"}, id="s", stream=True)
    assert (await answer(vendor, "s"))["code"] == "bad_message"
    vendor.say("publish", topic="streams/vendors", event="e", data="x", id="s", stream=True)
    assert (await answer(vendor, "s"))["state"] == "open"
    for wire in (vendor, other):
        assert await wire.settled() == []
    other.say("cancel", topic="streams/vendors", id="s", ref="c")
    for wire in (vendor, other):
        event = await wire.hear("event")
        assert (event["data"], "stream" in event) == ("x", False)


async def test_the_id_of_an_open_stream_is_taken(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node, "bot")
    await open_stream(writer, "streams/taken")
    writer.say("publish", topic="streams/taken", event="e", data=1, id="s")
    assert (await answer(writer, "s"))["code"] == "conflict"
    assert (await open_stream(writer, "streams/taken", data=[]))["code"] == "conflict"


async def test_a_stream_is_limited_in_bytes_and_can_still_be_finished(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node)
    await open_stream(writer, "streams/large")
    piece = "x" * 60_000
    n = 0
    while (reply := await append(writer, "streams/large", n, piece))["type"] == "ack":
        n = reply["n"]
    assert (reply["code"], n) == ("too_large", (1 << 20) // 60_000)
    rest = (1 << 20) - n * 60_000
    assert (await append(writer, "streams/large", n, "x" * (rest + 1)))["code"] == "too_large"
    done = await append(writer, "streams/large", n, "x" * (rest - 2), state="complete")
    assert done["state"] == "complete"


async def test_a_connection_has_at_most_100_open_streams(node: "ServerProcess", dial: Dial) -> None:
    writer = await dial(node)
    for number in range(100):
        assert (await open_stream(writer, "streams/many", id=str(number)))["type"] == "ack"
    assert (await open_stream(writer, "streams/many", id="100"))["code"] == "rate_limited"
    assert (await open_stream(writer, "streams/many", id="7"))["type"] == "ack"
    await append(writer, "streams/many", 0, id="7", state="complete")
    assert (await open_stream(writer, "streams/many", id="100"))["type"] == "ack"


async def test_a_writer_that_was_killed_continues(node: "ServerProcess", dial: Dial) -> None:
    first, wire = await dial(node, "bot"), await dial(node)
    await wire.subscribe("streams/killed", streams=True)
    await open_stream(first, "streams/killed")
    await append(first, "streams/killed", 0, "one ")
    first.drop()
    second = await dial(node, "bot")
    assert (await open_stream(second, "streams/killed"))["n"] == 1
    await append(second, "streams/killed", 1, "two", state="complete")
    reader = Reader()
    await reader.until(wire, 2, "complete")
    assert reader.data == "one two"


# --- cancelling ------------------------------------------------------------------------------------------------


async def test_a_cancelled_stream_ends_for_everyone(node: "ServerProcess", dial: Dial) -> None:
    topic = "streams/cancel"
    writer, wire, vendor = await dial(node, "bot"), await dial(node, "ann"), await dial(node)
    await wire.subscribe(topic, streams=True)
    await vendor.subscribe(topic)
    await open_stream(writer, topic)
    await append(writer, topic, 0, "so far")
    wire.say("cancel", topic=topic, id="s", reason="enough", ref="r")
    ack = await answer(wire, "s")
    assert (ack["state"], ack["n"], ack["ref"]) == ("cancelled", 1, "r")
    asked = await writer.hear("cancel")
    assert asked == {
        "type": "cancel",
        "topic": f"{topic}/default",
        "id": "s",
        "userId": "ann",
        "reason": "enough",
    }
    refused = await append(writer, topic, 1, "more")
    assert (refused["code"], refused["retryable"]) == ("cancelled", False)
    reader = Reader()
    await reader.until(wire, 1, "cancelled")
    assert (await vendor.hear("event"))["data"] == "so far"
    wire.say("cancel", topic=topic, id="s")
    again = await answer(wire, "s")
    assert (again["type"], again["state"]) == ("ack", "cancelled")
    assert (await open_stream(writer, topic))["state"] == "cancelled"


async def test_a_stream_may_be_cancelled_before_its_first_piece(node: "ServerProcess", dial: Dial) -> None:
    writer, other = await dial(node, "bot"), await dial(node)
    other.say("cancel", topic="streams/early", id="s")
    assert (await answer(other, "s"))["code"] == "not_found"
    await open_stream(writer, "streams/early")
    other.say("cancel", topic="streams/early", id="s")
    assert (await answer(other, "s"))["state"] == "cancelled"
    assert (await append(writer, "streams/early", 0, "x"))["code"] == "cancelled"
    other.say("cancel", topic="streams/early", id="s", reason="x" * 2_000)
    assert (await answer(other, "s"))["code"] == "bad_message"
