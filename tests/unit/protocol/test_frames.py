"""Frames are byte for byte what RFC 6455 says; websockets' own parser agrees."""

import pytest

from aerostack_realtime.protocol import frames, messages


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_text_frame_has_the_shortest_header(size: int, header: bytes) -> None:
    assert frames.text(b"x" * size) == header + b"x" * size


def test_a_close_frame_holds_its_code_and_as_much_of_the_reason_as_fits() -> None:
    assert frames.close(4000, "slow") == b"\x88\x06\x0f\xa0slow"
    cut = frames.close(1001, "ü" * 100)
    assert len(cut) <= 127
    assert cut[4:].decode() == "ü" * 61


def test_a_pong_returns_the_pings_payload() -> None:
    assert frames.pong(b"abc") == b"\x8a\x03abc"


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_gives_its_payload_and_its_size(size: int) -> None:
    frame = frames.text(b"x" * size)
    assert frames.payload(frame) == b"x" * size
    assert frames.size(frame + frames.PING) == len(frame)


def test_a_message_is_encoded_into_a_frame() -> None:
    assert frames.payload(frames.encode(messages.Pong())) == b'{"type":"pong"}'
