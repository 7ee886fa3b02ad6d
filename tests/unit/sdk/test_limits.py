import pytest

from aerostack_realtime.protocol.errors import BadMessage, TooLarge
from aerostack_realtime.protocol.messages import Limits, encode
from aerostack_realtime.sdk.limits import DEFAULT_LIMITS, check_limits

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
    with pytest.raises(BadMessage, match="nested more than 4 levels"):
        check_limits(nested(5), LIMITS)


def test_wide_frames_and_brackets_in_strings_are_not_deep() -> None:
    check_limits(encode([[]] * 20), LIMITS)
    check_limits(encode({"text": '"[[[[[[\\"[['}), LIMITS)


def test_the_fallback_is_the_default_of_the_server() -> None:
    assert (DEFAULT_LIMITS.frame_bytes, DEFAULT_LIMITS.nesting) == (65536, 128)
