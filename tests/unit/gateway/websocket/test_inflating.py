"""What a connection with permessage-deflate reads, whatever pieces it comes in."""

import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import WSMsgType
from aiohttp.http import WebSocketError
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.gateway.websocket.inflating import CompressedText, InflatingReader
from aerostack_realtime.protocol.deflate import RSV1
from tests.flow.wire import BINARY, CONTINUATION, PING, PONG, TEXT, frame

LIMIT = 1_000


if TYPE_CHECKING:

    class DataQueue:
        """aiohttp's, as its reader knows it."""

else:
    from aiohttp._websocket.reader import WebSocketDataQueue as DataQueue


class Queue(DataQueue):
    """Keeps what is read, inflated, and the code of what was refused."""

    def __init__(self) -> None:
        self.read: list[tuple[int, bytes]] = []
        self.refused: int | None = None

    def feed_data(self, message: Any, _size: int) -> None:
        if isinstance(message, CompressedText):
            try:
                self.read.append((TEXT, message.inflated(LIMIT)))
            except WebSocketError as error:
                self.refused = error.code
        else:
            self.read.append((int(message.type), bytes(message.data)))

    def set_exception(self, error: BaseException, _cause: BaseException | None = None) -> None:
        assert isinstance(error, WebSocketError), error
        self.refused = error.code

    def feed_eof(self) -> None:
        """It does not end."""


def packed(message: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def masked(data: bytes, mask: bytes) -> bytes:
    """A frame of `tests.flow.wire.frame`, with another mask."""
    size = data[1] & 0x7F
    head = 2 if size < 126 else 4 if size == 126 else 10
    payload = data[head + 4 :]
    return data[:head] + mask + bytes(each ^ mask[n % 4] for n, each in enumerate(payload))


def small(message: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """A compressed frame."""
    return frame(packed(message), opcode | RSV1, fin=fin)


def read(data: bytes, size: int | None = None) -> Queue:
    queue = Queue()
    reader = InflatingReader(queue, LIMIT)
    step = size or max(1, len(data))
    for at in range(0, len(data), step):
        if queue.refused is None:
            reader.feed_data(memoryview(data)[at : at + step])
    return queue


def fragments(message: bytes, cuts: list[int], between: bytes = b"") -> bytes:
    """A compressed message in fragments, which may be empty."""
    body = packed(message)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    parts = [body[a:b] for a, b in pairwise(places)]
    sent = []
    for n, part in enumerate(parts):
        opcode = TEXT | RSV1 if n == 0 else CONTINUATION
        sent.append(frame(part, opcode, fin=n == len(parts) - 1))
    return between.join(sent)


MESSAGE = st.binary(max_size=300)
SENT = st.one_of(
    st.tuples(st.just("plain"), MESSAGE),
    st.tuples(st.just("compressed"), MESSAGE),
    st.tuples(st.just("fragments"), MESSAGE),
    st.tuples(st.just("plain fragments"), MESSAGE),
    st.tuples(st.just("ping"), st.binary(max_size=125)),
)


@given(st.lists(SENT, max_size=8), st.integers(1, 700), st.binary(min_size=4, max_size=4))
def test_messages_come_in_order_in_pieces_of_any_size(
    sent: list[tuple[str, bytes]], size: int, mask: bytes
) -> None:
    data, expected = b"", []
    for kind, message in sent:
        match kind:
            case "plain":
                data += masked(frame(message), mask)
            case "compressed":
                data += masked(small(message), mask)
            case "fragments":
                data += fragments(message, [3, 3, 40], masked(frame(b"p", PING), mask))
                expected += [(PING, b"p")] * 3
            case "plain fragments":
                data += frame(message[:9], fin=False) + frame(message[9:], CONTINUATION)
            case _:
                data += masked(frame(message, PING), mask)
        expected.append((PING if kind == "ping" else TEXT, message))
    queue = read(data, size)
    assert queue.refused is None
    assert queue.read == expected


def test_a_compressed_binary_message_is_read_as_one_without_content() -> None:
    assert read(small(b"data", BINARY)).read == [(BINARY, b"")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(b"x", TEXT | 0x20), 1002, id="RSV2"),
        pytest.param(frame(b"x", TEXT | 0x10 | RSV1), 1002, id="RSV1 and RSV3"),
        pytest.param(frame(b"x", PING | RSV1), 1002, id="a compressed ping"),
        pytest.param(frame(b"\x03\xe8", 8 | RSV1), 1002, id="a compressed close"),
        pytest.param(frame(b"x", CONTINUATION | RSV1), 1002, id="a compressed continuation of nothing"),
        pytest.param(
            small(b"one", fin=False) + frame(b"x", CONTINUATION | RSV1), 1002, id="RSV1 on a later fragment"
        ),
        pytest.param(
            frame(b"x", fin=False) + frame(b"x", CONTINUATION | RSV1), 1002, id="compressed from the middle on"
        ),
        pytest.param(small(b"one", fin=False) + small(b"two"), 1002, id="a compressed message inside one"),
        pytest.param(small(b"one", fin=False) + frame(b"two"), 1002, id="a message inside a compressed one"),
        pytest.param(frame(b"one", fin=False) + small(b"two"), 1002, id="a compressed message inside another"),
        pytest.param(frame(b"x", CONTINUATION), 1002, id="a continuation of nothing"),
        pytest.param(frame(b"\xff" * 9, TEXT | RSV1), 1007, id="not deflate data"),
        pytest.param(small(b"0" * (LIMIT + 1)), 1009, id="a byte too much"),
        pytest.param(small(b"0" * 10_000_000), 1009, id="a bomb"),
        pytest.param(frame(b"x" * (LIMIT + 1), TEXT | RSV1), 1009, id="too much before it is inflated"),
        pytest.param(frame(b"x" * (LIMIT + 1)), 1009, id="too much without compression"),
        pytest.param(
            frame(b"x" * 600, TEXT | RSV1, fin=False) + frame(b"x" * 600, CONTINUATION), 1009, id="in fragments"
        ),
    ],
)
@pytest.mark.parametrize("size", [1, None])
def test_what_breaks_the_rules_is_refused(data: bytes, code: int, size: int | None) -> None:
    queue = read(data + frame(b"more"), size)
    assert queue.refused == code


def test_a_message_of_exactly_the_limit_is_read() -> None:
    assert read(small(b"0" * LIMIT)).read == [(TEXT, b"0" * LIMIT)]
    assert read(frame(b"", PONG)).read == [(int(WSMsgType.PONG), b"")]
