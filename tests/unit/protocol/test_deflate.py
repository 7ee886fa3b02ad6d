"""Compressed frames: what other implementations read, made once, and never inflated beyond a limit."""

import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.protocol import deflate, frames
from aerostack_realtime.protocol.deflate import TooLong, Undecodable, compressed, inflated

TAIL = b"\x00\x00\xff\xff"


def text(size: int, word: str = "word") -> bytes:
    return json.dumps({"text": f"{word} " * (size // (len(word) + 1) + 1)}).encode()


def raw(data: bytes, finish: int = zlib.Z_SYNC_FLUSH, wbits: int = -15) -> bytes:
    """A deflate stream, with its end."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, wbits)
    return deflater.compress(data) + deflater.flush(finish)


def read(data: bytes) -> list[tuple[int, bytes]]:
    """The first bytes and messages of frames, each inflated on its own with the window that was negotiated."""
    found = []
    while data:
        size = frames.size(data)
        payload = frames.payload(data[:size])
        if data[0] & deflate.RSV1:
            payload = zlib.decompressobj(-deflate.WINDOW_BITS).decompress(payload + TAIL)
        found.append((data[0], payload))
        data = data[size:]
    return found


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=6))
def test_large_text_frames_are_compressed_and_the_others_stay(sizes: list[int]) -> None:
    payloads = [text(size) for size in sizes]
    found = read(compressed(b"".join(map(frames.text, payloads))))
    assert [payload for _, payload in found] == payloads
    assert [first for first, _ in found] == [0xC1 if len(each) > 1024 else 0x81 for each in payloads]


def test_frames_of_other_kinds_are_never_compressed() -> None:
    others = frames.binary(text(5_000)) + frames.PING + frames.close(4000, "x" * 90) + frames.pong(b"y" * 125)
    found = read(compressed(others + frames.text(text(2_000))))
    assert [first for first, _ in found] == [0x82, 0x89, 0x88, 0x8A, 0xC1]


def test_what_does_not_become_shorter_is_sent_as_it_is() -> None:
    noise = frames.text(random.Random(1).randbytes(5_000))
    assert compressed(noise) == noise


def test_very_large_frames_are_sent_as_they_are() -> None:
    large = frames.text(text(deflate.LARGEST))
    assert compressed(large) is large


def test_the_same_frame_is_compressed_once_whatever_it_is_sent_with() -> None:
    frame = frames.text(text(3_000, "shared"))
    once = compressed(bytes(frame))
    assert compressed(frame) is once
    assert compressed(frames.text(b"{}") + frame).endswith(once)


def test_results_are_kept_within_a_bound() -> None:
    kept = deflate.RecentResults()
    for n in range(3_000):
        kept.put(b"%d" % n + b"x" * 1_000, b"y" * 100)
        assert kept.size <= deflate.MEMORY_BYTES
    newest = b"2999" + b"x" * 1_000
    assert kept.get(newest) == b"y" * 100
    kept.put(b"z" * deflate.MEMORY_BYTES, b"too much")
    assert kept.get(b"z" * deflate.MEMORY_BYTES) is None


@given(st.binary(max_size=3_000), st.sampled_from([-9, -12, -15]))
def test_a_message_of_any_window_is_inflated(message: bytes, wbits: int) -> None:
    assert inflated(raw(message, wbits=wbits).removesuffix(TAIL), 3_000) == message


def test_a_message_that_ends_its_stream_is_inflated() -> None:
    """RFC 7692 §7.2.3.4: a final block, and an empty one that is not."""
    assert inflated(raw(b"Hello", zlib.Z_FINISH) + b"\x00", 100) == b"Hello"
    assert inflated(raw(b"Hel", zlib.Z_FINISH) + raw(b"lo").removesuffix(TAIL), 100) == b"Hello"


def test_the_example_messages_of_the_specification_are_inflated() -> None:
    """RFC 7692 §7.2.3: fixed Huffman code, no compression, a final block, two blocks, and an empty message."""
    for payload in (
        "f248cdc9c90700",
        "000500faff48656c6c6f00",
        "f348cdc9c9070000",
        "f24805000000ffffcac9c90700",
    ):
        assert inflated(bytes.fromhex(payload), 5) == b"Hello"
    assert inflated(b"\x00", 5) == b""


@pytest.mark.parametrize("limit", [0, 1, 100, 64 * 1024])
def test_a_bomb_is_not_inflated_beyond_the_limit(limit: int) -> None:
    bomb = raw(b"0" * 50_000_000).removesuffix(TAIL)
    with pytest.raises(TooLong):
        inflated(bomb, limit)
    assert inflated(raw(b"0" * limit).removesuffix(TAIL), limit) == b"0" * limit


def test_a_bomb_of_many_small_streams_is_refused() -> None:
    empty = raw(b"", zlib.Z_FINISH)
    with pytest.raises(Undecodable):
        inflated(empty * 100_000, 1_000)
    part = raw(b"0" * 600, zlib.Z_FINISH)
    with pytest.raises(TooLong):
        inflated(part * 2, 1_000)


@pytest.mark.parametrize("payload", [b"\xff" * 20, b"\x07", b"no deflate data"])
def test_other_data_is_refused(payload: bytes) -> None:
    with pytest.raises(Undecodable):
        inflated(payload, 1_000)
