"""What a client's framing may be, whatever pieces its bytes come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.gateway.websocket.framing import (
    UNMASKED,
    Framing,
    ProtocolViolation,
    whole_texts,
    whole_texts_in_python,
)
from tests.flow.wire import BINARY, CONTINUATION, PING, TEXT, frame

LIMIT = 4
SIZES = st.sampled_from([0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000])


def look(pieces: list[bytes], limit: int = LIMIT) -> ProtocolViolation | None:
    """The first thing that is wrong with what comes in these pieces."""
    framing = Framing(limit)
    for piece in pieces:
        if (breach := framing.feed(piece)) is not None:
            return breach
    return None


def message(fragments: int, size: int = 1, between: bytes = b"") -> bytes:
    """A message in `fragments` fragments of this size, with something between them."""
    payload = b"\xff" * size
    if fragments == 1:
        return frame(payload, BINARY)
    parts = [frame(payload, BINARY, fin=False)]
    parts += [frame(payload, CONTINUATION, fin=False)] * (fragments - 2)
    return between.join([*parts, frame(payload, CONTINUATION)])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(
    st.lists(st.tuples(st.integers(1, LIMIT), SIZES), max_size=4),
    st.sampled_from([b"", frame(b"", PING), frame(b"x" * 125, PING)]),
    st.lists(st.integers(0, 2**20), max_size=12),
)
def test_messages_within_the_limit_pass_however_the_bytes_are_cut(
    messages: list[tuple[int, int]], between: bytes, places: list[int]
) -> None:
    stream = between.join(message(*each, between) for each in messages)
    assert look(cut(stream, places)) is None


@given(
    st.lists(st.tuples(st.integers(1, LIMIT), SIZES), max_size=3),
    SIZES,
    st.sampled_from([b"", frame(b"x", PING)]),
    st.lists(st.integers(0, 2**20), max_size=12),
)
def test_one_fragment_too_many_is_seen_however_the_bytes_are_cut(
    before: list[tuple[int, int]], size: int, between: bytes, places: list[int]
) -> None:
    stream = b"".join(message(*each) for each in before) + message(LIMIT + 1, size, between)
    breach = look(cut(stream, places))
    assert breach is not None
    assert breach.code == 4400


def test_it_is_seen_before_the_message_ends() -> None:
    begun = frame(b"", TEXT, fin=False) + frame(b"", CONTINUATION, fin=False) * (LIMIT - 2)
    assert look([begun]) is None
    assert look([begun, frame(b"", CONTINUATION, fin=False)]) is not None


@given(SIZES, st.lists(st.integers(0, 2**20), max_size=5))
def test_a_frame_without_a_mask_is_seen(size: int, places: list[int]) -> None:
    stream = message(2) + frame(b"\x81" * size, BINARY, masked=False)
    assert look(cut(stream, places)) == UNMASKED


def test_every_byte_alone_makes_no_difference() -> None:
    stream = message(LIMIT, 300, frame(b"x" * 125, PING)) + message(LIMIT + 1, 0)
    breach = look([stream])
    assert breach is not None
    assert look([bytes([each]) for each in stream]) == breach


@pytest.mark.parametrize("length", [2**63 - 1, 2**64 - 1])
def test_a_frame_that_claims_to_be_endless_is_waited_for(length: int) -> None:
    """It is for the reader to refuse its size."""
    framing = Framing(LIMIT)
    assert framing.feed(b"\x82\xff" + length.to_bytes(8) + b"\0\0\0\0") is None
    assert framing.feed(b"\x00\x00" * 1000) is None


@given(st.lists(st.sampled_from([2, 3, 125, 126, 127, 255, 256, 4_096, 65_535]), min_size=1, max_size=3))
def test_whole_texts_are_unmasked(sizes: list[int]) -> None:
    texts = [b"0123456789a" * (size // 11) + b"x" * (size % 11) for size in sizes]
    data = b"".join(map(frame, texts))
    assert whole_texts(data) == whole_texts_in_python(data) == texts


@pytest.mark.parametrize(
    "other",
    [
        b"\x81",
        frame(b"part")[:-1],
        frame(b"x" * 300)[:7],
        frame(b"first", fin=False),
        frame(b"next", CONTINUATION),
        frame(b"bytes", BINARY),
        frame(b"", PING),
        frame(b"compressed", 0x40 | TEXT),
        frame(b"not masked", masked=False),
        frame(b"x" * 300, masked=False),
        frame(b"x" * 65_536),
        b"\x81\xff" + (1 << 63).to_bytes(8) + b"mask",
    ],
)
def test_bytes_that_are_not_whole_texts_are_left_to_the_parser(other: bytes) -> None:
    for found in (whole_texts, whole_texts_in_python):
        assert found(other) is None
        assert found(frame(b"text") + other) is None


@given(
    st.lists(st.sampled_from([0, 1, 2, 125, 126, 300]), min_size=1, max_size=3),
    st.integers(0, 700),
    st.binary(max_size=4),
)
def test_the_compiled_function_finds_the_same(sizes: list[int], end: int, more: bytes) -> None:
    data = b"".join(frame(b"x" * size) for size in sizes)[:end] + more
    assert whole_texts(data) == whole_texts_in_python(data)
