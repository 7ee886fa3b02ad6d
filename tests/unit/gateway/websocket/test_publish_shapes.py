"""What is taken for a publish that repeats the one before: the same as the decoder finds, or nothing."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from aerostack_realtime.channels.publishing import MAX_ID
from aerostack_realtime.gateway.websocket.publish_shapes import (
    PublishShape,
    repeated_publishes,
    repeated_publishes_in_python,
    shape_of,
)
from aerostack_realtime.protocol import messages
from tests.flow.wire import BINARY, CONTINUATION, PING, TEXT, frame
from tests.unit.gateway.websocket.repeating import masked

BEFORE = b'{"type":"publish","topic":"a/b","event":"e","data":'
WITHOUT_ID = PublishShape(BEFORE, None, b"}")
OF_PYTHON = PublishShape(BEFORE, b',"persist":false,"id":"', b'","echo":true,"stream":false}')
OF_TYPESCRIPT = PublishShape(BEFORE, b',"id":"', b'"}')
SHAPES = (WITHOUT_ID, OF_PYTHON, OF_TYPESCRIPT)
WAYS = (repeated_publishes, repeated_publishes_in_python)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BYTES = st.one_of(
    st.binary(max_size=12),
    st.text('{}[]",:\\ u0123e.+-truefalsnid\x00\x1f\x7fé', max_size=12).map(str.encode),
    st.sampled_from(
        [b"", b"x" * MAX_ID, b"x" * (MAX_ID + 1), b'a","id":"b', b'a","persist":true,"x":"', b'\\"', b'"}']
    ),
)


def text_of(shape: PublishShape, data: bytes, id: bytes) -> bytes:
    between = b"" if shape.between is None else shape.between + id
    return shape.before + data + between + shape.behind


def taken(way: Any, read: bytes, shape: PublishShape, levels: int = 127) -> Any:
    return way(read, shape.before, shape.between, shape.behind, levels)


def decoded(text: bytes) -> messages.Command | None:
    try:
        return messages.decode_command(text)
    except messages.InvalidCommand:
        return None


@given(st.sampled_from(SHAPES), JSON, st.booleans(), st.booleans(), st.binary(min_size=4, max_size=4))
def test_what_is_taken_is_the_data_that_the_decoder_finds(
    shape: PublishShape, data: Any, escaped: bool, spaced: bool, mask: bytes
) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    value = json.dumps(data, ensure_ascii=escaped, separators=separators).encode(errors="replace")
    text = text_of(shape, value, b"i-1")
    plain = value.isascii() and b"\\u" not in value and b"\x7f" not in value
    one = value, None if shape.between is None else "i-1", len(text)
    for way in WAYS:
        for times in (1, 3):
            found = taken(way, masked(text, mask) * times, shape)
            assert found == [one] * times or (found is None and not plain)


@given(st.sampled_from(SHAPES), BYTES, BYTES)
@example(WITHOUT_ID, b'1,"persist":true', b"")
@example(WITHOUT_ID, b'"\\\x00"', b"")
@example(WITHOUT_ID, b"01", b"")
@example(WITHOUT_ID, b"1.e3", b"")
@example(WITHOUT_ID, b"-", b"")
@example(WITHOUT_ID, b"[1,]", b"")
@example(WITHOUT_ID, b'{"a":1,}', b"")
@example(WITHOUT_ID, b" 1", b"")
@example(WITHOUT_ID, b"1 ", b"")
@example(OF_TYPESCRIPT, b"1", b'a","id":"b')
@example(OF_TYPESCRIPT, b'1,"id":"a"', b"b")
@example(OF_TYPESCRIPT, b"1", b"a\\u0022")
@example(OF_TYPESCRIPT, b"1", b"\xff")
@example(OF_TYPESCRIPT, b'1,"id":"a","data":2', b"b")
@example(OF_PYTHON, b"1", b'a","persist":true,"x":"')
def test_what_the_decoder_reads_otherwise_is_not_taken(shape: PublishShape, data: bytes, id: bytes) -> None:
    text = text_of(shape, data, id)
    for way in WAYS:
        if (found := taken(way, masked(text), shape)) is not None:
            [(value, written, size)] = found
            named = UNSET if written is None else written
            assert decoded(text) == messages.Publish("a/b", "e", msgspec.Raw(value), id=named)
            assert (value, size) == (data, len(text))
            assert written is None or 1 <= len(written) <= MAX_ID


@given(st.sampled_from(SHAPES[1:]), st.text(max_size=MAX_ID + 2))
@example(OF_PYTHON, "Zp4kQ6hR9XxP7mJtL2bW-_")
@example(OF_TYPESCRIPT, "4294967295-1-77-1000000")
@example(OF_TYPESCRIPT, "x" * MAX_ID)
@example(OF_TYPESCRIPT, "x" * (MAX_ID + 1))
@example(OF_TYPESCRIPT, "")
@example(OF_TYPESCRIPT, "\x7f")
def test_every_plain_id_is_taken_and_no_other_one(shape: PublishShape, id: str) -> None:
    written = msgspec.json.encode(id)[1:-1]
    is_plain = 1 <= len(id) <= MAX_ID and all(" " <= each <= "~" and each not in '"\\' for each in id)
    text = text_of(shape, b"1", written)
    for way in WAYS:
        assert taken(way, masked(text), shape) == ([(b"1", id, len(text))] if is_plain else None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_only_whole_texts_of_the_shape_are_taken(way: Any, shape: PublishShape) -> None:
    text = text_of(shape, b"1", b"i")
    assert taken(way, masked(text), shape) is not None
    others = (
        b"",
        masked(text)[:-1],
        masked(text) + b"\x81",
        masked(text) + masked(b'{"type":"ping"}'),
        masked(text.replace(b"a/b", b"a/c")),
        masked(BEFORE + b"}"),
        masked(BEFORE),
        masked(text[:-1]),
        masked(text + b" "),
        masked(text + b"}"),
        masked(b" " + text),
        masked(text_of(shape, b"", b"i")),
        frame(text, TEXT, fin=False),
        frame(text, CONTINUATION),
        frame(text, BINARY),
        frame(text, TEXT, masked=False),
        masked(text) + frame(b"", PING),
    )
    for other in others:
        assert taken(way, other, shape) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 1, 5, 127])
def test_deeper_values_are_left_to_the_decoder(way: Any, shape: PublishShape, levels: int) -> None:
    fits = b"[" * levels + b"1" + b"]" * levels
    assert taken(way, masked(text_of(shape, fits, b"i")), shape, levels) is not None
    assert taken(way, masked(text_of(shape, b"[" + fits + b"]", b"i")), shape, levels) is None


# --- shapes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"publish","topic":"a/b","event":"e","id":"7","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"\\u0037"}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":""}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"\xc3\xa4"}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"6","id":"7"}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"7","\\u0069d":"8"}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"id":"7","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","persist":true,"data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"persist":true,"id":"7"}',
        b'{"type":"publish","topic":"a/b","event":"e","stream":true,"data":1,"id":"7"}',
        b'{"type":"publish","topic":"a/b","event":"e","ref":"r","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","traceparent":"t","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","compacts":"c","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","data":1,"x\\"data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","d\\u0061ta":1}',
        b'{"type":"publish","topic":"a/b","event":"e","data":{"data":1},"x":{"data":1}}',
        b'{"type":"publish","topic":"a/b","event":"e","x":{"data":2},"data":1}',
        b'{"type":"publish","topic":"a/b","event":"e","x":"\\"","data":1}',
        b'{"type":"publish","topic":"a/b","event":"e"}',
        b'{"type":"publish","topic":"a/b","event":"e","id":"7"}',
    ],
)
def test_a_publish_with_options_or_of_another_form_has_no_shape(text: bytes) -> None:
    command = messages.decode_command(text)
    assert isinstance(command, messages.Publish)
    assert shape_of(text, command) is None


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (BEFORE + b'{"data":2}}', WITHOUT_ID),
        (messages.encode(messages.Publish("a/b", "e", msgspec.Raw(b'"id"'), id="7")), OF_PYTHON),
        (BEFORE + b'{"id":"data"},"id":"7"}', OF_TYPESCRIPT),
        (
            b'{ "data": [1], "mydata": 1, "event": "e", "topic": "a/b", "type": "publish", "id": "7" } ',
            PublishShape(
                b'{ "data": ',
                b', "mydata": 1, "event": "e", "topic": "a/b", "type": "publish", "id": "',
                b'" } ',
            ),
        ),
    ],
)
def test_the_shape_is_what_stands_around_the_data_and_the_id(text: bytes, shape: PublishShape) -> None:
    command = messages.decode_command(text)
    assert isinstance(command, messages.Publish)
    assert shape_of(text, command) == shape
    other = messages.Publish("a/b", "e", msgspec.Raw(b"[3]"), id=UNSET if shape.between is None else "8")
    assert decoded(text_of(shape, b"[3]", b"8")) == other


MEMBERS = st.lists(
    st.sampled_from(
        [
            *(
                b'"x":1',
                b'"x":"y"',
                b'"x":null',
                b'"x":[1]',
                b'"x":{"id":"1"}',
                b'"id":"9"',
                b'"\\u0069d":"9"',
                b'"id":"a\\tb"',
            ),
            *(
                b'"echo":true',
                b'"echo":false',
                b'"persist":false',
                b'"stream":false',
                b'"data":1',
                b'"data":{"id":"5"}',
            ),
            *(b'"data":"\\",\\"id\\":\\"1"', b'"type":"publish"', b'"topic":"a/b"', b'"event":"e"', b'"ref":"r"'),
        ]
    ),
    max_size=8,
)


@given(MEMBERS, st.sampled_from([b",", b" , ", b",\n\t"]), JSON, st.sampled_from([b"8", b"i d", b"x" * MAX_ID]))
def test_other_data_and_another_id_change_nothing_else(
    members: list[bytes], comma: bytes, data: Any, id: bytes
) -> None:
    text = b"{" + comma.join([b'"type":"publish"', b'"topic":"a/b"', b'"event":"e"', *members]) + b"}"
    command = decoded(text)
    if not isinstance(command, messages.Publish) or (shape := shape_of(text, command)) is None:
        return
    value = json.dumps(data).encode()
    found = decoded(text_of(shape, value, id))
    assert found == messages.Publish(
        "a/b", "e", msgspec.Raw(value), id=UNSET if shape.between is None else id.decode(), echo=command.echo
    )
