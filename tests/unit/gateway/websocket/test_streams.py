"""Streams on one node: readers, repeats, ends, cancels, storage, and writers that are gone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aerostack_realtime.channels.stream_limits import DEFAULT_LIMITS
from tests.unit.gateway.websocket.stage import Connection, Stage, stage

TOPIC = "chat/1"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def reader(node: Stage, *, streams: bool = True, **options: Any) -> Connection:
    """A subscriber of the topic that has taken the answer."""
    found = node.connect("bob")
    await found.ask(type="subscribe", topic=TOPIC, streams=streams, **options)
    return found


async def answers(client: Connection, **command: Any) -> dict[str, Any]:
    """The answer to a command about the stream `s`, which may follow a commit."""
    client.send(topic=TOPIC, id="s", **command)
    await client.written()
    return client.take()[-1]


async def opened(client: Connection, **options: Any) -> dict[str, Any]:
    return await answers(client, type="publish", event="answer", data="", stream=True, **options)


async def append(client: Connection, n: int, data: str | None = None, **options: Any) -> dict[str, Any]:
    return await answers(client, type="append", n=n, **({} if data is None else {"data": data}), **options)


async def heard(client: Connection, data: object) -> None:
    """Wait until an event with this data has arrived."""
    while data not in [each.get("data") for each in client.take()]:
        await client.written()


def let_pass(node: Stage, seconds: int) -> None:
    for _ in range(seconds):
        node.hub.sweep()
    node.hub.flush()


async def test_readers_see_a_stream_grow_and_the_others_its_end(node: Stage) -> None:
    ann, bob, eve = node.connect("ann"), await reader(node), await reader(node, streams=False)
    assert (await opened(ann))["state"] == "open"
    assert (await append(ann, 0, "Hel"))["n"] == 1
    bob.take()
    assert eve.take() == []
    ended = await append(ann, 1, "lo", state="complete")
    assert (ended["n"], ended["state"]) == (2, "complete")
    [grown] = bob.take()
    assert (grown["type"], grown["n"], grown["to"], grown["data"]) == ("append", 1, 2, "lo")
    assert grown["state"] == "complete"
    [event] = eve.take()
    assert (event["type"], event["event"], event["data"], event["id"]) == ("event", "answer", "Hello", "s")


async def test_a_reader_that_comes_late_gets_what_there_is(node: Stage) -> None:
    ann = node.connect("ann")
    await opened(ann)
    await append(ann, 0, "so far")
    late = node.connect("bob")
    replies = await late.ask(type="subscribe", topic=TOPIC, streams=True)
    [event] = [each for each in replies if each["type"] == "event"]
    assert (event["data"], event["stream"]) == ("so far", {"n": 1, "state": "open"})


async def test_a_repeated_piece_is_a_duplicate_and_a_missing_one_is_named(node: Stage) -> None:
    ann = node.connect("ann")
    await opened(ann)
    await append(ann, 0, "a")
    repeated = await append(ann, 0, "a")
    assert (repeated["duplicate"], repeated["n"]) == (True, 1)
    refused = await append(ann, 5, "f")
    assert (refused["type"], refused["code"], refused["n"]) == ("error", "out_of_step", 1)
    await append(ann, 1, state="complete")
    assert (await append(ann, 1, state="complete"))["duplicate"] is True, "the end was sent again"
    assert (await append(ann, 1, "b"))["type"] == "error", "nothing follows the end"


async def test_a_stream_needs_an_id_and_an_append_says_something(node: Stage) -> None:
    ann = node.connect("ann")
    [refused] = await ann.ask(type="publish", topic=TOPIC, event="answer", data="", stream=True)
    assert refused["code"] == "bad_message"
    await opened(ann)
    assert (await append(ann, 0))["code"] == "bad_message"


async def test_an_open_stream_keeps_its_id(node: Stage) -> None:
    ann = node.connect("ann")
    await opened(ann)
    [refused] = await ann.ask(type="publish", topic=TOPIC, event="m", data=1, id="s")
    assert refused["code"] == "conflict"


async def test_a_connection_has_a_limited_number_of_streams(node: Stage) -> None:
    ann = node.connect("ann")
    for number in range(DEFAULT_LIMITS.per_connection):
        ann.send(type="publish", topic=TOPIC, event="answer", data="", stream=True, id=f"{number}")
    ann.take()
    assert (await opened(ann))["code"] == "rate_limited"
    await ann.ask(type="append", topic=TOPIC, id="0", n=0, state="complete")
    assert (await opened(ann))["state"] == "open"


async def test_the_stream_of_a_writer_that_is_gone_fails_after_a_while(node: Stage) -> None:
    ann, bob = node.connect("ann"), await reader(node)
    await opened(ann)
    await append(ann, 0, "half")
    bob.take()
    ann.session.lost()
    let_pass(node, DEFAULT_LIMITS.seconds - 1)
    assert bob.take() == []
    let_pass(node, 1)
    assert [each["state"] for each in bob.take()] == ["failed"]


async def test_a_writer_that_returns_in_time_continues(node: Stage) -> None:
    ann = node.connect("ann")
    await opened(ann)
    await append(ann, 0, "half")
    ann.session.lost()
    let_pass(node, DEFAULT_LIMITS.seconds - 1)
    again = node.connect("ann")
    assert (await opened(again))["n"] == 1
    let_pass(node, 2 * DEFAULT_LIMITS.seconds)
    assert (await append(again, 1, "and half", state="complete"))["state"] == "complete"


async def test_a_writer_whose_right_is_gone_counts_as_gone(node: Stage) -> None:
    ann, bob = node.connect("ann"), await reader(node)
    await opened(ann)
    node.hub.streams.refused(f"{TOPIC}/default", "s", "another connection")
    node.hub.streams.refused(f"{TOPIC}/default", "s", ann.session.connection_id)
    bob.take()
    let_pass(node, DEFAULT_LIMITS.seconds)
    assert [each["state"] for each in bob.take()] == ["failed"]


async def test_a_cancelled_stream_ends_and_its_writer_learns_why(node: Stage) -> None:
    ann, bob = node.connect("ann"), await reader(node)
    await opened(ann)
    await append(ann, 0, "long")
    bob.take()
    bob.send(type="cancel", topic=TOPIC, id="s", reason="enough", ref="c")
    replies = bob.take()
    assert [each["ref"] for each in replies if each["type"] == "ack"] == ["c"]
    assert [each["state"] for each in replies if each["type"] == "append"] == ["cancelled"]
    [cancel] = ann.take()
    assert (cancel["type"], cancel["userId"], cancel["reason"]) == ("cancel", "bob", "enough")
    refused = await append(ann, 1, "er")
    assert refused["type"] == "error"
    assert (await answers(bob, type="cancel", reason="x" * 2_000))["code"] == "bad_message"


async def test_a_persisted_stream_is_opened_and_ended_by_commits(node: Stage) -> None:
    ann, bob = node.connect("ann"), await reader(node)
    assert (await opened(ann, persist=True))["state"] == "open"
    await append(ann, 0, "kept")
    let_pass(node, 1)
    assert (await append(ann, 1, state="complete"))["state"] == "complete"
    await bob.written()
    late = node.connect("eve")
    pending = late.send(type="subscribe", topic=TOPIC, history="all")
    if pending is not None:
        await pending
    [event] = [each for each in late.take() if each["type"] == "event"]
    assert (event["data"], event["id"]) == ("kept", "s")


async def test_open_streams_take_no_place_in_the_history(node: Stage) -> None:
    ann, bob = node.connect("ann"), await reader(node)
    for number in range(3):
        ann.send(topic=TOPIC, id=f"m{number}", type="publish", event="m", data=number, persist=True)
        await ann.written()
        await heard(bob, number)
    for name in ("s1", "s2"):
        ann.send(topic=TOPIC, id=name, type="publish", event="answer", data="so far", stream=True, persist=True)
        await ann.written()
    late = node.connect("eve")
    replies = await late.ask(type="subscribe", topic=TOPIC, history=2, streams=True)
    assert replies[0]["history"] == 2
    shown = [each["data"] for each in replies if each["type"] == "event" and "snapshot" not in each]
    assert shown == [1, 2, "so far", "so far"]


async def test_an_id_of_the_history_opens_no_stream(node: Stage) -> None:
    ann = node.connect("ann")
    await answers(ann, type="publish", event="m", data=1, persist=True)
    refused = await opened(ann, persist=True)
    assert refused["code"] == "conflict"


async def test_a_stored_stream_is_open_again_after_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path) as before:
        ann = before.connect("ann")
        await opened(ann, persist=True)
        await append(ann, 0, "kept")
        let_pass(before, 1)
    async with stage(tmp_path) as after:
        bob = after.connect("bob")
        replies = await bob.ask(type="subscribe", topic=TOPIC, streams=True)
        [event] = [each for each in replies if each["type"] == "event"]
        assert (event["data"], event["stream"]) == ("kept", {"n": 1, "state": "open"})
        ann = after.connect("ann")
        assert (await opened(ann, persist=True))["n"] == 1
        assert (await append(ann, 1, " and done", state="complete"))["state"] == "complete"
