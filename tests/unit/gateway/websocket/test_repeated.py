"""Publishes that repeat the one before with other data: what is taken for one, and that nothing else changes."""

import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from aerostack_realtime.access.rules import ChannelRule, Rules
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from aerostack_realtime.gateway.websocket.repeated import (
    MISSES,
    prefix_of,
    repeated_data,
    repeated_data_in_python,
)
from aerostack_realtime.protocol import messages
from tests.flow.wire import BINARY, CONTINUATION, PING, TEXT, frame
from tests.unit.gateway.websocket.stage import Connection, Stage, stage

PREFIX = b'{"type":"publish","topic":"a/b","event":"e","data":'
WAYS = (repeated_data, repeated_data_in_python)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def masked(text: bytes, mask: bytes = b"\x01\xfe\x7f\x80") -> bytes:
    """The frame of a text, under a mask."""
    plain = frame(text)
    head = plain[: len(plain) - len(text) - len(mask)]
    return head + mask + bytes(each ^ mask[index & 3] for index, each in enumerate(text))


@given(JSON, st.booleans(), st.booleans(), st.binary(min_size=4, max_size=4))
def test_what_is_taken_is_the_data_that_the_decoder_finds(
    data: Any, escaped: bool, spaced: bool, mask: bytes
) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    value = json.dumps(data, ensure_ascii=escaped, separators=separators).encode(errors="replace")
    read = masked(PREFIX + value + b"}", mask)
    plain = value.isascii() and b"\\u" not in value and b"\x7f" not in value
    for way in WAYS:
        for times in (1, 3):
            found = way(read * times, PREFIX, 127)
            assert found == [value] * times or (found is None and not plain)


@given(st.one_of(st.binary(), st.text('{}[]",:\\ u0123e.+-truefalsn\x00\x1f', max_size=12).map(str.encode)))
@example(b'1,"persist":true')
@example(b'"\\\x00"')
@example(b"01")
@example(b"1.e3")
@example(b"-")
@example(b"[1,]")
@example(b'{"a":1,}')
@example(b" 1")
@example(b"1 ")
def test_what_the_decoder_refuses_or_reads_otherwise_is_not_taken(value: bytes) -> None:
    text = PREFIX + value + b"}"
    try:
        command = messages.decode_command(text)
    except messages.InvalidCommand:
        command = None
    for way in WAYS:
        if (found := way(masked(text), PREFIX, 127)) is not None:
            assert command == messages.Publish("a/b", "e", msgspec.Raw(value)), "the same command with other data"
            assert found == [value]


@pytest.mark.parametrize("way", WAYS)
def test_only_whole_texts_with_the_prefix_are_taken(way: Any) -> None:
    text = PREFIX + b"1}"
    assert way(masked(text), PREFIX, 127) == [b"1"]
    others = (
        b"",
        masked(text)[:-1],
        masked(text) + b"\x81",
        masked(text) + masked(b'{"type":"ping"}'),
        masked(text.replace(b"a/b", b"a/c")),
        masked(PREFIX + b"}"),
        masked(text[:-1]),
        frame(text, TEXT, fin=False),
        frame(text, CONTINUATION),
        frame(text, BINARY),
        frame(text, TEXT, masked=False),
        masked(text) + frame(b"", PING),
    )
    for other in others:
        assert way(other, PREFIX, 127) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("levels", [0, 1, 5, 127])
def test_deeper_values_are_left_to_the_decoder(way: Any, levels: int) -> None:
    fits = b"[" * levels + b"1" + b"]" * levels
    assert way(masked(PREFIX + fits + b"}"), PREFIX, levels) == [fits]
    assert way(masked(PREFIX + b"[" + fits + b"]}"), PREFIX, levels) is None


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"7"}',
        b'{"type":"publish","topic":"a/b","event":"e","persist":true,"data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","echo":false,"data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","stream":true,"data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","ref":"r","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","traceparent":"t","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","compacts":"c","data":1}',
        b'{"type":"publish","topic":"a/b","data":1,"event":"e"}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"x\\"data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"mydata":1}',
        b'{"type":"publish","topic":"a/b","event":"e","d\\u0061ta":1}',
        b'{"type":"publish","topic":"a/b","event":"e","data":{"data":1},"x":{"data":1}}',
        b'{"type":"publish","topic":"a/b","event":"e"}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1 }',
    ],
)
def test_a_publish_with_options_or_with_data_elsewhere_is_not_repeated(text: bytes) -> None:
    command = messages.decode_command(text)
    assert isinstance(command, messages.Publish)
    assert prefix_of(text, command) is None


@pytest.mark.parametrize(
    "prefix",
    [
        PREFIX,
        b'{ "data": 1, "event": "e", "topic": "a/b", "type": "publish", "data": ',
        b'{"type":"publish","topic":"a/b","event":"e","x":{"data":2},"data":',
    ],
)
def test_what_stands_before_the_data_is_the_prefix(prefix: bytes) -> None:
    text = prefix + b'{"data":2}}'
    command = messages.decode_command(text)
    assert isinstance(command, messages.Publish)
    assert prefix_of(text, command) == prefix
    assert messages.decode_command(prefix + b"[3]}") == messages.Publish("a/b", "e", msgspec.Raw(b"[3]"))


# --- a session ---------------------------------------------------------------------------------------------


def read(connection: Connection, data: Any, *, topic: str = "a/b", event: str = "e") -> Awaitable[None] | None:
    """Give a connection the bytes of a publish, as its socket does."""
    text = msgspec.json.encode({"type": "publish", "topic": topic, "event": event, "data": data})
    repeated = connection.line.repeated
    if repeated is not None and repeated.take(masked(text)):
        return None
    return connection.session.receive(text)


async def expecting(node: Stage, user: str | None = None) -> Connection:
    """A connection that has published twice, so that what repeats it is expected."""
    publisher = node.connect(user)
    read(publisher, "first")
    before = publisher.line.repeated
    read(publisher, "second")
    assert before is None, "many connections publish once only"
    assert publisher.line.repeated is not None
    return publisher


async def listening(node: Stage, **options: Any) -> Connection:
    listener = node.connect()
    await listener.ask(type="subscribe", topic="a/b", **options)
    return listener


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def test_repeated_events_are_those_of_any_publish(node: Stage) -> None:
    publisher, listener = await expecting(node, "ann"), await listening(node)
    read(publisher, {"n": 1})
    publisher.session.receive(b'{"type":"publish","topic":"a/b","event":"e","data":{"n":2}}')
    read(publisher, {"n": 3})
    first, second, third = listener.take()
    assert [each.pop("data") for each in (first, second, third)] == [{"n": 1}, {"n": 2}, {"n": 3}]
    positions = [int(each["cursor"].partition(".")[2]) for each in (first, second, third)]
    assert positions == sorted(set(positions))
    assert [int(each["id"], 16) for each in (first, second, third)] == positions
    for each in (first, second, third):
        assert each.keys() == {"type", "topic", "event", "timestamp", "id", "cursor", "userId"}
        assert (each["type"], each["topic"], each["event"], each["userId"]) == ("event", "a/b/default", "e", "ann")
        assert each["cursor"].partition(".")[0] == node.hub.generation


async def test_they_are_in_the_log_and_counted(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    node.hub.sweep()
    counters, events = node.hub.counters, node.hub.counters.channel("a/b/default", "event").events
    publishes, size = counters.publishes, counters.bytes_in
    read(publisher, 1)
    [event] = listener.take()
    read(publisher, 2)
    node.hub.sweep()
    assert counters.publishes == publishes + 2
    assert counters.bytes_in == size + 2 * len(PREFIX + b"1}")
    assert counters.channel("a/b/default", "event").events == events + 2
    late = node.connect()
    _, missed = await late.ask(type="subscribe", topic="a/b", since=event["cursor"])
    assert missed["data"] == 2


async def test_without_subscribers_they_are_kept_for_those_who_resume(node: Stage) -> None:
    publisher = await expecting(node)
    [subscribed] = await node.connect().ask(type="subscribe", topic="other/room")
    read(publisher, "kept")
    late = node.connect()
    frames = await late.ask(type="subscribe", topic="a/b", since=subscribed["cursor"])
    assert "kept" in [each.get("data") for each in frames]


async def test_they_wait_behind_a_message_that_is_being_stored(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    publisher.send(type="publish", topic="a/b", event="e", data="stored", persist=True)
    read(publisher, "behind it")
    assert listener.take() == []
    await node.hub.drain()
    await listener.written()
    assert [each["data"] for each in listener.take()] == ["stored", "behind it"]


async def test_subscribers_with_streams_receive_them(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node, streams=True)
    read(publisher, "for all")
    assert [each["data"] for each in listener.take()] == ["for all"]


async def test_other_rules_end_it(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    node.guard.change(Rules((ChannelRule("**", "anyone", "server", "anyone", "anyone"),), ()), node.memberships)
    pending = publisher.session.apply_rules(moved=True)
    assert pending is not None
    await pending
    assert publisher.line.repeated is None
    read(publisher, "refused")
    assert [each["code"] for each in publisher.take()] == ["forbidden"]
    assert listener.take() == []


async def test_another_identity_ends_it(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    pending = publisher.send(type="auth", token=node.token("ann"))
    assert pending is not None
    await pending
    assert publisher.line.repeated is None
    for _ in range(3):
        read(publisher, "as ann")
    assert {each["userId"] for each in listener.take()} == {"ann"}


async def test_a_closed_session_publishes_nothing(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    publisher.session.close(4000, "test")
    read(publisher, "late")
    assert listener.take() == []


async def test_one_that_is_not_repeated_any_more_is_replaced(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    before = publisher.line.repeated
    for _ in range(MISSES - 1):
        read(publisher, 0, event="another")
        assert publisher.line.repeated is before
    read(publisher, 1, event="another")
    assert publisher.line.repeated is not before
    read(publisher, 2, event="another")
    assert [each["event"] for each in listener.take()] == ["another"] * (MISSES + 1)


async def test_rates_and_sizes_are_limited_as_always(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, messages_per_second=1, messages_burst=5, frame_bytes=100)
    async with stage(tmp_path, limits=limits) as node:
        publisher, listener = await expecting(node), await listening(node)
        for number in range(5):
            read(publisher, number)
        assert [each["data"] for each in listener.take()] == [0, 1, 2]
        assert [each["code"] for each in publisher.take()] == ["rate_limited"] * 2
        node.clock.seconds += 10
        read(publisher, "x" * 100)
        assert [each["code"] for each in publisher.take()] == ["too_large"]
        read(publisher, 7)
        assert [each["data"] for each in listener.take()] == [7]


async def test_bytes_are_limited_as_always(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, publish_bytes_per_second=1, publish_bytes_burst=300)
    async with stage(tmp_path, limits=limits) as node:
        publisher, listener = await expecting(node), await listening(node)
        for number in range(5):
            read(publisher, number)
        taken = [each["data"] for each in listener.take()]
        assert taken == list(range(len(taken)))
        assert 0 < len(taken) < 5
        assert [each["code"] for each in publisher.take()] == ["rate_limited"] * (5 - len(taken))
