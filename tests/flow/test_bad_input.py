"""Bad input: the right error, the connection open unless docs/protocol.md §7 says otherwise, others unharmed."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.flow.wire import (
    ABNORMAL,
    BINARY,
    CLOSE,
    CONTINUATION,
    PATIENCE_SECONDS,
    PING,
    PONG,
    TEXT,
    Dial,
    Wire,
    frame,
)

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

PUBLISH = b'{"type":"publish","topic":"bad/data","event":"e","id":"1","data":'


@pytest.fixture(autouse=True)
async def witness(node: "ServerProcess", dial: Dial) -> AsyncIterator[None]:
    """Two clients that behave: what one says before and after the abuse, the other hears, all of it."""
    topic = f"witness/{os.urandom(6).hex()}"
    speaker, hearer = await dial(node), await dial(node)
    await hearer.subscribe(topic)
    for number in range(5):
        await speaker.publish(topic, number)
    yield
    for number in range(5, 15):
        await speaker.publish(topic, number, persist=number % 2 == 0)
    assert [event["data"] for event in await hearer.events(15)] == list(range(15))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"nonsense",
        b"null",
        b"[]",
        b'"text"',
        b"12",
        b"{}",
        b'{"type":"ping"} trailing',
        b'{"type":"ping",}',
        b'{"type":5}',
        b'{"type":null}',
        b"\xff\xfe",
        b'{"type":"pi\xffng"}',
        b"\xef\xbb\xbf{}",
        b"\0" * 100,
        b"[" * 60_000,
        b'{"a":' * 10_000,
        PUBLISH + b'"\xff"}',
        PUBLISH + b'"\xed\xa0\x80"}',
        PUBLISH + b'"\\q"}',
        PUBLISH + b'"\\ud800"}',
        PUBLISH + b'"a\nb"}',
        PUBLISH + b"NaN}",
        PUBLISH + b"01}",
        PUBLISH + b"[1,]}",
        PUBLISH + b"[" * 1000 + b"]" * 1000 + b"}",
    ],
)
async def test_a_frame_without_a_command_is_a_bad_message(
    node: "ServerProcess", dial: Dial, payload: bytes
) -> None:
    wire = await dial(node)
    wire.write(frame(payload))
    error = await wire.next()
    assert (error["type"], error["code"], error["retryable"]) == ("error", "bad_message", False)
    assert await wire.settled() == []


@pytest.mark.parametrize(
    "command",
    [
        {"type": "subscribe"},
        {"type": "subscribe", "topic": 5},
        {"type": "subscribe", "topic": "a/b", "filter": "x"},
        {"type": "subscribe", "topic": "a/b", "presence": "no"},
        {"type": "publish", "topic": "a/b"},
        {"type": "publish", "topic": "a/b", "event": 5, "data": 1},
        {"type": "publish", "topic": "a/b", "event": "e", "data": 1, "persist": "yes"},
        {"type": "publish", "topic": "a/b", "event": "e", "data": 1, "echo": 1},
        {"type": "publish", "topic": None, "event": "e", "data": 1},
        {"type": "track", "topic": "a/b"},
        {"type": "track", "topic": "a/b", "state": []},
        {"type": "track", "topic": "a/b", "state": None},
        {"type": "untrack"},
        {"type": "auth"},
        {"type": "auth", "token": 5},
        {"type": "chat", "roomId": "x"},
        {"type": "chat", "roomId": 5, "text": "x"},
    ],
)
async def test_a_wrong_field_is_a_bad_message_that_names_its_id(
    node: "ServerProcess", dial: Dial, command: dict[str, Any]
) -> None:
    wire = await dial(node)
    wire.say(**command, id="c-1")
    error = await wire.next()
    assert (error["type"], error["code"], error["id"]) == ("error", "bad_message", "c-1")
    assert await wire.settled() == []


async def test_an_unknown_type_gets_an_error(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    error = await wire.ask("subscirbe", topic="a/b")
    assert (error["code"], error["retryable"], error["topic"]) == ("unknown_type", False, "a/b")


async def test_unknown_fields_are_ignored(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    await wire.subscribe("bad/fields", colour="red", nested={"a": [1]})


async def test_a_binary_frame_is_a_bad_message(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    wire.write(frame(b'{"type":"ping"}', BINARY))
    assert (await wire.next())["code"] == "bad_message"
    assert await wire.settled() == []


async def test_a_frame_has_up_to_64_kib(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    await wire.subscribe("bad/data")
    fits = PUBLISH + b'"' + b"x" * (65536 - len(PUBLISH) - 3) + b'"}'
    assert len(fits) == 65536
    wire.write(frame(fits))
    assert (await wire.next())["type"] == "ack"
    assert len((await wire.next())["data"]) == 65536 - len(PUBLISH) - 3
    for size in (65537, 300_000, 1_000_000):
        wire.write(frame(PUBLISH + b'"' + b"x" * (size - len(PUBLISH) - 3) + b'"}'))
        error = await wire.next()
        assert (error["code"], error["id"], error["retryable"]) == ("too_large", "1", False)
    assert await wire.settled() == []


async def test_a_frame_beyond_a_mebibyte_may_end_the_connection(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    wire.write(frame(b"x" * (1024 * 1024 + 1)))
    assert (await wire.ended()).code in (1009, ABNORMAL)


async def test_a_frame_that_claims_to_be_endless_ends_the_connection(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    wire.write(b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"\0\0\0\0")
    assert (await wire.ended()).code in (1009, 1002, ABNORMAL)


async def test_data_is_passed_on_however_deep_up_to_the_bound(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    await wire.subscribe("bad/deep")
    head = b'{"type":"publish","topic":"bad/deep","event":"deep","data":'
    wire.write(frame(head + b"[" * 127 + b"]" * 127 + b"}"))
    assert (await wire.hear("event"))["event"] == "deep"


async def test_the_connection_ends_at_the_limit_of_bad_messages(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    for _ in range(20):
        wire.write(frame(b"nonsense"))
    for _ in range(20):
        assert (await wire.next())["code"] == "bad_message"
    assert (await wire.ended()).code == 4400


async def test_what_is_sent_after_the_end_is_not_heard(node: "ServerProcess", dial: Dial) -> None:
    hearer, wire = await dial(node), await dial(node)
    await hearer.subscribe("bad/late")
    late = json.dumps({"type": "publish", "topic": "bad/late", "event": "e", "data": "late"}).encode()
    wire.write(frame(b"nonsense") * 20 + frame(late))
    assert (await wire.ended()).code == 4400
    assert await hearer.settled() == []


async def test_fragments_are_one_message(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    command = b'{"type":"ping"}'
    parts = [command[at : at + 1] for at in range(len(command))]
    wire.write(frame(parts[0], TEXT, fin=False))
    for part in parts[1:-1]:
        wire.write(frame(part, CONTINUATION, fin=False))
        wire.write(frame(b"between", PING))
    wire.write(frame(parts[-1], CONTINUATION))
    assert await wire.next() == {"type": "pong"}


@pytest.mark.parametrize("size", [0, 1, 100])
async def test_a_flood_of_fragments_harms_nobody(node: "ServerProcess", dial: Dial, size: int) -> None:
    before = resident(node)
    wire = await dial(node)
    wire.write(frame(b"{", TEXT, fin=False))
    for _ in range(20):
        wire.write(frame(b"x" * size, CONTINUATION, fin=False) * 1000)
        await wire.writer.drain()
    assert (await wire.ended()).code == 4400
    assert resident(node) - before < 16 << 20


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_control_frames_of_a_client_that_never_reads_are_bounded(
    node: "ServerProcess", dial: Dial, opcode: int
) -> None:
    before = resident(node)
    flood = frame(b"x" * 125, opcode) * 1000
    wire, other = await dial(node), await dial(node)

    async def pour() -> None:
        try:
            for _ in range(400):
                wire.write(flood)
                await wire.writer.drain()
        except ConnectionError:
            pass  # cut: that is one way to bound it

    pouring = asyncio.create_task(pour())
    for number in range(50):
        await other.publish("bad/flood", number)
    done, _ = await asyncio.wait([pouring], timeout=PATIENCE_SECONDS)
    wire.drop()
    pouring.cancel()
    await asyncio.gather(pouring, return_exceptions=True)
    assert done
    assert resident(node) - before < 24 << 20


async def test_a_ping_frame_is_answered_with_its_payload(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    for payload in (b"", b"payload", b"x" * 125):
        wire.write(frame(payload, PING))
        assert await wire.control(PONG) == payload


@pytest.mark.parametrize(
    "data",
    [
        frame(b"x", 3),
        frame(b"x", 11),
        b"\xc1\x80\0\0\0\0",
        frame(b"x" * 126, PING),
        frame(b"x", PING, fin=False),
        frame(b"x", CONTINUATION),
        frame(b"x", fin=False) + frame(b"x"),
        frame(b"\x03", CLOSE),
        frame(b"\x00\x01", CLOSE),
    ],
    ids=str,
)
async def test_a_violation_of_websocket_itself_ends_the_connection(
    node: "ServerProcess", dial: Dial, data: bytes
) -> None:
    wire = await dial(node)
    wire.write(data)
    assert (await wire.ended()).code in (1002, ABNORMAL)


async def test_a_close_is_answered_with_its_code(node: "ServerProcess", dial: Dial) -> None:
    for body, code in ((b"\x03\xe8", 1000), (b"\x0f\xa0bye", 4000), (b"", 1000)):
        wire = await dial(node)
        wire.write(frame(body, CLOSE))
        assert (await wire.ended()).code == code


async def test_a_handshake_that_never_ends_is_ended(serve: Callable[[str], Awaitable["ServerProcess"]]) -> None:
    server = await serve("anonymous = true\n[limits]\nhandshake_seconds = 2")
    parts = urlsplit(server.url)
    halves = (b"", b"GET /api/realtime HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nX: ")
    opened = [await asyncio.open_connection(parts.hostname, parts.port) for _ in halves]
    for half, (_, writer) in zip(halves, opened, strict=True):
        writer.write(half)
    for reader, writer in opened:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await reader.read()
        writer.close()
    wire = await Wire.open(server.url)
    assert (await wire.next())["type"] == "connected"
    wire.drop()


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET /" + b"x" * 100_000, b"\0" * 1000, b"GET / HTTP/9\r\n\r\n"]
)
async def test_bytes_that_are_no_request_are_refused(node: "ServerProcess", sent: bytes) -> None:
    parts = urlsplit(node.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(sent)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readline()).split()[1] in (b"400", b"431")
    writer.close()


def resident(server: "ServerProcess") -> int:
    """The server's memory, in bytes."""
    with open(f"/proc/{server.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
