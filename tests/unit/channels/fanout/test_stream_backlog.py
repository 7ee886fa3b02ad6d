"""What waits of streams for a slow subscriber: pieces are joined, and none is dropped under any policy."""

import json
from typing import Any

import pytest
from msgspec import Raw

from aerostack_realtime.channels.fanout.backlog import Backlog, Policy, read
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.messages import Appended, End, Event, Progress
from tests.unit.channels.peers import unframed


def so_far(n: int, data: Any, id: str = "s") -> Event:
    return Event("t/p", "answer", Raw(json.dumps(data).encode()), 1, id, f"e.{n}", stream=Progress(n, "open"))


def pieces(n: int, to: int, data: Any, state: End | None = None, id: str = "s") -> Appended:
    if state is None:
        return Appended("t/p", id, n, to, f"e.{to}", Raw(json.dumps(data).encode()))
    return Appended("t/p", id, n, to, f"e.{to}", Raw(json.dumps(data).encode()), state)


def ordinary(number: int) -> Event:
    return Event("t/p", "e", Raw(b"%d" % number), 1, f"m{number}", f"e.{100 + number}")


def given(policy: Policy, *waiting: messages.Reply) -> list[dict[str, Any]]:
    backlog = Backlog(policy)
    for message in waiting:
        backlog.take(read(frames.text(messages.encode(message)), policy.key))
    return unframed(backlog.give())


POLICIES = [Policy("latest"), Policy("latest", ("id",)), Policy("drop")]


@pytest.mark.parametrize("policy", POLICIES)
def test_pieces_that_wait_are_joined(policy: Policy) -> None:
    [joined] = given(policy, pieces(2, 3, "a"), pieces(3, 5, "b"), pieces(5, 6, "c", "complete"))
    assert (joined["n"], joined["to"], joined["data"], joined["state"]) == (2, 6, "abc", "complete")
    assert joined["cursor"] == "e.6"


@pytest.mark.parametrize("policy", POLICIES)
def test_pieces_join_the_event_that_they_continue(policy: Policy) -> None:
    [event] = given(policy, so_far(1, ["a"]), pieces(1, 2, ["b"]), pieces(2, 3, [], "failed"))
    assert (event["type"], event["data"], event["stream"]) == ("event", ["a", "b"], {"n": 3, "state": "failed"})


@pytest.mark.parametrize("policy", POLICIES)
def test_streams_are_kept_apart_and_outlast_dropped_events(policy: Policy) -> None:
    kept = given(policy, pieces(0, 1, "a"), ordinary(1), pieces(0, 1, "x", id="t"), ordinary(2), pieces(1, 2, "b"))
    assert [(each["id"], each["data"]) for each in kept if each["type"] == "append"] == [("t", "x"), ("s", "ab")]


@pytest.mark.parametrize(("first", "second"), [([], [1]), ([1], []), ([], []), ([1], [2])])
def test_lists_are_joined_whether_or_not_they_are_empty(first: list[int], second: list[int]) -> None:
    [joined] = given(Policy("drop"), pieces(0, 1, first), pieces(1, 2, second))
    assert joined["data"] == first + second
