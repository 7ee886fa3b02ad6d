"""A log is recognized by the change that was delivered last, and by holding no other up to where it was read."""

import pytest

from aerostack_realtime.database.postgres.feed.continuity import Continuity, LogDiverged
from aerostack_realtime.database.postgres.feed.epochs import Cursor, Position, stamp
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.transactions import Committed, Emitted, Item, OpaqueChange
from aerostack_realtime.database.postgres.wal.pgoutput import LogicalMessage, Relation

TABLE = LoggedTable(Relation(7, "public", "t", "f", ()))
NOW = 1_795_620_000_000
DELIVERED = Cursor(Position(20, 2), stamp(NOW))


def change(lsn: int, index: int, timestamp: int = NOW) -> Entry:
    return Entry(Position(lsn, index), 1, timestamp, TABLE, "INSERT", b"", end=False, size=10)


def test_items_before_the_change_decide_nothing() -> None:
    continuity = Continuity.at(DELIVERED)
    early: list[Item] = [
        TABLE,
        change(20, 1),
        Committed(1, 10, Position(15, 0)),
        Emitted(99, LogicalMessage(99, False, "x", b"", 0)),
    ]
    assert [continuity.see(item) for item in early] == [False] * 4
    continuity.reached(20)
    assert continuity.see(change(20, 2))


@pytest.mark.parametrize(
    "item",
    [
        change(20, 2, NOW + 1),
        change(20, 3),
        change(21, 1),
        Committed(1, 20, Position(25, 0)),
        OpaqueChange(Position(21, 1), (7,)),
    ],
)
def test_another_change_at_the_position_means_another_log(item: Item) -> None:
    with pytest.raises(LogDiverged, match="other changes"):
        Continuity.at(DELIVERED).see(item)


def test_a_stream_beyond_the_change_is_another_log() -> None:
    with pytest.raises(LogDiverged):
        Continuity.at(DELIVERED).reached(21)


def test_a_change_without_a_known_time_is_checked_by_position() -> None:
    known = Cursor(Position(20, 2))
    assert Continuity.at(known).see(change(20, 2))
    assert Continuity.at(known).see(OpaqueChange(Position(20, 2), (7,)))


def test_a_change_that_was_not_there_means_another_log() -> None:
    continuity = Continuity(DELIVERED, DELIVERED.position, until=Position(40, 0))
    assert not continuity.see(change(20, 2))
    assert not continuity.see(Committed(1, 20, Position(25, 0))), "a transaction without changes may be sent again"
    with pytest.raises(LogDiverged):
        continuity.see(change(30, 1))


def test_without_a_change_to_find_none_may_be_there() -> None:
    with pytest.raises(LogDiverged):
        Continuity(None, Position(10, 0), until=Position(40, 0)).see(OpaqueChange(Position(30, 1), (7,)))


def test_changes_that_were_seen_and_not_delivered_are_expected() -> None:
    continuity = Continuity(DELIVERED, Position(30, 1), until=Position(40, 0))
    assert [continuity.see(change(*place)) for place in ((20, 2), (20, 3), (30, 1))] == [False] * 3
    with pytest.raises(LogDiverged):
        continuity.see(change(30, 2))


def test_the_check_is_passed_where_the_log_was_read_to() -> None:
    continuity = Continuity(None, Position(10, 0), until=Position(40, 0))
    assert not continuity.reached(39)
    assert continuity.reached(40)
    assert continuity.see(Committed(1, 35, Position(40, 0)))
    assert continuity.see(change(40, 1))
