"""The bound on nesting: the same on every version of Python, whatever stands in strings."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.protocol.messages import InvalidCommand, decode_command
from aerostack_realtime.protocol.nesting import DEFAULT_LEVELS, MAX_LEVELS, exceeds

PADDING = b'"' + b"x" * 2 * MAX_LEVELS + b'"'


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def nested(levels: int) -> bytes:
    return b"[" * levels + PADDING + b"]" * levels


@pytest.mark.parametrize("levels", [1, 2, DEFAULT_LEVELS, MAX_LEVELS])
def test_the_bound_itself_is_allowed_and_one_more_is_not(levels: int) -> None:
    assert not exceeds(nested(levels), levels)
    assert exceeds(nested(levels + 1), levels)
    assert exceeds(b'{"a":' * (levels + 1) + PADDING, levels)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 2000 + b"0]",
        b'["' + b"[{" * 2000 + b'"]',
        b'["\\"' + b"[" * 2000 + b'"]',
        b'["\\\\",[],"\\\\\\"' + b"[" * 2000 + b'"]',
        b"]" * 2000 + b"[" * 128,
    ],
)
def test_brackets_beside_each_other_and_in_strings_do_not_count(text: bytes) -> None:
    assert not exceeds(text, DEFAULT_LEVELS)


def test_a_string_that_ends_in_a_backslash_hides_nothing_after_it() -> None:
    assert exceeds(b'["\\\\",' + b"[" * DEFAULT_LEVELS + PADDING, DEFAULT_LEVELS)


values = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\,: a\u00fc'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\a', max_size=3), inner),
    max_leaves=30,
)


@given(values, st.booleans())
def test_the_depth_is_that_of_the_decoded_value(value: Any, ascii_only: bool) -> None:
    text = json.dumps([value, "x" * 2 * MAX_LEVELS], ensure_ascii=ascii_only).encode()
    found = depth([value])
    assert exceeds(text, found - 1)
    assert not exceeds(text, found)


def publish(data: bytes, id: bytes = b'"7"') -> bytes:
    return b'{"type":"publish","topic":"a/b","event":"x","data":' + data + b',"id":' + id + b"}"


def test_a_deep_frame_is_refused_by_name() -> None:
    assert decode_command(publish(nested(DEFAULT_LEVELS - 1)))
    with pytest.raises(InvalidCommand) as refused:
        decode_command(publish(nested(DEFAULT_LEVELS)))
    assert (refused.value.reply.code, refused.value.reply.id) == (BadMessage.code, "7")
    assert decode_command(publish(nested(MAX_LEVELS - 1)), MAX_LEVELS)


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 20_000])
def test_a_frame_too_deep_to_decode_is_refused_without_a_name(levels: int) -> None:
    with pytest.raises(InvalidCommand) as refused:
        decode_command(publish(nested(levels)))
    assert refused.value.reply.code == BadMessage.code
    assert not refused.value.reply.id
