"""Streams: what each item does to a message that grows, and what a reader lacks after a position."""

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.backplane.items import Append, CancelStream, Publish
from aerostack_realtime.channels.custom.streams import Appended, Repeated, Stream, Streams
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Cancelled,
    Conflict,
    Forbidden,
    NotFound,
    OutOfStep,
    TooLarge,
)

TOPIC = "chat/1/default"
End = Literal["", "complete", "cancelled", "failed"]


def opening(data: str = '""', *, id: str = "s", user: str | None = "ada", event: str = "answer") -> Publish:
    return Publish(TOPIC, event, data.encode(), user, id, stream=True, by_key=user is None)


def piece(n: int, data: str = "", state: End = "", *, user: str | None = "ada", id: str = "s") -> Append:
    return Append(TOPIC, id, n, data.encode(), state, user)


def opened(data: str = '""', limit: int = 1_000) -> tuple[Streams, Stream]:
    streams = Streams(limit)
    result = streams.open(10, 1_000, "n1", opening(data))
    assert isinstance(result, Appended)
    return streams, result.stream


def test_pieces_are_joined_in_their_order() -> None:
    streams, stream = opened('"Hello"')
    for n, text in enumerate([", ", "wor", "", "ld"]):
        assert isinstance(streams.append(11 + n, "n1", piece(n, json.dumps(text))), Appended)
    assert (stream.n, json.loads(stream.data), stream.last) == (4, "Hello, world", 14)


def test_items_are_appended_to_a_list() -> None:
    streams, stream = opened("[]")
    for n, items in enumerate(["[]", "[1]", '[ {"a": [2]} , 3 ]', "[]", "[4]"]):
        assert isinstance(streams.append(11 + n, "n1", piece(n, items)), Appended)
    assert json.loads(stream.data) == [1, {"a": [2]}, 3, 4]
    assert [json.loads(stream.since(n)) for n in range(6)] == [
        [1, {"a": [2]}, 3, 4],
        [1, {"a": [2]}, 3, 4],
        [{"a": [2]}, 3, 4],
        [4],
        [4],
        [],
    ]


def test_a_reader_lacks_the_pieces_from_its_number_on() -> None:
    streams, stream = opened()
    for n in range(5):
        streams.append(20 + 2 * n, "n1", piece(n, f'"{n}"'))
    assert [stream.since(n) for n in (0, 2, 5)] == [b'"01234"', b'"234"', b'""']


def test_the_pieces_of_a_restored_stream_are_known_only_joined() -> None:
    stream = Stream(10, 1_000, "n1", opening('"abc"'), n=3)
    stream.add(20, b'"d"', "open")
    assert (stream.n, stream.data, stream.since(3), stream.since(4)) == (4, b'"abcd"', b'"d"', b'""')


def test_an_end_that_was_not_stored_is_sent_again() -> None:
    streams, stream = opened()
    streams.append(11, "n1", piece(0, '"a"', "complete"))
    streams.reopen(stream)
    assert streams.append(12, "n1", piece(0, '"a"')) == Repeated(1, "open")
    assert streams.append(13, "n1", piece(0, '"a"', "complete")) == Appended(stream, ended=True)
    assert (stream.n, stream.data) == (1, b'"a"')


def test_a_repeated_piece_changes_nothing() -> None:
    streams, stream = opened()
    streams.append(11, "n1", piece(0, '"a"'))
    assert streams.append(12, "n1", piece(0, '"a"')) == Repeated(1, "open")
    assert json.loads(stream.data) == "a"


def test_of_two_writers_of_one_stream_each_piece_counts_once() -> None:
    streams, stream = opened()
    assert isinstance(streams.append(11, "n1", piece(0, '"first"')), Appended)
    assert streams.append(12, "n2", piece(0, '"second"')) == Repeated(1, "open")
    assert isinstance(streams.append(13, "n2", piece(1, '" and on"')), Appended)
    refused = streams.append(14, "n1", piece(3, '"ahead"'))
    assert isinstance(refused, OutOfStep)
    assert (refused.n, json.loads(stream.data)) == (2, "first and on")


def test_a_piece_after_a_missing_one_is_refused_with_its_number() -> None:
    streams, _ = opened()
    refused = streams.append(11, "n1", piece(3, '"d"'))
    assert isinstance(refused, OutOfStep)
    assert refused.n == 0


def test_a_writer_that_returns_learns_how_far_its_stream_is() -> None:
    streams, _ = opened()
    streams.append(11, "n1", piece(0, '"a"'))
    assert streams.open(12, 2_000, "n1", opening()) == Repeated(1, "open")
    streams.append(13, "n1", piece(1, '"b"', "complete"))
    assert streams.open(14, 2_000, "n1", opening()) == Repeated(2, "complete")


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (opening(user="bob"), Forbidden),
        (opening(user=None), Forbidden),
        (opening("[]"), Conflict),
        (opening(event="other"), Conflict),
        (opening("1", id="t"), BadMessage),
        (opening('{"a": 1}', id="t"), BadMessage),
    ],
)
def test_an_opening_that_contradicts_the_stream_is_refused(item: Publish, error: type[AerostackError]) -> None:
    streams, _ = opened()
    assert isinstance(streams.open(11, 2_000, "n1", item), error)


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (piece(0, '"a"', user="bob"), Forbidden),
        (piece(0, '"a"', user=None), Forbidden),
        (piece(0, "[1]"), BadMessage),
        (piece(0, '"a"', id="other"), NotFound),
        (piece(0, '"' + "x" * 1_000 + '"'), TooLarge),
    ],
)
def test_a_bad_piece_is_refused_and_the_stream_stays_open(item: Append, error: type[AerostackError]) -> None:
    streams, stream = opened()
    assert isinstance(streams.append(11, "n1", item), error)
    assert (stream.n, stream.data) == (0, b'""')
    assert isinstance(streams.append(12, "n1", piece(0, '"a"', "complete")), Appended)


def test_an_ended_stream_takes_no_more_pieces() -> None:
    streams, stream = opened()
    ended = streams.append(11, "n1", piece(0, '"a"', "complete"))
    assert ended == Appended(stream, ended=True)
    assert streams.append(12, "n1", piece(0, '"a"', "complete")) == Repeated(1, "complete"), (
        "the end was sent again"
    )
    assert streams.append(12, "n1", piece(1, "", "complete")) == Repeated(1, "complete")
    assert isinstance(streams.append(13, "n1", piece(1, '"b"')), Conflict)
    assert isinstance(streams.append(14, "n1", piece(1, "", "failed")), Conflict)
    assert isinstance(streams.append(15, "n1", piece(1, '"b"', user="bob")), Forbidden)
    assert len(streams) == 0


def test_a_writer_learns_that_its_stream_was_cancelled() -> None:
    streams, stream = opened()
    assert streams.cancel(11, CancelStream(TOPIC, "s", "bob")) == Appended(stream, ended=True)
    assert streams.cancel(12, CancelStream(TOPIC, "s", "bob")) == Repeated(0, "cancelled")
    assert isinstance(streams.append(13, "n1", piece(0, '"a"')), Cancelled)
    assert isinstance(streams.cancel(14, CancelStream(TOPIC, "other", "bob")), NotFound)


def test_the_server_ends_the_stream_of_a_writer_that_is_gone_once() -> None:
    streams, stream = opened()
    end = Append(TOPIC, "s", 0, b"", "failed", by_server=True)
    assert streams.append(11, "n1", end) == Appended(stream, ended=True)
    assert streams.append(12, "n1", end) == Repeated(0, "failed")


def test_ended_streams_are_forgotten_with_the_floor() -> None:
    streams, _ = opened()
    streams.append(11, "n1", piece(0, '"a"', "complete"))
    streams.forget_below(11)
    assert streams.known(TOPIC, "s") == Repeated(1, "complete")
    streams.forget_below(12)
    assert streams.known(TOPIC, "s") is None


texts = st.text(st.characters(codec="utf-16"), max_size=4)


@given(st.lists(texts, max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_any_way_of_reading_gives_the_whole_text(pieces: list[str], stops: list[int]) -> None:
    """A reader that was away at any moments and resumes each time has exactly the text in the end."""
    streams, stream = opened(limit=10_000)
    read, at, halts = "", 0, sorted(stops)
    for n, text in enumerate(pieces):
        streams.append(11 + n, "n1", piece(n, json.dumps(text)))
        if halts and halts[0] <= n:
            halts.pop(0)
            read += json.loads(stream.since(at))
            at = stream.n
    read += json.loads(stream.since(at))
    assert read == "".join(pieces)
