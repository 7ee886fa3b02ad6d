"""Publishes with an id that repeat the one before are acknowledged and recognized as all others are."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aerostack_realtime.channels.publishing import MAX_ID
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from aerostack_realtime.protocol import close_codes, messages
from tests.unit.gateway.websocket.repeating import expecting, listening, read, take
from tests.unit.gateway.websocket.stage import Stage, stage

LEVELS = UNLIMITED.nesting


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


def of_sdk(id: str, data: bytes = b"1", event: str = "e") -> bytes:
    """The text that the SDK in Python sends."""
    return messages.encode(messages.Publish("a/b", event, Raw(data), id=id))


def hostile(chance: Random, number: int) -> bytes:
    """A text that is a publish, or nearly one."""
    new, plain = f"new-{number}", of_sdk(f"plain-{number}", b'{"n":%d}' % number)
    return chance.choice(
        (
            *(plain, plain, plain, plain),
            *(of_sdk("again"), of_sdk("an-open-stream"), of_sdk(new, event="other")),
            *(of_sdk(""), of_sdk("x" * MAX_ID), of_sdk("x" * (MAX_ID + 1)), of_sdk('a"b\\c'), of_sdk("\u00e4")),
            of_sdk(new, b"[" * (LEVELS - 1) + b"]" * (LEVELS - 1)),
            of_sdk(new, b"[" * LEVELS + b"]" * LEVELS),
            *(of_sdk(new, b'"\xff"'), of_sdk(new, b'"\xc3\xa4"'), of_sdk(new, b'"\\u00e4"'), of_sdk(new, b"01")),
            plain.replace(b'"id":"plain', b'"id":"twice","id":"plain'),
            plain.replace(b'"id":"plain', b'"id":"plain","data":2,"x":"'),
            *(plain.replace(b'"id":"', b'"id":7,"x":"'), plain.replace(b'"id":"', b'"id":null,"x":"')),
            *(
                plain.replace(b"plain", b"pl\\u0061in"),
                plain.replace(b"plain", b"\xff"),
                plain.replace(b"plain", b"\x00"),
            ),
            *(plain + b"}", plain + b" ", b" " + plain, plain[:-1], plain[:-8], plain.replace(b"false", b"False")),
            plain.replace(b'"echo":true', b'"echo":false'),
            plain.replace(b'"persist":false', b'"persist":0'),
            *(b'{"type":"ping"}', b"", b"{}"),
        )
    )


def comparable(frames: list[dict[str, Any]], places: dict[str, int]) -> list[dict[str, Any]]:
    """Frames in which each cursor is its number in `places`, since the clock makes others in each run."""
    for each in frames:
        if "cursor" in each:
            place = places.setdefault(each["cursor"], len(places))
            if each.get("id") == f"{int(each['cursor'].partition('.')[2]):x}":
                each["id"] = "of its position"
            each["cursor"], each["timestamp"] = place, "timestamp" in each
    return frames


async def everything(path: Path, seed: int, *, takes: bool, echo: bool) -> tuple[list[Any], int]:
    """What a publisher and two subscribers receive, and what is counted, with the short way or without it; and how
    many reads took it."""
    async with stage(path, limits=replace(UNLIMITED, bad_messages=1_000_000)) as node:
        publisher, places = node.connect("ann"), dict[str, int]()
        listeners = [await listening(node), await listening(node, presence=False)]
        await publisher.ask(type="subscribe", topic="a/b")
        publisher.send(type="publish", topic="a/b", event="e", data="", stream=True, id="an-open-stream")
        take(publisher, of_sdk("again"))
        chance, taken = Random(seed), 0
        found: list[Any] = []
        for number in range(150):
            if number == 75:
                publisher.send(type="append", topic="a/b", id="an-open-stream", n=0, state="complete")
            if not takes:
                publisher.line.repeated = None
            texts = [hostile(chance, 4 * number + n) for n in range(chance.choice((1, 1, 1, 3)))]
            if not echo:
                texts = [text.replace(b'"echo":true', b'"echo":false') for text in texts]
            taken += take(publisher, *texts)
            found += [comparable(each.take(), places) for each in (publisher, *listeners)]
        node.hub.sweep()
        counters = node.hub.counters
        found.append((counters.publishes, counters.bytes_in, counters.acks, sum(counters.publish_ack.counts)))
        found.append(
            (dict(counters.errors), counters.channel("a/b/default", "event").deliveries, publisher.session.closed)
        )
        return found, taken


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("seed", range(6))
async def test_everything_is_as_without_the_short_way(tmp_path: Path, seed: int, *, echo: bool) -> None:
    for each in ("with", "without"):
        (tmp_path / each).mkdir()
    found, taken = await everything(tmp_path / "with", seed, takes=True, echo=echo)
    expected, none = await everything(tmp_path / "without", seed, takes=False, echo=echo)
    assert found == expected
    assert taken > 10
    assert none == 0


async def test_an_acknowledgement_names_the_place_of_its_event(node: Stage) -> None:
    publisher, listener = await expecting(node, "ann", id="i-0"), await listening(node)
    assert read(publisher, {"n": 1}, id="i-1")
    [event] = listener.take()
    assert event.pop("data") == {"n": 1}
    assert (event["id"], event["userId"], event["topic"]) == ("i-1", "ann", "a/b/default")
    assert publisher.take() == [
        {"type": "ack", "id": "i-1", "cursor": event["cursor"], "timestamp": event["timestamp"]}
    ]


async def test_acknowledgements_of_one_read_are_written_at_once(node: Stage) -> None:
    publisher = await expecting(node, id="i-0")
    await listening(node)
    assert take(
        publisher, *(b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"i-%d"}' % n for n in range(1, 5))
    )
    assert len(publisher.line.written) == 1
    assert [each["id"] for each in publisher.take()] == ["i-1", "i-2", "i-3", "i-4"]


async def test_a_repeated_id_is_acknowledged_and_not_delivered_again(node: Stage) -> None:
    publisher, listener = await expecting(node, id="i-0"), await listening(node)
    for _ in range(2):
        assert read(publisher, 1, id="i-1")
    first, second = publisher.take()
    assert second == {**first, "duplicate": True}
    assert len(listener.take()) == 1
    assert take(
        publisher, *(b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"i-%d"}' % n for n in (2, 2, 3))
    )
    assert [each.get("duplicate") for each in publisher.take()] == [None, True, None]
    assert [each["id"] for each in listener.take()] == ["i-2", "i-3"]


async def test_an_id_belongs_to_its_user_in_every_way_of_publishing(node: Stage) -> None:
    ann, ben, listener = (
        await expecting(node, "ann", id="i-0"),
        await expecting(node, "ben", id="i-0"),
        await listening(node),
    )
    for publisher in (ann, ben):
        assert read(publisher, 1, id="i-1")
    ann.send(type="publish", topic="a/b", event="another", data=2, id="i-1")
    assert [each.get("duplicate") for each in ann.take()] == [None, True]
    assert [each.get("duplicate") for each in ben.take()] == [None]
    assert [each["userId"] for each in listener.take()] == ["ann", "ben"]


async def test_an_id_may_be_used_again_after_its_time(node: Stage) -> None:
    publisher, listener = await expecting(node, id="i-0"), await listening(node)
    assert read(publisher, 1, id="i-1")
    node.hub._publishing.forget_below(node.hub._journal.last + 1)
    assert read(publisher, 2, id="i-1")
    assert [each.get("duplicate") for each in publisher.take()] == [None, None]
    assert [each["data"] for each in listener.take()] == [1, 2]


async def test_an_id_waits_for_the_message_that_it_may_repeat(node: Stage) -> None:
    publisher, listener = await expecting(node, id="i-0"), await listening(node)
    publisher.send(type="publish", topic="a/b", event="e", data="stored", persist=True, id="i-1")
    assert read(publisher, "a repeat", id="i-1")
    assert read(publisher, "behind it", id="i-2")
    await node.hub.drain()
    await listener.written()
    assert [each["data"] for each in listener.take()] == ["stored", "behind it"]
    acks = {(each["id"], each.get("duplicate", False)) for each in publisher.take()}
    assert acks == {("i-1", False), ("i-1", True), ("i-2", False)}


async def test_subscribers_with_streams_receive_them_too(node: Stage) -> None:
    publisher, listener = await expecting(node, id="i-0"), await listening(node, streams=True)
    assert read(publisher, "for all", id="i-1")
    [event] = listener.take()
    [ack] = publisher.take()
    assert (event["id"], event["cursor"]) == (ack["id"], ack["cursor"])


async def test_those_who_resume_receive_them_with_their_ids(node: Stage) -> None:
    publisher, listener = await expecting(node, id="i-0"), await listening(node)
    read(publisher, 1, id="i-1")
    [event] = listener.take()
    read(publisher, 2, id="i-2")
    [live] = listener.take()
    _, missed = await node.connect().ask(type="subscribe", topic="a/b", since=event["cursor"])
    assert missed == live


async def test_rates_are_limited_with_ids(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, messages_per_second=1, messages_burst=5, frame_bytes=100)
    async with stage(tmp_path, limits=limits) as node:
        publisher, listener = await expecting(node, id="i-0"), await listening(node)
        for number in range(5):
            read(publisher, number, id=f"i-{number + 1}")
        assert [each["data"] for each in listener.take()] == [0, 1, 2]
        answers = publisher.take()
        assert [each["id"] for each in answers] == ["i-1", "i-2", "i-3", "i-4", "i-5"]
        assert [each.get("code") for each in answers] == [None, None, None, "rate_limited", "rate_limited"]
        node.clock.seconds += 10
        read(publisher, "x" * 100, id="i-6")
        assert [(each["code"], each["id"]) for each in publisher.take()] == [("too_large", "i-6")]


async def test_a_peer_that_takes_no_acknowledgement_is_too_slow(node: Stage) -> None:
    publisher = await expecting(node, id="i-0")
    await listening(node)
    publisher.line.stalled = 3 * UNLIMITED.buffer_bytes
    assert read(publisher, 1, id="i-1")
    assert publisher.session.closed == close_codes.SLOW_CONSUMER
    assert publisher.take() == []
