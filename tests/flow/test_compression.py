"""Compression on the wire (docs/protocol.md §1): with other implementations, bombs and slow clients."""

import asyncio
import json
import random
import subprocess
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from aerostack_realtime.protocol.deflate import RSV1
from tests.flow.wire import CONTINUATION, PATIENCE_SECONDS, TEXT, Dial, Wire, frame

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
pytestmark = pytest.mark.database("sqlite")

ROOT = Path(__file__).parents[2]
OFFER = "Sec-WebSocket-Extensions"
DEFLATE = (OFFER, "permessage-deflate; client_max_window_bits")
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
SLOW = """
anonymous = true
[limits]
buffer_bytes = 200000
publish_bytes_per_second = 0
[[logs]]
pattern = "**"
max_bytes = 50000000
"""
LARGE = "A sentence that repeats itself. " * 500
NODE = """
const WebSocket = require("ws");
const [url, topic, size] = process.argv.slice(1);
const socket = new WebSocket(`${url.replace("http", "ws")}/api/realtime?projectId=default`, ["aerostack-v1"]);
socket.on("open", () => socket.send(JSON.stringify({ type: "subscribe", topic, id: "s" })));
socket.on("message", (data) => {
  const message = JSON.parse(data);
  if (message.type === "subscribed") console.log(socket.extensions);
  if (message.type === "event" && message.event === "end") socket.close();
  if (message.type === "event" && message.event === "text") {
    socket.send(JSON.stringify({ type: "publish", topic, event: "echo", data: message.data, id: "echo" }));
  }
});
"""


def packed(message: dict[str, Any] | bytes) -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


async def test_clients_of_other_implementations_read_and_write_compressed(
    node: "ServerProcess", dial: Dial
) -> None:
    topic = "compression/others"
    plain = await dial(node)
    await plain.subscribe(topic)
    one_step = await dial(node, headers=[DEFLATE])
    by_aiohttp = await dial(node, headers=[(OFFER, "x-unknown"), DEFLATE])  # a header twice is left to aiohttp
    assert (one_step.extensions, by_aiohttp.extensions, plain.extensions) == (ANSWER, ANSWER, None)
    for wire in (one_step, by_aiohttp):
        await wire.subscribe(topic)
    javascript = await asyncio.create_subprocess_exec(
        "node", "-e", NODE, node.url, topic, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert javascript.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
            assert "permessage-deflate" in (await javascript.stdout.readline()).decode()
            url = f"{node.url}/api/realtime?projectId=default"
            async with session.ws_connect(url, compress=15) as python:
                assert python.compress, "the library has negotiated it"
                await python.send_json({"type": "subscribe", "topic": topic, "id": "s"})
                await python.send_json(
                    {"type": "publish", "topic": topic, "event": "text", "data": LARGE, "id": "p"}
                )
                heard: list[str] = []
                while len(heard) < 2:
                    message = await python.receive_json()
                    heard += [message["data"]] if message["type"] == "event" else []
        assert heard == [LARGE, LARGE], "its own, and the echo of the other"
        for wire in (plain, one_step, by_aiohttp):
            assert [each["data"] for each in await wire.events(2)] == [LARGE, LARGE]
        assert (plain.compressed, one_step.compressed, by_aiohttp.compressed) == (0, 2, 2)
        await plain.publish(topic, 1, event="end")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await javascript.wait() == 0
    finally:
        if javascript.returncode is None:
            javascript.kill()
            await javascript.wait()


async def test_a_command_comes_compressed_and_in_fragments(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node, headers=[DEFLATE])
    await wire.subscribe("compression/fragments")
    body = packed({"type": "publish", "topic": "compression/fragments", "event": "m", "data": LARGE, "id": "p"})
    wire.write(frame(body[:20], TEXT | RSV1, fin=False))
    wire.say("ping")
    assert (await wire.ended()).code == 1002, "a message inside another"
    wire = await dial(node, headers=[DEFLATE])
    await wire.subscribe("compression/fragments")
    wire.write(frame(body[:20], TEXT | RSV1, fin=False) + frame(body[20:], CONTINUATION))
    assert (await wire.hear("event"))["data"] == LARGE


@pytest.mark.parametrize("offer", [DEFLATE, None])
async def test_a_bomb_ends_its_connection_and_no_other(
    node: "ServerProcess", dial: Dial, offer: tuple[str, str] | None
) -> None:
    """A frame of 50 KB that would be 50 MB; without the extension it is a violation of the protocol."""
    beside = await dial(node, headers=[DEFLATE])
    wire = await dial(node, headers=[offer] if offer else [])
    wire.write(frame(packed(b"0" * 50_000_000), TEXT | RSV1))
    assert (await wire.ended()).code == (1009 if offer else 1002)
    assert await beside.settled() == []


async def test_a_slow_client_gets_each_message_compressed_and_in_order(serve: Serve, dial: Dial) -> None:
    server = await serve(SLOW)
    topic, count, noise = "compression/slow", 400, random.Random(7)
    slow, quick = await dial(server, headers=[DEFLATE]), await dial(server, headers=[DEFLATE])
    for wire in (slow, quick):
        await wire.subscribe(topic)
    for n in range(count):  # what noise in base64 shrinks to is still more than all buffers
        await quick.publish(topic, {"n": n, "text": b64encode(noise.randbytes(24_000)).decode()})
    for wire in (quick, slow):
        assert [each["data"]["n"] for each in await wire.events(count)] == list(range(count))
        assert wire.compressed >= count


async def test_compression_can_be_switched_off(serve: Serve, dial: Dial) -> None:
    server = await serve("anonymous = true\ncompression = false")
    wire: Wire = await dial(server, headers=[DEFLATE])
    assert wire.extensions is None
    await wire.subscribe("compression/off")
    await wire.publish("compression/off", LARGE)
    assert (await wire.events(1))[0]["data"] == LARGE
    assert wire.compressed == 0
