"""A stream as a reader has it: each piece once, whatever the server repeats."""

import asyncio
import json
from typing import Any

import pytest
from msgspec import UNSET, Raw

from aerostack_realtime.protocol.errors import Unavailable
from aerostack_realtime.protocol.messages import Appended, End, Event, Progress, StreamState
from aerostack_realtime.sdk.growing_streams import GrowingStreams
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.read_stream import OutOfSync


def so_far(n: int, data: Any, state: StreamState = "open", timestamp: int = 1) -> Event:
    content = Raw(json.dumps(data).encode())
    return Event("t/p", "answer", content, timestamp, "s", "e.1", stream=Progress(n, state))


def pieces(n: int, to: int, data: Any = None, state: End | None = None) -> Appended:
    raw = UNSET if data is None else Raw(json.dumps(data).encode())
    return Appended("t/p", "s", n, to, "e.2", raw, state or UNSET)


def taken(payload: Payload | None) -> tuple[Any, Any, Any]:
    assert payload is not None
    return payload.data, payload.delta, payload.state


def test_pieces_extend_what_there_is() -> None:
    streams = GrowingStreams("t")
    assert taken(streams.event(so_far(2, "ab"))) == ("ab", "ab", "open")
    assert taken(streams.append(pieces(2, 4, "cd"))) == ("abcd", "cd", "open")
    assert streams.known == {"s": 4}
    assert taken(streams.append(pieces(4, 5, "e", "complete"))) == ("abcde", "e", "complete")
    assert streams.known == {}


def test_an_empty_opening_and_an_end_alone_are_events() -> None:
    streams = GrowingStreams("t")
    assert taken(streams.event(so_far(0, []))) == ([], [], "open")
    assert taken(streams.append(pieces(0, 0, None, "failed"))) == ([], [], "failed")


def test_repeats_are_ignored() -> None:
    streams = GrowingStreams("t")
    streams.event(so_far(2, "ab"))
    assert streams.append(pieces(0, 2, "ab")) is None
    assert streams.event(so_far(2, "ab")) is None
    streams.append(pieces(2, 2, None, "complete"))
    assert streams.event(so_far(2, "ab", "complete")) is None
    assert streams.append(pieces(2, 3, "c")) is None


def test_missing_pieces_are_requested_again() -> None:
    streams = GrowingStreams("t")
    streams.event(so_far(2, "ab"))
    with pytest.raises(OutOfSync):
        streams.append(pieces(3, 4, "d"))
    assert streams.known == {}


def test_a_server_that_lags_behind_repeats_no_piece() -> None:
    """As after a fail-over to a node, or a crash, that has fewer pieces."""
    streams = GrowingStreams("t")
    streams.event(so_far(3, "abc"))
    assert streams.event(so_far(1, "a")) is None
    assert streams.known == {"s": 1}
    assert streams.append(pieces(1, 2, "b")) is None
    assert taken(streams.append(pieces(2, 4, "cd"))) == ("abcd", "d", "open")


def test_another_content_replaces_what_there_is() -> None:
    streams = GrowingStreams("t")
    streams.event(so_far(3, "abc"))
    assert taken(streams.event(so_far(1, "x"))) == ("x", "x", "open")


def test_a_stream_may_be_opened_again_after_a_crash() -> None:
    streams = GrowingStreams("t")
    streams.event(so_far(1, "a"))
    assert taken(streams.append(pieces(1, 1, None, "failed")))[2] == "failed"
    assert taken(streams.event(so_far(2, "ab"))) == ("ab", "b", "open")
    assert taken(streams.append(pieces(2, 3, "c", "complete"))) == ("abc", "c", "complete")


@pytest.mark.parametrize("state", ["complete", "cancelled", "failed"])
def test_an_ended_stream_that_another_node_has_open_is_a_repeat(state: End) -> None:
    """As after Redis lost the end, which the reader has."""
    streams = GrowingStreams("t")
    streams.event(so_far(2, "ab"))
    streams.append(pieces(2, 3, "c", state))
    assert streams.event(so_far(2, "ab")) is None
    assert streams.append(pieces(2, 3, "c")) is None
    assert streams.append(pieces(3, 3, None, state)) is None
    assert streams.event(so_far(3, "abc")) is None
    assert streams.event(so_far(3, "abc", state)) is None
    assert streams.known == {}
    streams.forget_unhandled()
    assert taken(streams.event(so_far(3, "abc", state)))[2] == state


def test_a_stream_that_failed_and_did_not_is_continued() -> None:
    """As when a node that did not know it reported it as failed."""
    streams = GrowingStreams("t")
    streams.event(so_far(2, "ab"))
    streams.append(pieces(2, 2, None, "failed"))
    assert streams.event(so_far(1, "a")) is None
    assert streams.known == {"s": 1}
    assert taken(streams.append(pieces(1, 3, "bc"))) == ("abc", "c", "open")
    assert taken(streams.append(pieces(3, 3, None, "complete"))) == ("abc", "", "complete")
    assert streams.event(so_far(3, "abc")) is None


def test_the_end_of_a_stream_replaces_a_failure() -> None:
    streams = GrowingStreams("t")
    streams.event(so_far(1, [1]))
    streams.append(pieces(1, 1, None, "failed"))
    assert taken(streams.event(so_far(2, [1, 2], "complete"))) == ([1, 2], [2], "complete")
    assert streams.event(so_far(2, [1, 2], "complete")) is None


def test_another_text_after_a_failure_is_all_new() -> None:
    streams = GrowingStreams("t")
    streams.event(so_far(2, "ab"))
    streams.append(pieces(2, 2, None, "failed"))
    assert taken(streams.event(so_far(3, "xyz"))) == ("xyz", "xyz", "open")


def test_an_id_that_is_used_again_names_a_new_stream() -> None:
    streams = GrowingStreams("t")
    streams.event(so_far(1, "a", "complete"))
    assert taken(streams.event(so_far(0, "", timestamp=2))) == ("", "", "open")
    assert taken(streams.append(pieces(0, 1, "b", "complete"))) == ("b", "b", "complete")


def test_pieces_that_were_not_handled_are_given_again() -> None:
    streams = GrowingStreams("t")
    first = streams.event(so_far(2, "ab"))
    assert first is not None
    streams.handled(first)
    streams.append(pieces(2, 3, "c"))
    streams.append(pieces(3, 4, "d", "complete"))
    streams.forget_unhandled()
    assert streams.known == {}
    assert streams.append(pieces(4, 5, "e")) is None
    again = streams.event(so_far(4, "abcd", "complete"))
    assert taken(again) == ("abcd", "cd", "complete")
    assert again is not None
    streams.handled(again)
    streams.forget_unhandled()
    assert streams.event(so_far(4, "abcd", "complete")) is None


async def test_iterating_gives_every_piece_until_the_end() -> None:
    streams = GrowingStreams("t")
    payload = streams.event(so_far(2, "ab"))
    assert payload is not None
    assert payload.stream is not None
    pieces_seen: list[str] = []

    async def read() -> None:
        assert payload.stream is not None
        pieces_seen.extend([piece async for piece in payload.stream])

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    streams.append(pieces(2, 3, "c"))
    streams.append(pieces(3, 3, None, "complete"))
    await reading
    assert pieces_seen == ["ab", "c"]


async def test_iterating_raises_the_error_that_ended_the_subscription() -> None:
    streams = GrowingStreams("t")
    payload = streams.event(so_far(0, ""))
    assert payload is not None
    assert payload.stream is not None
    streams.stop(Unavailable("gone"))
    with pytest.raises(Unavailable):
        await anext(aiter(payload.stream))
