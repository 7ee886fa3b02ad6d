"""Frames of row changes that are put together from parts are the bytes of the message."""

from itertools import product
from typing import get_args

import pytest
from msgspec import UNSET, Raw

from aerostack_realtime.protocol import frames
from aerostack_realtime.protocol.change_frames import ChangeFrames
from aerostack_realtime.protocol.messages import DbChange, Operation

CASES = list(product(get_args(Operation), (None, b'{"id":1}'), (None, "3e8"), (False, True)))


@pytest.mark.parametrize("data", [b'{"id":1,"name":"\xc3\xa9%b"}', b'{"id":2,"text":"' + b"x" * 70_000 + b'"}'])
@pytest.mark.parametrize("topic", ["orders/default", 'or"ders\\é{}%b/default'])
def test_a_frame_has_the_bytes_of_its_message(topic: str, data: bytes) -> None:
    made = ChangeFrames(topic)
    for operation, old, commit, end in CASES:
        message = DbChange(
            topic=topic,
            operation=operation,
            data=Raw(data),
            timestamp=1_764_412_345_123,
            cursor="deadbeef.3e8.17.abcdef12",
            old=UNSET if old is None else Raw(old),
            commit=UNSET if commit is None else commit,
            commit_end=end or UNSET,
        )
        frame = made.frame(operation, data, old, message.timestamp, message.cursor, commit, commit_end=end)
        assert frame == frames.encode(message)


def test_a_frame_has_the_time_and_the_commit_of_its_own_change() -> None:
    made = ChangeFrames("orders")
    for timestamp, commit in product((1, 2, 1), ("3e8", None, "3e9")):
        message = DbChange(
            topic="orders",
            operation="INSERT",
            data=Raw(b"{}"),
            timestamp=timestamp,
            cursor="c.1",
            commit=UNSET if commit is None else commit,
        )
        assert made.frame("INSERT", b"{}", None, timestamp, "c.1", commit) == frames.encode(message)


@pytest.mark.parametrize("size", [*range(120, 131), *range(2030, 2052), *range(65_530, 65_540)])
def test_frames_of_every_size_have_the_header_of_their_size(size: int) -> None:
    made = ChangeFrames("t")
    empty = frames.payload(made.frame("INSERT", b'""', None, 1, "c", None))
    data = b'"' + b"x" * (size - len(empty)) + b'"'
    frame = made.frame("INSERT", data, None, 1, "c", None)
    assert frame == frames.text(frames.payload(frame))
    assert len(frames.payload(frame)) == max(size, len(empty))
