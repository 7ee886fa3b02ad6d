"""What waits for a slow subscriber: the newest, and a view that is right when it has come."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from aerostack_realtime.channels.fanout.backlog import Backlog, Policy, policy, read
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.protocol.messages import DbChange, Error, Event, Subscribe, Subscribed
from tests.unit.channels.peers import unframed

ROOM, TABLE = "chat/room/default", "table/orders/default"
LATEST, DROP = Policy("latest", ("id",)), Policy("drop")


def framed(message: messages.Reply) -> bytes:
    return frames.text(messages.encode(message))


def event(position: int, data: Any, name: str = "moved", user: str | None = None) -> bytes:
    raw = Raw(msgspec.json.encode(data))
    return framed(Event(ROOM, name, raw, 1, f"m{position}", f"e.{position}", UNSET if user is None else user))


def change(position: int, old: Any, new: Any) -> bytes:
    operation: messages.Operation = "INSERT" if old is None else "DELETE" if new is None else "UPDATE"
    data = Raw(msgspec.json.encode(old if new is None else new))
    before = UNSET if old is None else Raw(msgspec.json.encode(old))
    return framed(DbChange(TABLE, operation, data, 1, f"e.{position}", before))


def after(asked: Policy, *waiting: bytes) -> list[dict[str, Any]]:
    """What is sent once the peer has caught up."""
    backlog = Backlog(asked)
    for each in waiting:
        backlog.take(read(each, asked.key))
    given = unframed(backlog.give())
    assert not backlog
    assert backlog.size == 0
    return given


def brief(message: dict[str, Any]) -> tuple[Any, ...]:
    return message["operation"], message["data"], message.get("old"), message["cursor"]


# --- latest --------------------------------------------------------------------------------------------


def test_the_newest_event_of_each_name_and_key_is_kept_in_order() -> None:
    given = after(
        LATEST,
        event(1, {"id": 1, "x": 1}),
        event(2, {"id": 2, "x": 2}),
        event(3, {"id": 1, "x": 3}),
        event(4, {"id": 1, "x": 4}, "clicked"),
        event(5, "no object"),
        event(6, [1]),
    )
    assert [(each["event"], each["data"], each["cursor"]) for each in given] == [
        ("moved", {"id": 2, "x": 2}, "e.2"),
        ("moved", {"id": 1, "x": 3}, "e.3"),
        ("clicked", {"id": 1, "x": 4}, "e.4"),
        ("moved", [1], "e.6"),
    ]


def test_without_a_key_the_newest_event_of_each_name_is_kept() -> None:
    given = after(Policy("latest"), event(1, {"id": 1}), event(2, {"id": 2}), event(3, 3, "total"))
    assert [(each["event"], each["data"]) for each in given] == [("moved", {"id": 2}), ("total", 3)]


A1, A2, A3 = ({"id": 1, "n": n} for n in (1, 2, 3))
MOVED = {"id": 2, "n": 3}


@pytest.mark.parametrize(
    ("waiting", "given"),
    [
        ([(None, A1), (A1, A2)], [("INSERT", A2, None, "e.2")]),
        ([(None, A1), (A1, None)], []),
        ([(A1, A2), (A2, A3)], [("UPDATE", A3, A1, "e.2")]),
        ([(A1, A2), (A2, A1)], []),
        ([(A1, A2), (A2, None)], [("DELETE", A1, A1, "e.2")]),
        ([(A1, None), (None, A2)], [("UPDATE", A2, A1, "e.2")]),
        ([(A1, None), (None, A1)], []),
        ([(A1, A2)], [("UPDATE", A2, A1, "e.1")]),
    ],
)
def test_of_each_row_what_became_of_it_is_kept(
    waiting: list[tuple[Any, Any]], given: list[tuple[Any, ...]]
) -> None:
    sent = after(LATEST, *(change(n, old, new) for n, (old, new) in enumerate(waiting, 1)))
    assert [brief(each) for each in sent] == given


def test_what_was_folded_is_of_no_one_transaction() -> None:
    rows = [Raw(msgspec.json.encode(row)) for row in (A1, A2, A3)]
    changes = [DbChange(TABLE, "UPDATE", rows[n], 1, f"e.{n}", rows[n - 1], f"t{n}", True) for n in (1, 2)]
    (folded,) = after(LATEST, *map(framed, changes))
    assert "commit" not in folded
    assert "commitEnd" not in folded
    (alone,) = after(LATEST, framed(changes[0]))
    assert (alone["commit"], alone["commitEnd"]) == ("t1", True)


def test_nothing_is_folded_across_a_row_that_changes_its_key() -> None:
    sent = after(LATEST, change(1, A1, A2), change(2, A2, MOVED), change(3, None, A1), change(4, A1, A3))
    assert [brief(each) for each in sent] == [
        ("UPDATE", A2, A1, "e.1"),
        ("UPDATE", MOVED, A2, "e.2"),
        ("INSERT", A3, None, "e.4"),
    ]


def test_rows_that_share_a_key_that_is_none_are_not_taken_for_one() -> None:
    waiting = [change(1, A1, A2), change(2, None, A1), change(3, A3, None)]
    assert [brief(each)[:2] for each in after(LATEST, *waiting)] == [
        ("UPDATE", A2),
        ("INSERT", A1),
        ("DELETE", A3),
    ]


@pytest.mark.parametrize("asked", [LATEST, DROP])
def test_other_frames_keep_their_place(asked: Policy) -> None:
    lost = Subscribed(TABLE, "f.1", recovered=False)
    error = Error("not_found", "The table was dropped.", False, TABLE)
    sent = after(asked, change(1, A1, A2), framed(error), framed(lost), change(2, A2, A3))
    kept = [each["type"] for each in sent]
    assert kept == (["db_change", "error", "subscribed", "db_change"] if asked is LATEST else [*kept[:2], kept[2]])
    assert [each for each in sent if each["type"] != "db_change"][:2] == [
        msgspec.json.decode(messages.encode(each)) for each in (error, lost)
    ]


Keys = st.integers(1, 4)


@given(st.dictionaries(Keys, st.integers(0, 2)), st.lists(st.tuples(Keys, Keys, st.integers(0, 2)), max_size=25))
def test_the_view_is_right_once_the_peer_has_caught_up(
    start: dict[int, int], steps: list[tuple[int, int, int]]
) -> None:
    """Steps set, move and delete rows; a client that applies what is sent by key ends where the table is."""
    table, backlog = dict(start), Backlog(LATEST)
    for position, (key, other, value) in enumerate(steps, 1):
        old = {"id": key, "n": table[key]} if key in table else None
        new: dict[str, int] | None = {"id": key, "n": value}
        if old is not None and other != key:
            new = {"id": other, "n": value} if other not in table else None
            del table[key]
        if new is not None:
            table[new["id"]] = new["n"]
        backlog.take(read(change(position, old, new), LATEST.key))
    client, cursors = dict(start), []
    for sent in unframed(backlog.give()):
        old, new = sent.get("old"), sent["data"] if sent["operation"] != "DELETE" else None
        if old is not None:
            assert client.pop(old["id"]) == old["n"], "the row before is the one that the client has"
        if new is not None:
            assert new["id"] not in client
            client[new["id"]] = new["n"]
        cursors.append(int(sent["cursor"].partition(".")[2]))
    assert client == table
    assert cursors == sorted(set(cursors))


# --- drop ----------------------------------------------------------------------------------------------


def test_dropped_events_are_a_gap_with_their_number() -> None:
    assert after(DROP, event(1, 1), event(2, 2), event(3, 3)) == [
        {"type": "subscribed", "topic": ROOM, "cursor": "e.3", "recovered": False, "dropped": 3}
    ]


# --- presence ------------------------------------------------------------------------------------------

JOIN, UPDATE, LEAVE = "presence:join", "presence:update", "presence:leave"


@pytest.mark.parametrize("asked", [LATEST, DROP])
@pytest.mark.parametrize(
    ("waiting", "delivered"),
    [
        ([JOIN, UPDATE], [(JOIN, 2)]),
        ([JOIN, UPDATE, LEAVE], []),
        ([UPDATE, UPDATE], [(UPDATE, 2)]),
        ([UPDATE, LEAVE], [(LEAVE, 2)]),
        ([LEAVE, JOIN], [(UPDATE, 2)]),
        ([LEAVE, JOIN, LEAVE], [(LEAVE, 3)]),
    ],
)
def test_of_each_member_what_became_of_it_is_kept(
    asked: Policy, waiting: list[str], delivered: list[tuple[str, int]]
) -> None:
    sent = after(
        asked,
        event(9, 0, JOIN, "bob"),
        *(event(10 + n, {"userId": "ann", "n": n}, name, "ann") for n, name in enumerate(waiting, 1)),
    )
    assert [(each["event"], each["data"]["n"]) for each in sent if each["userId"] == "ann"] == delivered
    assert [each["event"] for each in sent if each["userId"] == "bob"] == [JOIN]


# --- asking --------------------------------------------------------------------------------------------


def test_a_policy_is_asked_for() -> None:
    assert policy(Subscribe(ROOM)) is None
    assert policy(Subscribe(ROOM, slow="latest")) == Policy("latest")
    assert policy(Subscribe(ROOM, slow="latest", key="id")) == Policy("latest", ("id",))
    assert policy(Subscribe(TABLE, slow="latest", key=["a", "b"])) == Policy("latest", ("a", "b"))
    assert policy(Subscribe(TABLE, slow="drop")) == Policy("drop")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Subscribe(ROOM, key="id"), "ask for that too"),
        (Subscribe(ROOM, slow="drop", key="id"), "ask for that too"),
        (Subscribe(TABLE, slow="latest"), "the column that names a row"),
        (Subscribe(ROOM, slow="latest", key=["a"] * 17), "at most 16"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(command: Subscribe, said: str) -> None:
    with pytest.raises(BadMessage, match=said):
        policy(command)
