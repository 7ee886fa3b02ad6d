"""Compressed messages of a connection."""

import asyncio
import gc
import tracemalloc
import zlib

from aiohttp.http import WebSocketReader

from aerostack_realtime.gateway.websocket.framing import Framing
from aerostack_realtime.protocol import frames
from aerostack_realtime.protocol.deflate import RSV1, compressed
from tests.flow.wire import BINARY, CONTINUATION, PING, PONG, TEXT, frame
from tests.unit.gateway.websocket.connection import Connection


def packed(message: bytes) -> bytes:
    """A compressed message."""
    deflater = zlib.compressobj(wbits=-15)
    body = deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return frame(body.removesuffix(b"\x00\x00\xff\xff"), TEXT | RSV1)


async def turns() -> None:
    """Let the loop run as often as a hundred messages need, one by one."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_compressed_messages_are_handled_in_order_with_the_others() -> None:
    connection = Connection(compression=True)
    connection.socket.data_received(packed(b"one") + frame(b"two") + packed(b"wait") + packed(b"three"))
    assert connection.peer.received == [b"one", b"two", b"wait"]
    assert connection.peer.shown == [b"three"]
    await connection.peer.release()
    assert connection.peer.received == [b"one", b"two", b"wait", "waited", b"three"]


async def test_compressed_messages_that_wait_stay_compressed() -> None:
    connection = Connection(compression=True)
    connection.socket.data_received(packed(b"wait"))
    tracemalloc.start()
    connection.socket.data_received(packed(b"0" * 1_000_000) * 50)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held - sum(len(each) for each in connection.peer.shown if isinstance(each, bytes)) < 1_000_000
    await connection.peer.release()
    await turns()
    assert connection.peer.received[2:] == [b"0" * 1_000_000] * 50


async def test_bytes_may_be_cut_anywhere() -> None:
    stream = (
        frame(b"one") + frame(b"two") + frame(b"", PONG) + frame(b"th", fin=False) + frame(b"ree", CONTINUATION)
    )
    stream += frame(b"bytes", BINARY) + frame(b"four") + frame(b"now", PING) + frame(b"x" * 130) + frame(b"last")
    for place in range(len(stream)):
        connection = Connection()
        for part in filter(None, (stream[:place], stream[place : place + 9], stream[place + 9 :])):
            connection.socket.data_received(part)
        assert connection.peer.received == [
            *(b"one", b"two", "pong", b"three", "binary", b"four", ("ping", b"now"), b"x" * 130, b"last")
        ]


async def test_an_idle_connection_keeps_no_parser() -> None:
    connection = Connection()
    for each in (frame(b"text"), frame(b"", PONG), frame(b"a ", fin=False), frame(b"text", CONTINUATION)):
        connection.socket.data_received(each)
    assert connection.peer.received == [b"text", "pong", b"a text"]
    assert not any(isinstance(each, WebSocketReader | Framing) for each in gc.get_referents(connection.socket))


async def test_a_message_takes_longer_turns_the_more_it_is_inflated() -> None:
    connection = Connection(compression=True)
    connection.socket.data_received(packed(b"0" * 1_000_000) + frame(b"later"))
    assert connection.peer.received == [b"0" * 1_000_000]
    await turns()
    assert connection.peer.received[1] == b"later"


async def test_a_bomb_ends_the_connection() -> None:
    connection = Connection(compression=True)
    connection.socket.data_received(packed(b"0" * 10_000_000) + frame(b"late"))
    assert connection.peer.closed == 1009
    assert connection.peer.received == []


async def test_large_frames_are_written_compressed_if_that_was_negotiated() -> None:
    large = frames.text(b"0" * 5_000)
    for compression in (False, True):
        connection = Connection(compression=compression)
        connection.socket.write(large + frames.PING)
        assert connection.network.written[1] == (compressed(large) if compression else large) + frames.PING
        shared = connection.socket.write_shared
        assert (shared is not None) is compression
