import pytest

from aerostack_realtime.protocol.errors import BadMessage, TooLarge
from aerostack_realtime.protocol.messages import Limits, encode
from aerostack_realtime.sdk.limits import DEFAULT_LIMITS, check_limits, depth

LIMITS = Limits(frame_bytes=100, nesting=4)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_a_frame_at_the_limits_passes() -> None:
    check_limits(b"x" * 100, LIMITS)
    check_limits(nested(4), LIMITS)


def test_a_frame_above_the_size_is_too_large() -> None:
    with pytest.raises(TooLarge, match="101 bytes; the server accepts 100"):
        check_limits(b"x" * 101, LIMITS)


def test_a_frame_above_the_nesting_is_a_bad_message() -> None:
    with pytest.raises(BadMessage, match="5 levels deep; the server accepts 4"):
        check_limits(nested(5), LIMITS)


def test_wide_frames_are_not_deep() -> None:
    check_limits(encode([[]] * 20), LIMITS)


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        (1, 0),
        ({"a": [1, {"b": []}]}, 4),
        ("[[[[[[", 0),
        ('quote " and bracket [', 0),
        ({"back\\": ["\\", "[", '\\"[']}, 2),
        ([[], [[]], {}], 3),
    ],
)
def test_depth_ignores_brackets_in_strings(value: object, levels: int) -> None:
    assert depth(encode(value)) == levels


def test_the_fallback_is_the_default_of_the_server() -> None:
    assert (DEFAULT_LIMITS.frame_bytes, DEFAULT_LIMITS.nesting) == (65536, 128)
